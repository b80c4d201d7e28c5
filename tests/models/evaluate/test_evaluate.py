"""The numbers of a card: against direct calls, against brute force, and with their protocol beside them."""

import gzip
import json
import signal
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.checkpoint import CONFIG, read, save
from models.data import Items, load_data
from models.distributions import DiagonalGaussian
from models.evaluate.__main__ import main
from models.evaluate.diagnostics import prior_coverage
from models.evaluate.measure import nearest_labels, posteriors
from models.kinds import KINDS
from models.objective import evidence_lower_bound, importance_weighted_bound
from models.train.__main__ import main as train
from models.vae import VAE, VAEConfig
from service.latents.distances import METRICS

FAST = ["--samples", "8", "--limit", "20", "--device", "cpu"]


def train_small(data: str, out: Path, *more: str) -> Path:
    small = ["--arch", "mlp", "--hidden", "32", "--latent-dim", "2", "--epochs", "2", "--batch-size", "32", "--lr", "0.01"]
    assert train(["--data", data, "--device", "cpu", *small, "--out", str(out), *more]) == 0
    return out


@pytest.fixture(scope="module")
def trained(digits_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_small(f"npz:{digits_npz}", tmp_path_factory.mktemp("evaluated") / "digits")


def test_arrays_are_prepared_as_for_training(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 12, 10, 1), np.uint8)
    np.savez(tmp_path / "x.npz", images=grey.repeat(3, 3))
    out = train_small(f"npz:{tmp_path / 'x.npz'}", tmp_path / "out", "--size", "8", "--channels", "3")
    assert main([str(out), "--samples", "1", "--limit", "2", "--device", "cpu"]) == 0


