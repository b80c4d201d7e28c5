"""The methods of the client on points of the latent space: edits, sums, means, traversals, planes and paths.

A point is a picture, a latent, (D,) or (1, D), the posterior of one picture, or a mapping: {"id": "a"} is a stored item of the
`collection`. `details=True` brings `z` and `details` of Decoded with a second request.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from vae_client import latent_calls
from vae_client.calls import Background, Call, Invert, NpyType, Options, PixelKind
from vae_client.labels import Label
from vae_client.results import Decoded
from vae_client.sync_transport import Transport


class LatentMethods(Transport):
    """Work with points of the latent space."""

    def edit(
        self,
        points: Any,
        directions: Mapping[str, float],
        *,
        collection: str,
        keep: Iterable[str] | str = (),
        pixels: PixelKind | None = None,
        seed: int | None = None,
        details: bool = False,
        dtype: NpyType = "uint8",
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Decoded:
        """Return N points, pictures or latents (N, D), moved along directions of a collection: {"smile": 1.5} is 1.5 units.

        Nothing changes along the directions of `keep`. `details=True` brings the moved latents `z` with a second request.
        """
        return self._decoded(
            latent_calls.edit(
                points,
                directions,
                keep,
                self._about(collection, model, timeout_ms, background, invert, label),
                dtype,
                collection=collection,
                pixels=pixels,
                seed=seed,
            ),
            details,
        )

    def combine(
        self,
        terms: Any,
        weights: Iterable[float] | None = None,
        *,
        collection: str | None = None,
        pixels: PixelKind | None = None,
        seed: int | None = None,
        details: bool = False,
        dtype: NpyType = "uint8",
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Decoded:
        """Return the picture of the sum of points with weights, by default 1 each: [1, -1, 1] is the analogy a - b + c.

        `details=True` brings the sum `z`, (1, D), with a second request.
        """
        return self._decoded(
            latent_calls.combine(
                terms,
                weights,
                self._about(collection, model, timeout_ms, background, invert, label),
                dtype,
                collection=collection,
                pixels=pixels,
                seed=seed,
            ),
            details,
        )

    def barycenter(
        self,
        points: Any,
        weights: Iterable[float] | None = None,
        *,
        method: Literal["euclidean", "w2"] | None = None,
        collection: str | None = None,
        pixels: PixelKind | None = None,
        seed: int | None = None,
        details: bool = False,
        dtype: NpyType = "uint8",
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Decoded:
        """Return the picture of the weighted mean of points, or with w2 of the 2-Wasserstein barycenter of posteriors.

        `details=True` brings `z`, (1, D), and with w2 `details["mu"]` and `details["sigma"]`, with a second request.
        """
        return self._decoded(
            latent_calls.barycenter(
                points,
                weights,
                self._about(collection, model, timeout_ms, background, invert, label),
                dtype,
                method=method,
                collection=collection,
                pixels=pixels,
                seed=seed,
            ),
            details,
        )

    def traverse(
        self,
        points: Any = None,
        *,
        dims: Iterable[int] | str | None = None,
        steps: int | None = None,
        over: Literal["prior", "point", "posterior"] | None = None,
        span: float | None = None,
        collection: str | None = None,
        details: bool = False,
        dtype: NpyType = "uint8",
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Decoded:
        """Return rows of `steps` pictures (default 11), one dimension changing in each: (points * rows * steps, H, W, C).

        `dims` are dimensions, "top:8" or "local:8"; `span` is in standard deviations. Without points, the rows go through 0.
        `details=True` brings `z`, and `details["rows"]` with the dimension and the values of each row, with a second request.
        """
        return self._decoded(
            latent_calls.traverse(
                points,
                dims,
                self._about(collection, model, timeout_ms, background, invert, label),
                dtype,
                steps=steps,
                over=over,
                span=span,
                collection=collection,
            ),
            details,
        )

    def manifold(
        self,
        *,
        dims: Iterable[int] | None = None,
        n: int = 20,
        span: float | None = None,
        collection: str | None = None,
        item: str | None = None,
        details: bool = False,
        dtype: NpyType = "uint8",
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Decoded:
        """Return the plane of two dimensions through 0 or an item, decoded: n * n pictures, row by row from the top left.

        The first dimension grows to the right, the second upwards, `span` standard deviations to both sides.
        `details=True` brings `z` and the `details["values"]`, (n,), of both dimensions with a second request.
        """
        return self._decoded(
            latent_calls.manifold(
                dims,
                n,
                self._about(collection, model, timeout_ms, label=label),
                span=span,
                collection=collection,
                item=item,
                dtype=dtype,
            ),
            details,
        )

    def interpolate(
        self,
        start: Any = None,
        end: Any = None,
        *,
        points: Any = None,
        corners: Any = None,
        steps: int | None = None,
        method: Literal["linear", "slerp", "matched", "graph"] | None = None,
        collection: str | None = None,
        density_weight: float | None = None,
        bandwidth: float | Literal["auto"] | None = None,
        details: bool = False,
        dtype: NpyType = "uint8",
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Decoded:
        """Return the `steps` pictures of a path from start to end, both included, or through two `points` or more.

        Four `corners`, upper left and right, lower left and right, give the steps * steps pictures of a square, row by row.
        `method="graph"` goes from item to item of a collection. `details=True` brings `z`, and `details["log_density"]` (nats)
        and `details["length"]` (root nats) if there is a collection, and the `ids` on a graph path, with a second request.
        """
        include = "z" if collection is None or corners is not None else "z,log_density"
        return self._decoded(
            latent_calls.interpolate(
                start,
                end,
                points,
                corners,
                self._about(collection, model, timeout_ms, background, invert, label),
                steps,
                dtype,
                method=method,
                collection=collection,
                density_weight=density_weight,
                bandwidth=bandwidth,
            ),
            details,
            include,
        )

    def _about(
        self,
        collection: str | None,
        model: str | None,
        timeout_ms: int | None,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
    ) -> Options:
        """Return options. The model of a collection answers, so that of the client is left out then."""
        options = self._options if collection is None else Options
        return options(model, timeout_ms, background, invert, label)

    def _decoded(self, call: Call[Decoded], details: bool, include: str = "z") -> Decoded:
        decoded = self._run(call)
        return self._run(latent_calls.details(call, decoded, include)) if details else decoded
