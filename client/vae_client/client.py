"""The client: pictures and latents, and what is loaded. Its other methods are in the files sync_*.py.

AsyncClient in async_client.py has the same methods.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import httpx

from vae_client import batches, calls, complete_calls, service_calls
from vae_client.batches import BATCH_SIZE
from vae_client.calls import Background, Include, Invert, NpyType, PixelKind
from vae_client.data import Data, Strokes, Texts
from vae_client.errors import VaeError
from vae_client.labels import Label
from vae_client.pictures import Pictures
from vae_client.progress import Progress
from vae_client.results import Decoded, Model, Posteriors
from vae_client.sync_collections import CollectionMethods
from vae_client.sync_densities import DensityMethods
from vae_client.sync_scores import ScoreMethods


class Client(ScoreMethods, CollectionMethods, DensityMethods):
    """A client of one service, for any number of threads.

    `api_key` is sent with every request, `model` is used where a method is given none. An attempt may take `timeout` seconds.
    After a failure that another attempt may mend, attempts begin for `retry_seconds` more; 0 switches this off.
    There are at most `connections` connections, which are kept open between requests.
    """

    def encode(
        self,
        pictures: Pictures,
        *,
        include: Iterable[Include] | Include = (),
        seed: int | None = None,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Posteriors:
        """Return the posteriors of one picture or several, in their order, with one request.

        Rows([{...}]), Strokes([...]) and Texts(["..."]) are taken as pictures are. `label` is what a conditional model is
        told, here and in all methods that have it: one label for all, or a list with one for each.
        `include` brings more fields of Posteriors, but its answers are JSON, which is larger and slower; `seed` is that of z.
        """
        return self._run(calls.encode(pictures, self._options(model, timeout_ms, background, invert, label), include, seed))

    def decode(
        self,
        z: Any,
        *,
        pixels: PixelKind | None = None,
        seed: int | None = None,
        dtype: NpyType = "uint8",
        temperature: float | None = None,
        max_length: int | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Decoded:
        """Return the pictures of latents, (N, D) or (D,), or of the mu of Posteriors, with one request.

        `pixels="sample"` draws the pixels from p(x given z) with the seed, here and in `sample` and `reconstruct`.
        Rows, drawings and texts are the `items` of the result.
        Drawings and texts are made with `temperature`, 0 for the likeliest steps, and have at most `max_length` of them.
        """
        options = self._options(model, timeout_ms, label=label)
        return self._run(calls.decode(z, options, pixels, seed, dtype, temperature, max_length))

    def sample(
        self,
        n: int = 1,
        *,
        seed: int | None = None,
        temperature: float | None = None,
        prior: Literal["standard", "vamp", "aggregate"] | None = None,
        max_length: int | None = None,
        label: Label | None = None,
        include: Iterable[Literal["z"]] | Literal["z"] = (),
        pixels: PixelKind | None = None,
        dtype: NpyType = "uint8",
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Decoded:
        """Return n pictures drawn from the prior, or rows, drawings or texts as `items`, and their seed and prior.

        `temperature` scales the noise of latents; for drawings and texts, it says how freely each step is drawn.
        `label` is one of the `labels` of the model, for pictures of this label only.
        `include=["z"]` brings their latents with a second request, which draws the same again. Raises ModelChanged then.
        """
        options, names = self._options(model, timeout_ms, label=label), calls.names(include)
        drawn = self._run(calls.sample(n, options, seed, temperature, prior, pixels, dtype, max_length))
        if not names:
            return drawn
        return replace(drawn, z=self._run(calls.latents_of_sample(drawn, options, temperature, names)))

    def reconstruct(
        self,
        pictures: Pictures,
        *,
        mode: Literal["mean", "sample"] | None = None,
        pixels: PixelKind | None = None,
        seed: int | None = None,
        dtype: NpyType = "uint8",
        cells: Literal["missing", "all"] | None = None,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Decoded:
        """Return pictures as the model sees them: encoded and decoded again.

        The missing cells of table rows are filled, and named in `details["filled"]`; `cells="all"` reconstructs all.
        """
        options = self._options(model, timeout_ms, background, invert, label)
        return self._run(calls.reconstruct(pictures, options, mode, pixels, seed, dtype, cells))

    def complete(
        self,
        begun: Strokes | Texts,
        n: int = 1,
        *,
        seed: int | None = None,
        temperature: float | None = None,
        max_length: int | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> list[Data]:
        """Return n continuations of each drawing or text that was begun."""
        steps = {"temperature": temperature, "max_length": max_length}
        return self._run(complete_calls.complete(begun, n, seed, self._options(model, timeout_ms), **steps))

    def encode_many(
        self,
        pictures: Pictures,
        *,
        batch_size: int = BATCH_SIZE,
        concurrency: int = 4,
        progress: bool = False,
        include: Iterable[Include] | Include = (),
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Posteriors:
        """Return the posteriors of any number of pictures, in their order. Raises BatchFailed, ModelChanged.

        `include` is that of `encode`; each batch draws its z with a seed of its own.
        """
        parts = self.encode_batches(
            pictures,
            batch_size=batch_size,
            concurrency=concurrency,
            progress=progress,
            include=include,
            background=background,
            invert=invert,
            label=label,
            model=model,
            timeout_ms=timeout_ms,
        )
        return Posteriors.join(list(parts))

    def encode_batches(
        self,
        pictures: Pictures,
        *,
        batch_size: int = BATCH_SIZE,
        concurrency: int = 4,
        progress: bool = False,
        include: Iterable[Include] | Include = (),
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Iterator[Posteriors]:
        """Yield the posteriors of one batch after the other, so that neither pictures nor posteriors pile up in memory."""
        options, names = self._options(model, timeout_ms, background, invert, label), calls.names(include)
        parts = batches.split(pictures, batch_size)
        bar = Progress(progress, "encode", batches.count_of(pictures) if progress else None)
        return self._in_order(
            parts, lambda batch: calls.encode(batch.content, options.of(batch.items), names), concurrency, bar
        )

    def models(self) -> list[Model]:
        """Return the loaded models, in the order of their names."""
        return self._run(service_calls.models())

    def info(self) -> dict[str, Any]:
        """Return limits, versions and counts of the service."""
        return self._run(service_calls.info())

    def ready(self) -> bool:
        """Return whether the service can be reached and takes requests now. Does not retry."""
        try:
            return self._run(service_calls.ready(), 0)
        except VaeError:
            return False

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
    ) -> httpx.Response:
        """Send any request, with the retries and exceptions of the client; `repeatable` is true by default of GET and HEAD."""
        return self._run(calls.request(method, path, params, content, json, headers, repeatable))
