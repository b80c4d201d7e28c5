"""Special files in place of API keys, checkpoints and pictures for the store: nothing waits for them."""

import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from models.checkpoint import CONFIG, WEIGHTS
from models.golden import GOLDEN
from models.mixture import PRIOR
from service.engine.device import Device, QueueLimits
from service.formats import png
from service.http.access.keys import KeysError, read_keys
from service.inference.catalog import Catalog, CatalogError
from service.settings import Settings, SettingsError
from service.store_command import main as store
from tests.special_files import KINDS, no_longer_than

EACH = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def _an_end() -> Iterator[None]:
    with no_longer_than(60):
        yield


class TestKeys:
    @EACH
    def test_a_file_of_keys(self, kind: str, tmp_path: Path) -> None:
        make, name = KINDS[kind]
        make(tmp_path / "keys")
        with pytest.raises(SettingsError, match=f"is {name}; only regular files are read"):
            read_keys("", Settings(api_keys_file=tmp_path / "keys").read_api_keys_file())

    def test_a_link_to_one_as_kubernetes_mounts_it(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("app infer a-key-that-is-long-enough")
        (tmp_path / "keys").symlink_to("data")
        assert [key.name for key in read_keys("", Settings(api_keys_file=tmp_path / "keys").read_api_keys_file()).keys] == [
            "app"
        ]

    def test_a_huge_file(self, tmp_path: Path) -> None:
        with (tmp_path / "keys").open("wb") as file:
            file.truncate(1 << 33)
        with pytest.raises(SettingsError, match="more than the 1048576 bytes"):
            read_keys("", Settings(api_keys_file=tmp_path / "keys").read_api_keys_file())

    def test_as_many_keys_as_a_file_may_have(self, tmp_path: Path) -> None:
        """Each is compared with those before it in one look-up: one by one it would take minutes."""
        lines = [f"a - sha256:{hashlib.sha256(str(i).encode()).hexdigest()}\n" for i in range(13_000)]
        (tmp_path / "keys").write_text("".join(lines))
        assert len(read_keys("", Settings(api_keys_file=tmp_path / "keys").read_api_keys_file()).keys) == 13_000
        (tmp_path / "keys").write_text("".join([*lines[:10], lines[3].replace("a", "b", 1)]))
        with pytest.raises(KeysError, match="the API keys of 'a' and 'b' are the same"):
            read_keys("", Settings(api_keys_file=tmp_path / "keys").read_api_keys_file())


class TestCatalog:
    @pytest.fixture
    async def catalog(self, weights: Path, tmp_path: Path) -> AsyncIterator[Catalog]:
        """`grey` is loaded, `colour` may be added."""
        device = Device("cpu", threads=1, limits=QueueLimits(max_batch=8, max_queue_rows=8, max_rows=8))
        device.start()
        catalog = Catalog(device)
        await catalog.load(shutil.copytree(weights, tmp_path / "shelf"), ("grey",), "grey")
        yield catalog
        await device.close()

    async def test_a_model_with_one_is_refused_and_others_can_be_loaded(self, catalog: Catalog) -> None:
        for file in (CONFIG, WEIGHTS, GOLDEN, PRIOR, "metrics.json"):
            path = catalog.directory / "colour" / file
            if path.exists():
                path.rename(path.with_suffix(".kept"))
            for make, name in KINDS.values():
                make(path)
                with pytest.raises(CatalogError, match=f"{file}: is {name}; only regular files are read"):
                    await catalog.add("colour")
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink()
                path.with_name("elsewhere").unlink(missing_ok=True)
            if path.with_suffix(".kept").exists():
                path.with_suffix(".kept").rename(path)
        assert (await catalog.add("colour")).previous is None
        assert (await catalog.replace("grey")).previous is not None

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"[" * 100_000, "nested more than 32 levels"),
            (b'{"a":"' + b"a" * (1 << 20) + b'"}', "more than the 1048576 bytes"),
        ],
        ids=["deep", "long"],
    )
    async def test_numbers_of_a_card_that_cannot_be_read(self, catalog: Catalog, content: bytes, said: str) -> None:
        (catalog.directory / "colour" / "metrics.json").write_bytes(content)
        with pytest.raises(CatalogError, match=said):
            await catalog.add("colour")


class TestLoading:
    @pytest.fixture
    def setting(self, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for name, value in (("MODELS_DIR", weights), ("STORE", tmp_path / "latents.db"), ("DEVICE", "cpu"), ("THREADS", 1)):
            monkeypatch.setenv(f"VAE_{name}", str(value))
        return tmp_path

    @pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link"])
    @pytest.mark.parametrize("file", ["folder/one.png", "x.npz", "t-images-idx3-ubyte", "t-images-idx3-ubyte.gz"])
    def test_what_is_not_a_regular_file_is_refused_by_name(
        self, setting: Path, file: str, kind: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = setting / file
        path.parent.mkdir(exist_ok=True)
        make, name = KINDS[kind]
        make(path)
        named = path.parent if file.startswith("folder") else path
        assert store(["load", "--collection", "some", "--model", "grey", str(named)]) == 1
        told = capsys.readouterr().err
        assert f"is {name}; only regular files are read" in told
        assert path.name in told

    def test_an_npz_that_is_a_lone_array(self, setting: Path) -> None:
        with (setting / "x.npz").open("wb") as file:
            np.save(file, np.zeros((2, 8, 8), np.uint8))
        assert store(["load", "--collection", "some", "--model", "grey", str(setting / "x.npz")]) == 0

    def test_a_link_to_a_picture(self, setting: Path) -> None:
        (setting / "picture").write_bytes(png.write(np.zeros((8, 8, 1), np.uint8)))
        (setting / "folder").mkdir()
        (setting / "folder" / "one.png").symlink_to(setting / "picture")
        assert store(["load", "--collection", "some", "--model", "grey", str(setting / "folder")]) == 0
