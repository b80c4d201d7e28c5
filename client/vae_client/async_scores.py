"""The methods of the asynchronous client on scores, and on compressed latents. The twin of sync_scores.py."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from vae_client import batches, latent_calls
from vae_client.async_latents import AsyncLatentMethods
from vae_client.batches import BATCH_SIZE
from vae_client.calls import Background, Invert, NpyType, Options, PixelKind, names
from vae_client.labels import Label
from vae_client.latent_calls import ScoreName
from vae_client.latent_results import ModelMap, Scores
from vae_client.pictures import Pictures
from vae_client.progress import Progress
from vae_client.results import Decoded


class AsyncScoreMethods(AsyncLatentMethods):
    """How unusual pictures are, where the training latents lie, and latents in few bytes."""

    async def score(
        self,
        pictures: Pictures,
        *,
        scores: Iterable[ScoreName] | ScoreName = (),
        samples: int | None = None,
        seed: int | None = None,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Scores:
        """Return how unusual one picture is or several are, in their order, with one request; by default the model's scores.

        `samples` is the number of draws for elbo and iwae, `seed` that of the noise of these and of regret.
        """
        options = self._options(model, timeout_ms, background, invert, label)
        return await self._built(partial(latent_calls.score, pictures, options, scores, samples, seed))

    async def score_many(
        self,
        pictures: Pictures,
        *,
        scores: Iterable[ScoreName] | ScoreName = (),
        samples: int | None = None,
        seed: int | None = None,
        batch_size: int = BATCH_SIZE,
        concurrency: int = 4,
        progress: bool = False,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Scores:
        """Return the scores of any number of pictures, in their order. Raises BatchFailed, ModelChanged.

        A picture has the same numbers in each batch. Batches that are too large, such as 65 pictures with regret, are halved.
        """
        options, asked = self._options(model, timeout_ms, background, invert, label), names(scores)
        parts = self._in_order(
            batches.split(pictures, batch_size),
            lambda batch: latent_calls.score(batch.content, options.of(batch.items), asked, samples, seed),
            concurrency,
            Progress(progress, "score", batches.count_of(pictures) if progress else None),
        )
        return Scores.join([part async for part in parts])

    async def model_map(self, model: str, *, dims: Iterable[int] | None = None, timeout_ms: int | None = None) -> ModelMap:
        """Return the training latents of a model's calibration in a plane: of two dimensions, or the principal components."""
        return await self._built(partial(latent_calls.model_map, model, dims, Options(None, timeout_ms)))

    async def compress(
        self,
        pictures: Pictures,
        *,
        step: float | None = None,
        sharpen: float | None = None,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> bytes:
        """Return pictures as one small file of their latents, rounded to bins of `step` sigmas (default 1)."""
        options = self._options(model, timeout_ms, background, invert, label)
        return await self._built(partial(latent_calls.compress, pictures, options, step, sharpen))

    async def decompress(
        self,
        file: Any,
        *,
        pixels: PixelKind | None = None,
        seed: int | None = None,
        details: bool = False,
        dtype: NpyType = "uint8",
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Decoded:
        """Return the pictures of a file that `compress` made: its bytes, its path, or the open file, which names its model.

        `details=True` brings the latents `z` with a second request.
        """
        options = Options(model, timeout_ms, label=label)
        return await self._decoded(
            partial(latent_calls.decompress, file, options, pixels=pixels, seed=seed, dtype=dtype), details
        )
