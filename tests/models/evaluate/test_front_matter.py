"""The front matter of cards: the hub's own client reads it, and its numbers are those of metrics.json."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard

import models
from models.checkpoint import Manifest, read
from models.evaluate.card import card
from models.evaluate.card_file import front_matter_of, write_card
from models.evaluate.front_matter import front_matter, yaml_lines
from models.kinds.column import Column
from models.kinds.table import Columns
from models.preprocess import Preprocessing
from models.vae import VAEConfig

SHIPPED = Path(models.__file__).parent / "weights"
NAMES = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())
LICENSES = {"mnist": "cc-by-sa-3.0", "fashion-mnist": "mit", "omniglot-strokes": "mit", "lpc-sprites": "cc-by-sa-3.0"}
METRICS: dict[str, Any] = {
    "elbo": -90.125, "kl": 24.625, "iwae_nll": 86.7649, "ess_mean": 31.25, "active_units": 17,
    "protocol": {"pixels": "0/1, each drawn once", "iwae_samples": 500, "seed": 7},
}  # fmt: skip


def data_of(lines: list[str]) -> Any:
    """What the client of the hub reads from front matter."""
    return ModelCard("\n".join(lines)).data


def results(data: Any) -> dict[str, EvalResult]:
    """The results of a card by what they are in words."""
    return {one.metric_name: one for one in data.eval_results}


@pytest.mark.parametrize("name", NAMES)
def test_the_client_of_the_hub_reads_every_shipped_card(name: str) -> None:
    loaded = ModelCard.load(SHIPPED / name / "README.md")
    metrics, manifest = json.loads((SHIPPED / name / "metrics.json").read_text()), read(SHIPPED / name).manifest
    data = loaded.data
    library = "diffusers" if name == "sprites-kl" else "vae-service"
    assert (data.library_name, data.model_name) == (library, name)
    assert data.license == LICENSES[manifest.data["name"]]
    assert len(data.datasets) == 1
    found = results(data)
    assert all(one.dataset_type == data.datasets[0] and str(one.dataset_split).startswith("test") for one in found.values())
    assert found["KL(posterior, prior), nats"].metric_value == pytest.approx(metrics["kl"], abs=0.005)
    by_type = {one.metric_type: one.metric_value for one in found.values()}
    if "densities" in metrics:
        assert by_type["bits_per_dimension"] == pytest.approx(metrics["densities"]["bits_per_dimension"], abs=0.0005)
    else:
        assert by_type["iwae_nll"] == pytest.approx(metrics["iwae_nll"], abs=0.005)
        assert by_type["elbo"] == pytest.approx(metrics["elbo"], abs=0.005)
    assert loaded.text.lstrip().startswith(f"# {name}\n")
    assert all(f"{value:.2f}" in loaded.text for value in (metrics["kl"],))


def test_search_and_samples_are_among_the_numbers() -> None:
    found = results(ModelCard.load(SHIPPED / "mnist" / "README.md").data)
    assert found["5-NN accuracy by the distance of new collections, %"].metric_value == 98.16
    assert found["Fréchet distance of samples of the fitted prior, features of a small net"].metric_value == 2.31
    drawings = results(ModelCard.load(SHIPPED / "strokes" / "README.md").data)
    assert drawings["decoded items that are found again by their latents, %"].metric_value == 98.3


def test_a_table_has_its_own_numbers() -> None:
    spec = Columns((Column("a", "number", mean=5, std=2, low=0, high=9), Column("b", "category", categories=("x", "y"))))
    options = {"cardinalities": [0, 2], "hidden": [8]}
    likelihood = {"cardinalities": [0, 2], "floors": [spec.columns[0].floor, 0.0]}
    config = VAEConfig(spec.shape, 4, "table", options, "columns", likelihood, kind="table")
    numbers = {"columns": {}, "rmse_ratio": 0.5, "worst_ratio": 0.75, "accuracy": 0.75, "usual_accuracy": 0.5}
    metrics = METRICS | {"table": {"reconstruction": numbers, "imputation": numbers, "anomalies": {"shuffled": 0.875}}}
    manifest = Manifest(config, spec, {"name": "csv:people.csv"})
    found = results(data_of(front_matter("people", manifest, metrics)))
    assert found["imputation of hidden cells: RMSE over that of the mean"].metric_value == 0.5
    assert found["anomalies, shuffled: AUROC"].metric_value == 0.875


@pytest.mark.parametrize(
    "name", ["folder:my pictures", 'npz:a "b" \\ c: {d}', "text:Грамота\u0085\x7f\n# no\U0001f600.txt", "folder:~", ""]
)
def test_own_data_have_no_licence_of_ours(name: str) -> None:
    config = VAEConfig((1, 28, 28), 20, "mlp", {"hidden": [4]})
    data = data_of(front_matter('it\'s: "mine"', Manifest(config, Preprocessing(1, 28, 28), {"name": name}), METRICS))
    assert (data.license, data.get("datasets"), data.model_name) == ("unknown", None, 'it\'s: "mine"')
    assert {one.dataset_name for one in data.eval_results} == {name or "not recorded"}


def test_the_licence_that_the_user_wrote_is_kept(tmp_path: Path) -> None:
    protocol = METRICS["protocol"] | {"unit": "nats", "split": "test", "active_units": "by variance"}
    numbers = METRICS | {"log_likelihood": -65.5, "iwae_nll_standard_error": 0.25, "protocol": protocol}
    config, path = VAEConfig((1, 28, 28), 20, "mlp", {"hidden": [4]}), tmp_path / "README.md"
    own, mnist = (Manifest(config, Preprocessing(1, 28, 28), {"name": name}) for name in ("folder:mine", "mnist"))

    def written(manifest: Manifest) -> str:
        write_card(tmp_path, partial(card, tmp_path, manifest, numbers, [], None))
        return str(data_of([path.read_text()]).license)

    assert written(own) == "unknown"
    path.write_text(path.read_text().replace("license: unknown\n", "license: mit\n"))
    assert [written(own), written(own), written(mnist)] == ["mit", "mit", "cc-by-sa-3.0"]
    assert written(own) == "unknown", "a licence of other data is not kept"
    path.write_text(path.read_text().replace("license: unknown\n", "license: mit\ndatasets:\n- me/faces\n"))
    assert [written(own), data_of([path.read_text()]).datasets] == ["mit", ["me/faces"]]


def test_keys_that_are_not_ours_stay(tmp_path: Path) -> None:
    """In the words of the user, whatever they are; tags are added to ours."""
    more = ["language:\n- en\n", 'widget: [{src: "a: b"}]  # mine\n', "thumbnail: >\n  x\n\n  y\n", "license: other\n"]
    protocol = METRICS["protocol"] | {"unit": "nats", "split": "test", "active_units": "by variance"}
    numbers = METRICS | {"log_likelihood": -65.5, "iwae_nll_standard_error": 0.25, "protocol": protocol}
    config = VAEConfig((1, 28, 28), 20, "mlp", {"hidden": [4]})
    for tags in ("tags:\n- faces\n- vae\n", "tags: [faces, 'vae']\n", 'tags:\n    - "faces"\n'):
        before = front_matter_of(f"---\n{''.join(more)}{tags}library_name: keras\nmodel-index: []\n---\n")
        data = data_of(front_matter("mine", Manifest(config, Preprocessing(1, 28, 28), {}), numbers, before))
        assert (data.language, data.license, data.thumbnail) == (["en"], "other", "x\ny\n")
        assert data.widget == [{"src": "a: b"}]
        assert data.tags == ["vae", "variational-autoencoder", "picture", "faces"]
        assert (data.library_name, data.model_name) == ("vae-service", "mine")
    again = front_matter_of("\n".join(front_matter("mine", Manifest(config, Preprocessing(1, 28, 28), {}), numbers, before)))
    assert {key: again[key] for key in ("language", "widget", "thumbnail", "license")} == {
        key: before[key] for key in ("language", "widget", "thumbnail", "license")
    }


def test_numbers_that_are_none_are_left_out() -> None:
    config = VAEConfig((1, 28, 28), 20, "mlp", {"hidden": [4]})
    manifest = Manifest(config, Preprocessing(1, 28, 28), {})
    data = data_of(front_matter("mine", manifest, METRICS | {"elbo": float("nan")}))
    assert {one.metric_type for one in data.eval_results} == {"iwae_nll", "kl", "active_units"}
    broken = dict.fromkeys(("elbo", "kl", "iwae_nll", "active_units"), float("inf"))
    assert data_of(front_matter("mine", manifest, METRICS | broken)).get("model-index") is None


def test_the_protocol_stands_beside_the_numbers() -> None:
    manifest = Manifest(VAEConfig((1, 28, 28), 20, "mlp", {"hidden": [4]}), Preprocessing(1, 28, 28), {"name": "mnist"})
    protocol = METRICS["protocol"] | {"limit": 500}
    found = results(data_of(front_matter("mine", manifest, METRICS | {"protocol": protocol})))
    bound = found["importance-weighted negative log-likelihood, nats"]
    assert bound.metric_args == {"importance_samples": 500}
    assert (bound.dataset_split, bound.dataset_args) == ("test[:500]", {"values": "0/1, each drawn once", "seed": 7})
    assert found["ELBO, nats"].metric_args is None


def test_a_card_in_the_current_directory_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    manifest = Manifest(VAEConfig((1, 28, 28), 20, "mlp", {"hidden": [4]}), Preprocessing(1, 28, 28), {})
    protocol = {"unit": "nats", "pixels": "0/1", "split": "test", "iwae_samples": 5, "seed": 0, "active_units": "by variance"}
    numbers = METRICS | {"log_likelihood": -65.5, "iwae_nll_standard_error": 0.25, "protocol": protocol}
    text = card(Path(), manifest, numbers, [])
    assert data_of([text]).model_name == "mine"
    assert "\n# mine\n" in text


@pytest.mark.parametrize("text", ["no", "Yes", "null", "1.5", "2026-01-01", "- a", "a: b", "#", "", "'", "é", "\ud7ff\ufffe"])
def test_texts_stay_texts(text: str) -> None:
    assert yaml.safe_load("\n".join(yaml_lines({"a": [text, {"b": text}]}))) == {"a": [text, {"b": text}]}
