"""The methods of the client on directions of a collection, and on a collection as a density.

Points are those of sync_latents.py. A `bandwidth` widens the stored posteriors; "auto" is the default.
"""

from collections.abc import Iterable
from typing import Any, Literal

from vae_client import collection_calls, density_calls
from vae_client.calls import Background, Invert, Options
from vae_client.labels import Label
from vae_client.latent_results import Comparison, Coverage, Densities, DensityMap, Direction, ItemMap
from vae_client.sync_collections import Filter
from vae_client.sync_transport import Transport

Bandwidth = float | Literal["auto"]
Prior = Literal["standard", "vamp", "aggregate"]


class DensityMethods(Transport):
    """Directions, densities and maps. Unknown keys of a filter issue UnknownKeyWarning, or raise Conflict if `strict`."""

    def put_direction(
        self,
        collection: str,
        name: str,
        positive: Any,
        negative: Any,
        *,
        method: Literal["mean_difference", "logistic_regression"] | None = None,
        orthogonal_to: Iterable[str] | str = (),
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Direction:
        """Make a direction from the negative to the positive side, or make it anew.

        A side is a filter, {"ids": [...]}, pictures, or latents (N, D), at least two. The part along the directions of
        `orthogonal_to` is removed.
        """
        options = Options(model, timeout_ms, background, invert, label)
        return self._run(density_calls.put_direction(collection, name, positive, negative, method, orthogonal_to, options))

    def directions(self, collection: str, *, timeout_ms: int | None = None) -> list[Direction]:
        """Return the directions of a collection without their vectors, in the order of their names."""
        return self._run(density_calls.directions(collection, Options(None, timeout_ms)))

    def direction(self, collection: str, name: str, *, timeout_ms: int | None = None) -> Direction:
        """Return one direction with its vector. Raises NotFound."""
        return self._run(density_calls.direction(collection, name, Options(None, timeout_ms)))

    def delete_direction(self, collection: str, name: str, *, timeout_ms: int | None = None) -> Direction:
        """Delete a direction, and return what it was. Raises NotFound."""
        return self._run(density_calls.delete_direction(collection, name, Options(None, timeout_ms)))

    def density(
        self,
        collection: str,
        points: Any,
        *,
        k: int | None = None,
        bandwidth: Bandwidth | None = None,
        filter: Filter | None = None,
        strict: bool | None = None,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Densities:
        """Return the log density of the items, in nats, at N points, and the ids of their k nearest items (default 5)."""
        options = Options(model, timeout_ms, background, invert, label)
        return collection_calls.warned(
            self._run(
                density_calls.density(collection, points, options, k=k, bandwidth=bandwidth, filter=filter, strict=strict)
            )
        )

    def compare(
        self,
        collection: str,
        a: Filter,
        b: Filter,
        points: Any = None,
        *,
        bandwidth: Bandwidth | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        strict: bool | None = None,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Comparison:
        """Return the log ratio, in nats, of the densities of two sets of items, at points, or else at the items of both.

        Items come `limit` (default 100, at most 1000) at a time; the `cursor` of a result leads to the next ones.
        """
        options = Options(model, timeout_ms, background, invert, label)
        return collection_calls.warned(
            self._run(
                density_calls.compare(
                    collection, a, b, points, options, bandwidth=bandwidth, limit=limit, cursor=cursor, strict=strict
                )
            )
        )

    def map(
        self,
        collection: str,
        *,
        dims: Iterable[int] | None = None,
        keys: Iterable[str] | str = (),
        limit: int | None = None,
        filter: Filter | None = None,
        strict: bool | None = None,
        timeout_ms: int | None = None,
    ) -> ItemMap:
        """Return the items on the plane of two dimensions, or of the principal components, with the metadata of `keys`."""
        options = Options(None, timeout_ms)
        return collection_calls.warned(
            self._run(density_calls.item_map(collection, options, filter, keys, dims=dims, limit=limit, strict=strict))
        )

    def density_map(
        self,
        collection: str,
        cells: int = 128,
        *,
        dims: Iterable[int] | None = None,
        bandwidth: Bandwidth | None = None,
        prior: Prior | None = None,
        filter: Filter | None = None,
        strict: bool | None = None,
        timeout_ms: int | None = None,
    ) -> DensityMap:
        """Return the density of the items over the plane of `map`, in `cells` x `cells` cells, with the holes of the prior."""
        options = Options(None, timeout_ms)
        return collection_calls.warned(
            self._run(
                density_calls.density_map(
                    collection, cells, options, filter, dims=dims, bandwidth=bandwidth, prior=prior, strict=strict
                )
            )
        )

    def coverage(
        self,
        collection: str,
        *,
        draws: int | None = None,
        seed: int | None = None,
        prior: Prior | None = None,
        bandwidth: Bandwidth | None = None,
        filter: Filter | None = None,
        strict: bool | None = None,
        timeout_ms: int | None = None,
    ) -> Coverage:
        """Return the share of `draws` from the prior (default 500) that lie where the items do, from 0 to 1."""
        options = Options(None, timeout_ms)
        return collection_calls.warned(
            self._run(
                density_calls.coverage(
                    collection, options, filter, draws=draws, seed=seed, prior=prior, bandwidth=bandwidth, strict=strict
                )
            )
        )
