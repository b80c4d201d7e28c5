"""Checkpoints: what is saved comes back, and a broken save changes nothing."""

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from models.checkpoint import CONFIG, WEIGHTS, CheckpointError, Manifest, load, read, record_metric, save
from models.files.atomic_file import write_atomically
from models.files.tensor_file import read_header
from models.metric_choice import MetricChoice
from models.preprocess import Preprocessing
from models.vae import VAE, VAEConfig


def vae() -> VAE:
    return VAE(VAEConfig((1, 4, 3), 2, "mlp", {"hidden": [5]}, "gaussian", {"sigma": "optimal"}))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(tmp_path / "saved", vae())
    return tmp_path / "saved"


class TestRoundTrip:
    def test_everything_comes_back(self, tmp_path: Path) -> None:
        original, spec = vae(), Preprocessing(1, 4, 3, "crop", "lanczos")
        save(str(tmp_path / "new" / "one"), original, spec, {"name": "mnist", "training": {"lr": 1e-3}})
        checkpoint = read(str(tmp_path / "new" / "one"))
        assert checkpoint.manifest == Manifest(original.config, spec, {"name": "mnist", "training": {"lr": 1e-3}})
        for name, tensor in original.state_dict().items():
            assert torch.equal(checkpoint.vae.state_dict()[name], tensor), name

    def test_loaded_for_inference(self, saved: Path) -> None:
        loaded = models.load(saved)
        assert not loaded.training
        assert not any(parameter.requires_grad for parameter in loaded.parameters())

    def test_pads_unless_told_otherwise(self, saved: Path) -> None:
        assert read(saved).manifest.preprocessing == Preprocessing(1, 4, 3)

    def test_values_are_stored_only_where_they_change_something(self, tmp_path: Path, saved: Path) -> None:
        stored = json.loads((saved / CONFIG).read_text())["preprocessing"]
        assert stored == {"channels": 1, "height": 4, "width": 3, "fit": "pad", "filter": "bilinear"}
        spec = Preprocessing(1, 4, 3, range=(0, 4095), background="white", ink="dark", invert="auto")
        save(tmp_path / "values", vae(), spec)
        stored = json.loads((tmp_path / "values" / CONFIG).read_text())["preprocessing"]
        assert stored["range"] == [0, 4095]
        assert (stored["background"], stored["ink"], stored["invert"]) == ("white", "dark", "auto")
        assert read(tmp_path / "values").manifest.preprocessing == spec

    def test_digest_is_sha256_over_both_files(self, saved: Path) -> None:
        content = (saved / CONFIG).read_bytes() + (saved / WEIGHTS).read_bytes()
        assert read(saved).digest == hashlib.sha256(content).hexdigest()

    def test_the_distance_for_searches_is_recorded_and_the_digest_stays(self, saved: Path) -> None:
        before, content = read(saved), (saved / CONFIG).read_bytes()
        assert before.manifest.search == MetricChoice()
        for choice in (MetricChoice("w2", 2.5, "it was tried"), MetricChoice("cosine")):
            record_metric(saved, choice)
            after = read(saved)
            assert (after.digest, after.manifest.search) == (before.digest, choice)
            assert after.manifest.model == before.manifest.model
        stored = json.loads((saved / CONFIG).read_text())
        assert stored.pop("search") == {"metric": "cosine", "sigma_weight": 1.0, "chosen_by": ""}
        assert json.loads(content) == stored

    def test_a_configuration_edited_by_hand_keeps_its_digest(self, saved: Path) -> None:
        (saved / CONFIG).write_text(json.dumps(json.loads((saved / CONFIG).read_text())))
        before, content = read(saved).digest, (saved / CONFIG).read_bytes()
        with pytest.raises(CheckpointError, match="was edited by hand, and writing it anew would change the digest"):
            record_metric(saved, MetricChoice("w2", 2.5))
        assert (read(saved).digest, (saved / CONFIG).read_bytes()) == (before, content)

    @pytest.mark.parametrize(
        ("search", "reason"),
        [
            (None, "search must be an object, not None"),
            ({"metric": "l3"}, "metric must be one of l2, cosine, w2, not 'l3'"),
            ({"metric": "w2", "sigma_weight": 0}, "sigma_weight must be a number above 0 and at most 1000, not 0"),
            ({"best": 1}, "search has the unknown key 'best'; known keys: metric, sigma_weight, chosen_by"),
        ],
    )
    def test_a_wrong_distance_for_searches_is_refused(self, saved: Path, search: Any, reason: str) -> None:
        config = json.loads((saved / CONFIG).read_text())
        (saved / CONFIG).write_text(json.dumps({**config, "search": search}))
        with pytest.raises(CheckpointError) as caught:
            read(saved)
        assert reason in str(caught.value)

    def test_same_model_same_bytes(self, tmp_path: Path) -> None:
        original = vae()
        save(tmp_path / "first", original)
        save(tmp_path / "second", load(tmp_path / "first"))
        assert read(tmp_path / "first").digest == read(tmp_path / "second").digest

    def test_layout_in_memory_does_not_matter(self, tmp_path: Path) -> None:
        conv = VAE(VAEConfig((3, 8, 8), 2, arch_options={"channels": [4]}))
        save(tmp_path / "plain", conv)
        save(tmp_path / "last", conv.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
        assert read(tmp_path / "plain").digest == read(tmp_path / "last").digest

    def test_others_may_read_it(self, saved: Path) -> None:
        assert {oct(path.stat().st_mode & 0o777) for path in saved.iterdir()} == {"0o644"}

    def test_preprocessing_must_fit_the_model(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="preprocessing gives the shape"):
            save(tmp_path, vae(), Preprocessing(1, 4, 4))
        assert not list(tmp_path.iterdir())


# Saves other weights over a checkpoint in a process whose files may have so many bytes and no more: the write that would
# pass the limit fails with EFBIG, or, where the signal keeps its default action, kills the process in its middle.
SAVE_WITHIN_A_LIMIT = """
import resource, signal, sys
from models.checkpoint import read, save

path, action, limit = sys.argv[1], getattr(signal, sys.argv[2]), int(sys.argv[3])
old = read(path)
for parameter in old.vae.parameters():
    parameter.add_(1)
signal.signal(signal.SIGXFSZ, action)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
save(path, old.vae, old.manifest.preprocessing)
"""


class TestAtomicSave:
    def save_within(self, directory: Path, action: str, limit: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", SAVE_WITHIN_A_LIMIT, str(directory), action, str(limit)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def test_a_full_disk(self, saved: Path) -> None:
        before = read(saved).digest
        done = self.save_within(saved, "SIG_IGN", 500)
        assert "OSError" in done.stderr
        assert read(saved).digest == before
        assert sorted(path.name for path in saved.iterdir()) == [CONFIG, WEIGHTS]

    def test_killed_in_the_middle_of_a_write(self, saved: Path) -> None:
        before = read(saved).digest
        done = self.save_within(saved, "SIG_DFL", 500)
        assert done.returncode == -signal.SIGXFSZ, done.stderr
        assert read(saved).digest == before

    def test_without_a_limit_it_saves(self, saved: Path) -> None:
        before = read(saved).digest
        assert self.save_within(saved, "SIG_DFL", 1 << 20).returncode == 0
        assert read(saved).digest != before

    def test_a_target_that_cannot_be_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "taken").mkdir()
        with pytest.raises(OSError, match="taken"):
            write_atomically(tmp_path / "taken", b"content")
        assert [path.name for path in tmp_path.iterdir()] == ["taken"]

    def test_a_directory_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"precious")
        with pytest.raises(OSError, match="file"):
            save(tmp_path / "file", vae())
        assert (tmp_path / "file").read_bytes() == b"precious"

    def test_readers_of_the_old_file_keep_it(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        write_atomically(path, b"old")
        with path.open("rb") as reader:
            write_atomically(path, b"new")
            assert reader.read() == b"old"
        assert path.read_bytes() == b"new"


def test_other_programs_are_told_that_the_tensors_are_torchs(tmp_path: Path) -> None:
    """As transformers and others ask for; checkpoints that were written without it are read as before."""
    save(tmp_path, VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [4]})))
    assert read_header(tmp_path / WEIGHTS).metadata["format"] == "pt"
    shipped = Path(models.__file__).parent / "weights" / "mnist"
    assert "format" not in read_header(shipped / WEIGHTS).metadata
    assert read(shipped).digest.startswith("03cc399dd19c")
