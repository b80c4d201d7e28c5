"""A collection as a density, without HTTP."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from service.engine.errors import DeadlineExceeded
from service.inference.inference import Inference
from service.inference.priors import AGGREGATE, STANDARD
from service.latents.density import NoDensity
from service.latents.mixture import Mixture
from service.operations import collection_map, density
from service.operations.compare import compare
from service.operations.coverage import coverage
from service.operations.items import Entries, add_items
from service.operations.service import Service
from service.store.filters import parse_filter
from service.store.interface import Collection, UnknownItem
from tests.service.operations.test_search import points

RNG = np.random.default_rng(0)
MU = RNG.standard_normal((60, 3)).astype(np.float32)
SIGMA = RNG.uniform(0.2, 1, (60, 3)).astype(np.float32)
IDS = [f"{i:02}" for i in range(60)]
EVEN, ODD = parse_filter({"odd": False}), parse_filter({"odd": True})


async def fill(service: Service, inference: Inference, collection: Collection, items: Entries) -> Collection:
    await add_items(service.pipeline, service.store, inference, collection, collection.digest, items)
    return await service.store.collection(collection.name)


@pytest.fixture
async def filled(service: Service, inference: Inference, collection: Collection) -> Collection:
    items = replace(points([*IDS], MU), sigma=SIGMA, has_sigma=np.ones(60, np.bool_), keys={"odd"})
    items.metadata = [b'{"odd":%s}' % (b"true" if i % 2 else b"false") for i in range(60)]
    return await fill(service, inference, collection, items)


def log_prob(rows: list[int], h: float, z: np.ndarray) -> np.ndarray:
    mu, sigma = (torch.tensor(values[rows]).double() for values in (MU, SIGMA))
    parts = Independent(Normal(mu, (sigma**2 + h**2).sqrt()), 1)
    found: np.ndarray = MixtureSameFamily(Categorical(torch.ones(len(rows))), parts).log_prob(torch.tensor(z).double()).numpy()
    return found


async def test_it_is_the_mixture_and_percentiles_are_ranks(service: Service, inference: Inference, filled: Collection) -> None:
    where = service.pipeline, service.store, inference, filled
    z = RNG.standard_normal((4, 3)).astype(np.float32)
    found = await density.density(*where, points([None] * 4, z))
    h = found.bandwidth.value
    squares = np.square(MU[:, None].astype(np.float64) - MU).sum(axis=2) + np.diag(np.full(60, np.inf))
    assert h == pytest.approx(np.median(np.sqrt(squares.min(axis=1))) / np.sqrt(3))
    np.testing.assert_allclose(found.log_density, log_prob(list(range(60)), h, z), atol=1e-6)
    own = [log_prob([i for i in range(60) if i != row], h, MU[[row]])[0] for row in range(60)]
    assert found.percentile == pytest.approx([100 * np.mean(own <= value) for value in found.log_density])
    stored = await density.density(*where, points(["07"], np.zeros((1, 3), np.float32)), k=60)
    assert stored.log_density[0] == pytest.approx(own[7], abs=1e-6)
    assert stored.nearest[0] == [IDS[row] for row in np.argsort(squares[7])[:59]]
    alone = await density.density(*where, points([None], z[1:2]))
    assert alone.log_density[0] == found.log_density[1]


async def test_queries_by_id_outside_the_filter_and_unknown_ones(
    service: Service, inference: Inference, filled: Collection
) -> None:
    where = service.pipeline, service.store, inference, filled
    nothing = np.zeros((2, 3), np.float32)
    found = await density.density(*where, points(["00", "01"], nothing), EVEN, 0.3)
    even = list(range(0, 60, 2))
    np.testing.assert_allclose(
        found.log_density, [log_prob(even[1:], 0.3, MU[:1])[0], log_prob(even, 0.3, MU[1:2])[0]], atol=1e-6
    )
    with pytest.raises(UnknownItem) as refused:
        await density.density(*where, points(["00", "none"], nothing))
    assert refused.value.item == 1


async def test_two_sets_are_compared(service: Service, inference: Inference, filled: Collection) -> None:
    where = service.pipeline, service.store, inference, filled, (EVEN, ODD)
    seen: list[str | None] = []
    after, even, odd = "", list(range(0, 60, 2)), list(range(1, 60, 2))
    while True:
        found = await compare(*where, after=after, limit=25)
        h = found.bandwidth.value
        for id, a, b, ratio, in_a in zip(found.ids, *found.log_density, found.log_ratio, found.in_set[0], strict=True):
            row = int(id or "")
            assert a == pytest.approx(log_prob([i for i in even if i != row], h, MU[[row]])[0], abs=1e-6)
            assert b == pytest.approx(log_prob([i for i in odd if i != row], h, MU[[row]])[0], abs=1e-6)
            assert ratio == a - b
            assert in_a == (row % 2 == 0)
        seen += found.ids
        if found.cursor is None:
            break
        after = found.cursor
    assert seen == IDS
    whole = await density.density(*where[:4], points([None], MU[:1]))
    assert h == whole.bandwidth.value
    at = await compare(*where, queries=points([None, "03"], MU[:2]))
    assert (at.ids, at.in_set, at.cursor) == ([None, "03"], ([False, False], [False, True]), None)
    assert at.log_density[0][0] == pytest.approx(log_prob(even, h, MU[:1])[0], abs=1e-6)
    empty = await compare(*where[:4], (EVEN, parse_filter({"odd": 3})), limit=2)
    assert empty.log_density[1].tolist() == [-np.inf, -np.inf]
    assert empty.log_ratio.tolist() == [np.inf, np.inf]


async def test_collections_that_are_next_to_nothing(service: Service, inference: Inference, collection: Collection) -> None:
    where = service.pipeline, service.store, inference, collection
    query = points([None], MU[:1])
    empty = await density.density(*where, query)
    assert (empty.log_density.tolist(), empty.percentile, empty.nearest, empty.sample) == ([-np.inf], [None], [[]], 0)
    assert (await coverage(*where))[0].share is None
    shown = await collection_map.points(*where)
    assert shown.coordinates.shape == (0, 2)
    drawn = await collection_map.density_map(*where, 8)
    assert drawn.density.sum() == 0
    assert drawn.holes.any()
    await fill(service, inference, collection, points(["one"], MU[:1]))
    with pytest.raises(NoDensity, match="two items"):
        await density.density(*where, query)
    one = await density.density(*where, points(["one"], MU[:1]), bandwidth=1.0)
    assert (one.log_density.tolist(), one.percentile) == ([-np.inf], [None])
    await fill(service, inference, collection, points(["two", "three"], MU[[0, 0]]))
    with pytest.raises(NoDensity, match="3 of 3 items have no sigma"):
        await density.density(*where, query)  # all are equal, so auto is 0
    equal = await density.density(*where, query, bandwidth=0.5)
    assert equal.log_density[0] == pytest.approx(-1.5 * np.log(2 * np.pi * 0.25))


async def test_the_coverage_of_the_prior(service: Service, inference: Inference, collection: Collection) -> None:
    wide = replace(points([*IDS], np.zeros_like(MU)), sigma=np.ones_like(SIGMA), has_sigma=np.ones(60, np.bool_))
    whole = await fill(service, inference, collection, wide)
    where = service.pipeline, service.store, inference, whole
    same, _ = await coverage(*where, draws=1000, bandwidth=0.0)  # all posteriors are the prior
    assert same.share == pytest.approx(0.95, abs=0.1)
    assert same.standard_error is not None
    assert 0 < same.standard_error < 0.1
    assert (await coverage(*where, draws=1000, bandwidth=0.0))[0] == same
    one, _ = await coverage(*where, draws=1, bandwidth=0.0)
    assert (one.share in (0.0, 1.0), one.standard_error) == (True, None)
    narrow = replace(wide, sigma=np.full_like(SIGMA, 0.1))
    low, _ = await coverage(*where[:3], await fill(service, inference, collection, narrow), draws=1000, bandwidth=0.0)
    assert low.share is not None
    assert low.share < 0.05
    far = replace(narrow, mu=np.full_like(MU, 9))
    none, _ = await coverage(*where[:3], await fill(service, inference, collection, far), draws=100, bandwidth=0.0)
    assert (none.share, none.standard_error) == (0.0, None)
    assert none.threshold is not None
    assert (await coverage(*where, prior="aggregate", draws=10))[0].prior == "aggregate"


async def test_maps(service: Service, inference: Inference, filled: Collection) -> None:
    where = service.pipeline, service.store, inference, filled
    some = await collection_map.points(*where, filter=ODD, keys=("odd", "none"), limit=10)
    assert some.rows.tolist() == list(range(0, 30, 3))
    assert some.metadata == {"odd": [True] * 10, "none": [None] * 10}
    whole = await collection_map.points(*where)
    assert np.array_equal(whole.plane.axes, some.plane.axes)  # the plane is that of the collection, whatever the filter
    assert np.array_equal(some.coordinates[1], whole.coordinates[7])
    np.testing.assert_allclose((await collection_map.points(*where, dims=(2, 0))).coordinates, MU[:, [2, 0]], atol=1e-6)
    for dims in (None, (0, 2)):
        made = await collection_map.density_map(*where, 64, dims)
        area = (made.x[1] - made.x[0]) * (made.y[1] - made.y[0])
        assert made.density.sum() * area == pytest.approx(1, abs=0.01)
    with pytest.raises(collection_map.NoPlane, match="0 to 2"):
        await collection_map.points(*where, dims=(0, 3))


async def test_a_map_is_made_again_for_another_prior_of_the_same_name(
    service: Service, inference: Inference, filled: Collection
) -> None:
    where = service.pipeline, service.store, inference, filled, 8
    before = await collection_map.density_map(*where, prior=AGGREGATE)
    assert await collection_map.density_map(*where, prior=AGGREGATE) is before
    priors = service.pipeline.catalog.priors
    fitted = Mixture(np.ones(1), np.zeros((1, 3)), np.ones((1, 3)))
    priors["grey"] = replace(priors["grey"], mixtures={AGGREGATE: fitted}, digests={AGGREGATE: "another"})
    after = await collection_map.density_map(*where, prior=AGGREGATE)
    standard = await collection_map.density_map(*where, prior=STANDARD)
    np.testing.assert_array_equal(after.prior_density, standard.prior_density)
    assert not np.array_equal(after.prior_density, before.prior_density)


async def test_a_bandwidth_whose_square_is_nothing_counts_as_none(
    service: Service, inference: Inference, collection: Collection
) -> None:
    bare = await fill(service, inference, collection, points(["a", "b"], MU[:2]))
    where = service.pipeline, service.store, inference, bare
    query = points([None], MU[2:3])
    for h in (1e-163, 1e-155, 5e-324):
        for refused in (
            density.density(*where, query, bandwidth=h),
            compare(*where, ((), ()), bandwidth=h),
            coverage(*where, bandwidth=h),
            collection_map.density_map(*where, 8, bandwidth=h),
        ):
            with pytest.raises(NoDensity, match=f"is {h:g} and 2 of 2 items have no sigma"):
                await refused
    h = 1.5e-154
    assert (await density.density(*where, query, bandwidth=h)).log_density[0] == -np.inf
    for dims in (None, (0, 2)):
        made = await collection_map.density_map(*where, 8, dims, bandwidth=h)
        assert made.density.sum() * (made.x[1] - made.x[0]) * (made.y[1] - made.y[0]) == pytest.approx(1)


async def test_a_deadline_holds(service: Service, inference: Inference, filled: Collection) -> None:
    late = replace(inference, deadline=0.0)
    with pytest.raises(DeadlineExceeded):
        await density.density(service.pipeline, service.store, late, filled, points([None], MU[:1]))
