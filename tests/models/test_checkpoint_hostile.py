"""Hostile checkpoints: each is one CheckpointError that names the file and the reason, never another exception."""

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.checkpoint import CONFIG, FORMAT_VERSION, WEIGHTS, CheckpointError, load, read, save
from models.vae import VAE, VAEConfig

DEEP = b"[" * 100_000
NUMBERS = st.sampled_from([-1, 0, 1, 2, 2**63, 10**400, 0.5, float("inf"), float("nan")])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def vae(latent_dim: int = 2, activation: str = "relu") -> VAE:
    options = {"hidden": [5], "activation": activation}
    return VAE(VAEConfig((1, 4, 3), latent_dim, "mlp", options, "gaussian", {"sigma": "optimal"}))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(tmp_path / "saved", vae())
    return tmp_path / "saved"


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that examples share: each of them writes what it damages."""
    save(tmp_path_factory.mktemp("fuzzed"), vae())
    return tmp_path_factory.getbasetemp() / "fuzzed0"


@pytest.fixture(scope="module")
def sound(fuzzed: Path) -> dict[str, bytes]:
    """Its files as they were saved."""
    return {name: (fuzzed / name).read_bytes() for name in (CONFIG, WEIGHTS)}


def refused(directory: Path, file: str) -> str:
    """The reason, after the name of the file that it is the fault of."""
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(directory / file))}: .") as caught:
        read(directory)
    return str(caught.value).removeprefix(f"{directory / file}: ")


def weights(**changes: Tensor | None) -> bytes:
    """Weights as `save` writes them but for some tensors, and without the copy of the configuration."""
    tensors = {**vae().state_dict(), **changes}
    return safetensors.torch.save({name: tensor for name, tensor in tensors.items() if tensor is not None})


def edit(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((directory / CONFIG).read_text())
    change(config)
    (directory / CONFIG).write_text(json.dumps(config))


class TestHostileConfig:
    @pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"nonsense", DEEP, b'{"a":' + DEEP, b"9" * 10_000])
    def test_not_json(self, saved: Path, content: bytes) -> None:
        (saved / CONFIG).write_bytes(content)
        assert refused(saved, CONFIG).startswith("not JSON")

    @pytest.mark.parametrize("content", ["[]", "1", "null", '"text"', "{}", '{"format_version": "1"}'])
    def test_not_a_configuration(self, saved: Path, content: str) -> None:
        (saved / CONFIG).write_text(content)
        assert "format_version" in refused(saved, CONFIG)

    def test_newer_format(self, saved: Path) -> None:
        edit(saved, lambda config: config.update(format_version=FORMAT_VERSION + 1))
        assert "update this software" in refused(saved, CONFIG)

    @pytest.mark.parametrize("version", [0, -3, True])
    def test_no_such_format(self, saved: Path, version: object) -> None:
        edit(saved, lambda config: config.update(format_version=version))
        assert "format" in refused(saved, CONFIG)

    @pytest.mark.parametrize("key", ["model", "preprocessing", "data"])
    @pytest.mark.parametrize("value", [None, 5, "text", []])
    def test_sections_are_objects(self, saved: Path, key: str, value: object) -> None:
        edit(saved, lambda config: config.update({key: value}))
        assert key in refused(saved, CONFIG)

    @pytest.mark.parametrize("key", ["model", "preprocessing", "data"])
    def test_missing_sections(self, saved: Path, key: str) -> None:
        edit(saved, lambda config: config.pop(key))
        assert key in refused(saved, CONFIG)

    @pytest.mark.parametrize("section", [None, "model", "preprocessing"])
    def test_unknown_keys(self, saved: Path, section: str | None) -> None:
        edit(saved, lambda config: (config[section] if section else config).update(depth=3))
        assert "depth" in refused(saved, CONFIG)

    @pytest.mark.parametrize(
        ("section", "key", "value"),
        [
            ("model", "arch", "transformer"),
            ("model", "arch", ["mlp"]),
            ("model", "arch_options", {"depth": 3}),
            ("model", "arch_options", [1]),
            ("model", "arch_options", {"hidden": [0]}),
            ("model", "arch_options", {"activation": "swish"}),
            ("model", "likelihood", "poisson"),
            ("model", "likelihood", {}),
            ("model", "likelihood_options", {"sigma": 0}),
            ("model", "likelihood_options", {"sigma": 10**400}),
            ("model", "latent_dim", 0),
            ("model", "latent_dim", 10**12),
            ("model", "latent_dim", 10**30),
            ("model", "shape", [1, 28]),
            ("model", "shape", 28),
            ("model", "shape", [1, 10**9, 10**9]),
            ("preprocessing", "fit", "zoom"),
            ("preprocessing", "fit", []),
            ("preprocessing", "filter", "sinc"),
            ("preprocessing", "channels", 2),
            ("preprocessing", "height", 4.0),
            ("preprocessing", "width", 4),
        ],
    )
    def test_unusable_values(self, saved: Path, section: str, key: str, value: object) -> None:
        edit(saved, lambda config: config[section].update({key: value}))
        refused(saved, CONFIG)

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(["model", "preprocessing"]), st.data())
    def test_any_value_anywhere(self, fuzzed: Path, sound: dict[str, bytes], section: str, data: st.DataObject) -> None:
        config = json.loads(sound[CONFIG])
        place = data.draw(st.sampled_from([config, config[section], config["model"]["arch_options"]]))
        place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
        (fuzzed / CONFIG).write_text(json.dumps(config))
        (fuzzed / WEIGHTS).write_bytes(sound[WEIGHTS])
        with contextlib.suppress(CheckpointError):  # an accepted value is fine, another exception is not
            read(fuzzed)


class TestHostileWeights:
    @pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 0.999])
    def test_truncated(self, saved: Path, share: float) -> None:
        content = (saved / WEIGHTS).read_bytes()
        (saved / WEIGHTS).write_bytes(content[: int(share * len(content))])
        assert "truncated or not a safetensors file" in refused(saved, WEIGHTS)

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=200))
    def test_random_bytes(self, fuzzed: Path, sound: dict[str, bytes], content: bytes) -> None:
        (fuzzed / CONFIG).write_bytes(sound[CONFIG])
        (fuzzed / WEIGHTS).write_bytes(content)
        refused(fuzzed, WEIGHTS)

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_one_damaged_byte_of_the_header(self, fuzzed: Path, sound: dict[str, bytes], data: st.DataObject) -> None:
        content = bytearray(sound[WEIGHTS])
        header = 8 + int.from_bytes(content[:8], "little")
        content[data.draw(st.integers(0, header - 1))] ^= data.draw(st.integers(1, 255))
        (fuzzed / CONFIG).write_bytes(sound[CONFIG])
        (fuzzed / WEIGHTS).write_bytes(content)
        expected = safetensors.torch.load(sound[WEIGHTS])
        with contextlib.suppress(CheckpointError):  # a byte in the copy of the configuration may do no harm
            for name, tensor in load(fuzzed).state_dict().items():
                assert torch.equal(tensor, expected[name])

    @pytest.mark.parametrize("header", [b'{"__metadata__":null}', b"[]", b"null", b'{"a":' + b"[" * 5000, b"\xff" * 9])
    def test_strange_headers(self, saved: Path, header: bytes) -> None:
        (saved / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header)
        refused(saved, WEIGHTS)

    def test_a_type_of_numbers_that_is_not_read(self, saved: Path) -> None:
        header = b'{"x":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}'
        (saved / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + b"0")
        assert refused(saved, WEIGHTS).startswith("unsupported dtype F8_E4M3; supported: F64, F32,")

    def test_missing_and_unknown_tensors(self, saved: Path) -> None:
        (saved / WEIGHTS).write_bytes(weights(**{"likelihood.variance": None}))
        assert refused(saved, WEIGHTS) == "missing tensors: likelihood.variance"
        (saved / WEIGHTS).write_bytes(weights(extra=torch.zeros(1)))
        assert refused(saved, WEIGHTS) == "unknown tensors: extra"

    @pytest.mark.parametrize("found", [torch.zeros(6), torch.zeros(5, 1), torch.zeros(5).double(), torch.zeros(5).int()])
    def test_another_shape_or_type(self, saved: Path, found: Tensor) -> None:
        (saved / WEIGHTS).write_bytes(weights(**{"net.encoder.1.bias": found}))
        expected = f"net.encoder.1.bias is {found.dtype} {tuple(found.shape)}, should be torch.float32 (5,)"
        assert refused(saved, WEIGHTS) == expected

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_not_finite(self, saved: Path, value: float) -> None:
        bias = torch.zeros(5)
        bias[3] = value
        (saved / WEIGHTS).write_bytes(weights(**{"net.encoder.1.bias": bias}))
        assert refused(saved, WEIGHTS) == "net.encoder.1.bias has values that are not finite"

    @pytest.mark.parametrize("other", [vae(activation="tanh"), vae(latent_dim=3)], ids=["same shapes", "other shapes"])
    def test_files_of_two_saves(self, saved: Path, tmp_path: Path, other: VAE) -> None:
        save(tmp_path / "other", other)
        (tmp_path / "other" / CONFIG).rename(saved / CONFIG)
        refused(saved, WEIGHTS)

    def test_weights_of_other_software_are_welcome(self, saved: Path) -> None:
        (saved / WEIGHTS).write_bytes(weights())
        assert not load(saved).training


class TestMissing:
    @pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
    def test_file(self, saved: Path, file: str) -> None:
        (saved / file).unlink()
        assert refused(saved, file).startswith("no such file")
        (saved / file).mkdir()
        refused(saved, file)

    def test_directory(self, tmp_path: Path) -> None:
        refused(tmp_path / "nowhere", CONFIG)
        (tmp_path / "file").touch()
        refused(tmp_path / "file", CONFIG)
