"""The pictures of a card: which there are, how large, and what stands where."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.checkpoint import CheckpointError, save
from models.data import Items
from models.evaluate.pictures import (
    SCATTER_PIXELS,
    animate,
    evolution,
    interpolations,
    manifold,
    neighbors,
    percentiles,
    planes,
    reconstructions,
    samples,
    scatter,
    traversals,
    write_pictures,
)
from models.mixture import GaussianMixture
from models.mosaic import to_bytes
from models.vae import VAE, VAEConfig

STEP = 28 + 2  # from tile to tile


def vae(latent_dim: int = 2, channels: int = 1) -> VAE:
    """Untrained, with weights so large that no two pictures look alike."""
    model = VAE(VAEConfig((channels, 28, 28), latent_dim, "mlp", {"hidden": [16]})).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.mul_(4)
    return model


def tile(image: Image.Image, row: int, column: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(image)[row * STEP :, column * STEP :][:28, :28]


def decoded(model: VAE, z: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return to_bytes(model.decode(z[None]).mean)[0, ..., 0]


class TestFiles:
    SIZES = (
        ("reconstructions.png", 16, 8),
        ("samples.png", 16, 8),
        ("interpolations.png", 16, 8),
        ("manifold.png", 20, 20),
    )

    def test_of_a_plane(self, digits: Items, tmp_path: Path) -> None:
        paths = write_pictures(tmp_path, vae(), digits)
        assert sorted(tmp_path.iterdir()) == sorted(paths)
        for name, columns, rows in self.SIZES:
            with Image.open(tmp_path / name) as image:
                assert (name, image.mode, image.size) == (name, "L", (columns * STEP - 2, rows * STEP - 2))
        with Image.open(tmp_path / "scatter.png") as image:
            assert (image.mode, image.size) == ("RGB", (SCATTER_PIXELS, SCATTER_PIXELS))
        assert len(paths) == 5

    @pytest.mark.parametrize("latent_dim", [1, 3])
    def test_of_other_latents(self, latent_dim: int, digits: Items, tmp_path: Path) -> None:
        write_pictures(tmp_path, vae(latent_dim), digits)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["interpolations.png", "reconstructions.png", "samples.png"]

    def test_of_colors(self, digits: Items, tmp_path: Path) -> None:
        write_pictures(tmp_path, vae(channels=3), Items(digits.x.expand(-1, 3, -1, -1)))
        with Image.open(tmp_path / "samples.png") as image:
            assert image.mode == "RGB"

    def test_same_model_same_bytes(self, digits: Items, tmp_path: Path) -> None:
        model = vae()
        first = [path.read_bytes() for path in write_pictures(tmp_path, model, digits)]
        assert [path.read_bytes() for path in write_pictures(tmp_path, model, digits)] == first


@pytest.mark.parametrize("count", [1, 5, 16, 25, 64])
def test_originals_stand_above_their_reconstructions(count: int, digits: Items) -> None:
    model, x = vae(), digits.x[:count]
    image, mu = reconstructions(model, x), model.encode(x).mu
    columns = min(count, 16)
    for i in range(count):
        row, column = 2 * (i // columns), i % columns
        np.testing.assert_array_equal(tile(image, row, column), x[i, 0])
        np.testing.assert_allclose(tile(image, row + 1, column).astype(int), decoded(model, mu[i]), atol=1)


def test_interpolations_go_from_one_picture_to_the_next(digits: Items) -> None:
    model, x = vae(), digits.x[:6]
    image, mu = interpolations(model, x), model.encode(x).mu
    assert image.size == (16 * STEP - 2, 3 * STEP - 2)
    for row in range(3):
        for column, t in ((0, 0.0), (5, 1 / 3), (15, 1.0)):
            z = (1 - t) * mu[2 * row] + t * mu[2 * row + 1]
            np.testing.assert_allclose(tile(image, row, column).astype(int), decoded(model, z), atol=1)


def test_manifold_runs_to_the_right_and_upwards() -> None:
    model = vae()
    image = manifold(model, side=5)
    low, high = torch.special.ndtri(torch.tensor([0.01, 0.99])).tolist()
    for (row, column), z in {(0, 0): (low, high), (0, 4): (high, high), (4, 0): (low, low), (2, 2): (0.0, 0.0)}.items():
        np.testing.assert_allclose(tile(image, row, column).astype(int), decoded(model, torch.tensor(z)), atol=1)


class TestScatter:
    def linear(self, first: float, second: float, brightness: float = 0.0) -> VAE:
        """A VAE whose mu lies there for a black picture, and farther to the right the brighter it is."""
        model = VAE(VAEConfig((1, 28, 28), 2, "mlp", {"hidden": []})).eval().requires_grad_(False)
        weight, bias = model.net.get_submodule("encoder").parameters()
        weight.zero_()[0] = brightness / 784
        bias[:2] = torch.tensor([first, second])
        return model

    @pytest.mark.parametrize(("z", "place"), [((2.3, 1.4), (567, 234)), ((-2.3, -1.4), (153, 486)), ((0.5, -0.5), (405, 405))])
    def test_points_lie_where_mu_is(self, z: tuple[float, float], place: tuple[int, int]) -> None:
        image = scatter(self.linear(*z), Items(torch.zeros(1, 1, 28, 28).byte()))
        rows, columns = np.nonzero(np.ptp(np.asarray(image).astype(int), axis=-1) > 60)  # colours; axes and numbers are grey
        assert (columns.mean(), rows.mean()) == pytest.approx(place, abs=1)

    @pytest.mark.parametrize("classes", [2, 10, 13])
    def test_classes_have_colors_of_their_own(self, classes: int) -> None:
        levels = torch.linspace(0, 255, classes).byte().view(-1, 1, 1, 1)
        model, points = self.linear(-3.3, 0.5, brightness=6), Items(levels.expand(-1, 1, 28, 28), torch.arange(classes))
        image = scatter(model, points)
        places = [round(SCATTER_PIXELS * (0.5 + first / 8)) for first, _ in model.encode(points.x).mu.tolist()]
        assert len({image.getpixel((place, 315)) for place in places}) == classes

    def test_labels_are_optional_and_mu_may_lie_outside(self, digits: Items) -> None:
        assert scatter(self.linear(100.0, -100.0), Items(digits.x)).size == (SCATTER_PIXELS, SCATTER_PIXELS)


def test_samples_of_a_mixture_come_from_it() -> None:
    model = vae()
    narrow = GaussianMixture(torch.ones(1), torch.tensor([[1.5, -2.0]]), torch.full((1, 2), 1e-6))
    image = samples(model, narrow)
    for row, column in ((0, 0), (7, 15)):
        np.testing.assert_allclose(tile(image, row, column).astype(int), decoded(model, torch.tensor([1.5, -2.0])), atol=1)
    assert samples(model, None).tobytes() != image.tobytes()


def test_traversals_move_one_dimension_at_a_time() -> None:
    model, mu = vae(4), torch.tensor([0.3, -0.2, 1.0, 0.0])
    found = traversals(model, mu, [2, 0], steps=5)
    assert found.shape == (10, 1, 28, 28)
    for row, j in enumerate((2, 0)):
        for column, value in enumerate(percentiles(5).tolist()):
            z = mu.clone()
            z[j] = value
            torch.testing.assert_close(found[5 * row + column], model.decode(z[None]).mean[0])


def test_neighbors_stand_right_of_their_query(digits: Items) -> None:
    image = neighbors(vae(), digits.x[:2], digits.x[2:8].unflatten(0, (2, 3)), gap=8)
    assert image.size == (4 * STEP - 2 + 8, 2 * STEP - 2)
    pixels = np.asarray(image)
    np.testing.assert_array_equal(pixels[:28, :28], digits.x[0, 0])
    np.testing.assert_array_equal(pixels[STEP : STEP + 28, 2 * STEP + 8 : 2 * STEP + 36], digits.x[6, 0])


class TestEvolution:
    @pytest.mark.parametrize(("latent_dim", "size"), [(2, (2 * (20 * STEP - 2) + 8, 20 * STEP - 2)), (5, (8 * STEP - 2,) * 2)])
    def test_a_frame_a_snapshot(self, latent_dim: int, size: tuple[int, int], tmp_path: Path, digits: Items) -> None:
        states = [vae(latent_dim), vae(latent_dim)]
        paths = []
        for step, model in zip((1, 16), states, strict=True):
            save(tmp_path / str(step), model)
            paths.append(tmp_path / str(step) / "model.safetensors")
        before = states[0].state_dict()["net.encoder.1.weight"].clone()
        frames = evolution(states[0], paths, digits)
        assert [stem for stem, _ in frames] == ["model", "model"]
        assert [image.size for _, image in frames] == [size] * 2
        assert frames[0][1].tobytes() != frames[1][1].tobytes()
        assert torch.equal(states[0].state_dict()["net.encoder.1.weight"], before)
        if latent_dim == 2:
            right = frames[1][1].crop((size[1] + 8, 0, *size)).convert("L")
            assert right.tobytes() == manifold(states[1]).convert("L").tobytes()
            left = scatter(states[1], digits).resize((size[1], size[1]), Image.Resampling.LANCZOS)
            assert frames[1][1].crop((0, 0, size[1], size[1])).tobytes() == left.tobytes()

    def test_small_planes_are_enlarged(self, digits: Items) -> None:
        small = VAE(VAEConfig((1, 8, 8), 2, "mlp", {"hidden": [4]})).requires_grad_(False)
        side = 4 * (20 * 10 - 2)
        assert planes(small, Items(digits.x[:5, :, :8, :8])).size == (2 * side + 8, side)

    def test_a_file_of_another_model(self, tmp_path: Path, digits: Items) -> None:
        save(tmp_path, vae(3))
        with pytest.raises(CheckpointError, match="does not fit this model"):
            evolution(vae(2), [tmp_path / "model.safetensors"], digits)
        (tmp_path / "broken.safetensors").write_bytes(b"{")
        with pytest.raises(CheckpointError, match=r"broken.safetensors: does not fit this model"):
            evolution(vae(2), [tmp_path / "broken.safetensors"], digits)

    def test_is_animated_without_end(self, tmp_path: Path) -> None:
        frames = [(f"step {i}", Image.new("L", (60, 40), 60 * i)) for i in range(4)]
        animate(tmp_path / "a.webp", frames)
        with Image.open(tmp_path / "a.webp") as image:
            assert (image.size, getattr(image, "n_frames", 1), image.info["loop"]) == ((60, 64), 4, 0)
            image.seek(3)
            assert np.asarray(image.convert("L"))[20, 30] == pytest.approx(180, abs=3)
            assert np.asarray(image.convert("L"))[40:].min() < 100  # words below