def metrics_of(path: Path) -> dict[str, Any]:
    """As strict readers of JSON see them."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    metrics: dict[str, Any] = json.loads((path / "metrics.json").read_text(), parse_constant=refuse)
    return metrics


def brute_force_labels(references: Tensor, labels: Tensor, queries: Tensor, neighbors: int) -> list[int]:
    predicted = []
    for query in queries.double().numpy():
        distances = ((references.double().numpy() - query) ** 2).sum(1)
        found = [int(labels[i]) for i in np.argsort(distances)[:neighbors]]
        predicted.append(max(found, key=found.count))  # of equally frequent ones max takes the first, that is the nearest
    return predicted


class TestNearestLabels:
    @pytest.mark.parametrize("neighbors", [1, 2, 5])
    @pytest.mark.parametrize("dim", [2, 20])
    @pytest.mark.parametrize(("center", "spread"), [(0.0, 1.0), (4.0, 0.02)], ids=["prior", "dense"])
    def test_brute_force_agrees(self, center: float, spread: float, dim: int, neighbors: int) -> None:
        references, queries = center + spread * torch.randn(300, dim), center + spread * torch.randn(600, dim)
        labels = torch.randint(0, 10, (300,))
        found = nearest_labels(references, labels, queries, neighbors).tolist()
        assert found == brute_force_labels(references, labels, queries, neighbors)

    def test_ties_go_to_the_label_of_the_nearest(self) -> None:
        references = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])
        labels = torch.tensor([7, 3, 3, 7, 9])
        assert nearest_labels(references, labels, torch.tensor([[0.0], [6.0], [2.4]])).tolist() == [7, 7, 3]

    def test_fewer_references_than_neighbors(self) -> None:
        found = nearest_labels(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([4, 8, 8]), torch.zeros(2, 1))
        assert found.tolist() == [8, 8]


class TestMetrics:
    @torch.no_grad()
    def test_values_are_those_of_direct_calls(self, trained: Path, digits_npz: Path) -> None:
        assert main([str(trained), *FAST, "--seed", "3"]) == 0
        metrics, vae = metrics_of(trained), read(trained).vae
        splits = load_data(f"npz:{digits_npz}", Path("unused"))
        test = splits.test[:20]
        noise = torch.Generator().manual_seed(3)
        x = torch.bernoulli(test.x / 255, generator=noise)
        eps = torch.randn(8, 20, 2, generator=noise)
        terms, bound = evidence_lower_bound(vae, x, eps[0]), importance_weighted_bound(vae, x, eps)
        posterior = vae.encode(x)
        expected = {
            "elbo": terms.elbo.mean(),
            "log_likelihood": terms.log_likelihood.mean(),
            "kl": terms.kl.mean(),
            "iwae_nll": -bound.log_prob.mean(),
            "iwae_nll_standard_error": bound.log_prob.std() / 20**0.5,
            "ess_mean": bound.ess.mean(),
        }
        assert {name: metrics[name] for name in expected} == pytest.approx(
            {n: float(v) for n, v in expected.items()}, rel=1e-5
        )
        assert metrics["kl_per_dim"] == pytest.approx(
            posterior.kl_per_dim(DiagonalGaussian.standard(posterior.mu)).mean(0).tolist(), abs=1e-4
        )
        assert metrics["elbo"] <= -metrics["iwae_nll"]

        references, queries = vae.encode(splits.train.x).mu, vae.encode(test.x).mu
        assert splits.train.labels is not None
        assert test.labels is not None
        nearest = brute_force_labels(references, splits.train.labels, queries, 5)
        assert metrics["knn_accuracy"] == pytest.approx(np.mean(np.array(nearest) == test.labels.numpy()))
        assert metrics["search"]["l2"] == pytest.approx(metrics["knn_accuracy"])
        assert metrics["search"].keys() == {"chosen", "pixels", *METRICS}
        card = (trained / "README.md").read_text()
        assert f"| 5-NN accuracy by L2 of pixels | {100 * metrics['search']['pixels']:.2f} % |" in card
        assert card.count("| 5-NN accuracy by") == len(metrics["search"])
        assert "| 5-NN accuracy |" not in card
        assert metrics["active_units"] == int((queries.numpy().var(0, ddof=1) > 0.01).sum())

    def test_a_learnt_prior_is_the_one_that_is_measured(self, digits_npz: Path, tmp_path: Path) -> None:
        """Coverage by draws of the VampPrior, KL and bound to it; report and fitted mixture as for any other."""
        path = train_small(f"npz:{digits_npz}", tmp_path / "vamp", "--prior", "vamp", "--pseudo-inputs", "9")
        assert main([str(path), *FAST, "--fit-prior", "--prior-components", "1,2", "--report"]) == 0
        assert " --fit-prior --prior-components 1,2\n" in (path / "README.md").read_text()
        metrics, vae = metrics_of(path), read(path).vae.eval()
        assert "draws of the VampPrior" in metrics["protocol"]["prior_coverage"]
        x = torch.bernoulli(KINDS["picture"].to_x(load_data(f"npz:{digits_npz}", tmp_path).test.x[:20]),
                            generator=torch.Generator().manual_seed(0))  # fmt: skip
        noise = torch.Generator().manual_seed(0)
        eps, prior_eps = torch.randn(len(x), 2, generator=noise), torch.randn(10_000, 2, generator=noise)
        with torch.no_grad():
            draws, posterior = vae.prior(prior_eps).sample(prior_eps), vae.encode(x)
        assert metrics["prior_coverage"] == pytest.approx(prior_coverage(posterior, eps, draws))
        assert "Decoded draws from the VampPrior." in (path / "report" / "index.html").read_text()

    def test_protocol_stands_beside_them(self, trained: Path) -> None:
        assert main([str(trained), *FAST, "--seed", "3"]) == 0
        protocol = metrics_of(trained)["protocol"]
        assert protocol["unit"].startswith("nats per picture")
        assert "seed 3" in protocol["pixels"]
        assert protocol["split"] == "test, 20 pictures"
        assert (protocol["iwae_samples"], protocol["seed"]) == (8, 3)
        assert protocol["limit"] == 20
        assert {"active_units", "knn_accuracy", "search"} <= protocol.keys()

    def test_reproducible_by_seed(self, trained: Path) -> None:
        results = []
        for seed in ("1", "1", "2"):
            assert main([str(trained), *FAST, "--seed", seed]) == 0
            results.append((trained / "metrics.json").read_bytes())
        assert results[0] == results[1] != results[2]

    def test_greys_without_labels(self, digits: Items, tmp_path: Path) -> None:
        np.savez(tmp_path / "greys.npz", images=digits.x[:60, 0].numpy())
        train_small(f"npz:{tmp_path / 'greys.npz'}", tmp_path / "out", "--likelihood", "continuous_bernoulli")
        assert main([str(tmp_path / "out"), *FAST]) == 0
        metrics = metrics_of(tmp_path / "out")
        assert metrics["protocol"]["pixels"].startswith("bytes x with uniform noise, (x + u) / 256")
        assert metrics["protocol"]["split"] == "test, 6 pictures"
        assert metrics.keys().isdisjoint({"knn_accuracy", "search"})
        noise, x = torch.Generator().manual_seed(0), load_data(f"npz:{tmp_path / 'greys.npz'}", tmp_path).test.x
        x = (x + torch.rand(x.shape, generator=noise)) / 256
        eps = torch.randn(8, 6, 2, generator=noise)
        elbo = evidence_lower_bound(read(tmp_path / "out").vae, x, eps[0]).elbo.mean()
        assert metrics["elbo"] == pytest.approx(float(elbo), rel=1e-5)

    def test_greys_under_a_bernoulli_are_said_to_be_no_likelihood(self, digits: Items, tmp_path: Path) -> None:
        np.savez(tmp_path / "greys.npz", images=digits.x[:60, 0].numpy())
        train_small(f"npz:{tmp_path / 'greys.npz'}", tmp_path / "out", "--binarize", "none")
        assert main([str(tmp_path / "out"), *FAST]) == 0
        assert "cross-entropy: no likelihood" in metrics_of(tmp_path / "out")["protocol"]["pixels"]

    def test_a_dead_unit_is_not_active(self, trained: Path, tmp_path: Path) -> None:
        checkpoint = read(trained)
        last = list(checkpoint.vae.net.parameters())[3]  # bias of the layer that gives mu and logvar
        assert last.shape == (4,)
        weight = list(checkpoint.vae.net.parameters())[2]
        weight[0] = 0.0
        save(tmp_path, checkpoint.vae, checkpoint.manifest.preprocessing, checkpoint.manifest.data)
        assert main([str(tmp_path), *FAST]) == 0
        assert metrics_of(tmp_path)["active_units"] == 1

    def test_nothing_but_its_own_files_change(self, trained: Path) -> None:
        before = read(trained).digest
        assert main([str(trained), *FAST]) == 0
        assert read(trained).digest == before


def test_posteriors_of_many_pictures(digits: Items) -> None:
    vae, x = VAE(VAEConfig((1, 28, 28), 2, "mlp")).eval(), digits.x.repeat(5, 1, 1, 1)
    found = posteriors(vae, x, torch.device("cpu"))
    assert found.mu.shape == (1280, 2)
    torch.testing.assert_close(found.mu, vae.encode(x).mu)
    torch.testing.assert_close(found.logvar, vae.encode(x).logvar)


class TestErrors:
    def error_of(self, argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
        assert main(argv) == 1
        told = capsys.readouterr().err  # What was found in the data comes before the error.
        assert told.startswith("error: ") or "\nerror: " in told
        return told

    def test_no_checkpoint(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert CONFIG in self.error_of([str(tmp_path), *FAST], capsys)

    @pytest.mark.parametrize(("data", "reason"), [("cifar", "unknown data set"), ("npz:missing.npz", "missing.npz")])
    def test_no_data(self, trained: Path, data: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert reason in self.error_of([str(trained), *FAST, "--data", data], capsys)

    def test_pictures_of_another_shape(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Data sets that are known by name stay as they are."""
        save(tmp_path, VAE(VAEConfig((1, 8, 8), 2, "mlp")))
        (tmp_path / "mnist").mkdir()
        contents = {
            "images-idx3": b"\0\0\x08\x03" + struct.pack(">3I", 1, 28, 28) + bytes(784),
            "labels-idx1": b"\0\0\x08\x01" + struct.pack(">I", 1) + bytes(1),
        }
        for name, content in contents.items():
            for part in ("train", "t10k"):
                (tmp_path / "mnist" / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(content))
        told = self.error_of([str(tmp_path), *FAST, "--data", "mnist", "--data-dir", str(tmp_path)], capsys)
        assert "mnist has pictures of shape (1, 28, 28), the model takes (1, 8, 8)" in told

    def test_a_checkpoint_that_does_not_name_its_data(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save(tmp_path, VAE(VAEConfig((1, 28, 28), 2, "mlp")))
        assert "--data" in self.error_of([str(tmp_path), *FAST], capsys)

    def test_no_such_device(self, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "cuda:99" in self.error_of([str(trained), "--device", "cuda:99"], capsys)

    @pytest.mark.parametrize("flags", ["--samples 0", "--samples -5", "--limit 0", "--limit -3", "--limit 1"])
    def test_numbers_that_measure_nothing(self, trained: Path, flags: str) -> None:
        """Of one picture there is no standard error and no variance."""
        with pytest.raises(SystemExit) as exit_:
            main([str(trained), *FAST, *flags.split()])
        assert exit_.value.code == 2


def test_a_folder_is_read_as_it_was_for_training(tmp_path: Path, digits: Items) -> None:
    """Also where so many of its files are corrupt that training had to be told to go on."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(30):
        Image.fromarray(digits.x[i, 0].numpy()).save(folder / f"{i}.png")
    (folder / "broken.png").write_text("not a picture")
    train_small(f"folder:{folder}", tmp_path / "out", "--size", "14x12", "--max-corrupt", "0.1")
    assert main([str(tmp_path / "out"), *FAST]) == 0
    assert metrics_of(tmp_path / "out")["protocol"]["split"] == "test, 3 pictures"


def test_stopped_by_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background makes its children ignore it
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("models.evaluate.__main__.read", interrupt)
    assert main([str(tmp_path)]) == 130
    assert capsys.readouterr().err.startswith(f"stopped; {tmp_path} may lack some numbers")
