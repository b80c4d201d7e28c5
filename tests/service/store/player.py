"""Plays operations against workers and against the reference at once, and compares every answer."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson

from service.store.filters import parse_filter
from service.store.interface import Collection, Found, Items, Query, Search
from tests.service.store.operations import MODELS, Operation, gaussians
from tests.service.store.reference import SIGMA_METRICS, Group, Row, check_nearest
from tests.service.store.workers import Refused, Worker


class Player:
    """The reference, and workers that should agree with it."""

    def __init__(self, workers: Sequence[Worker], settle: Callable[[], object], in_turn: bool = False) -> None:
        """`settle`: waits until what was begun by the dead is done. `in_turn`: nothing happens at the same time."""
        self._workers, self._settle, self._in_turn = workers, settle, in_turn
        self._groups: dict[str, Group] = {}

    async def play(self, operations: Sequence[Operation]) -> None:
        """Raises AssertionError where an answer is wrong."""
        for worker in self._workers:
            await worker.start()
        place, one = -1, Operation()
        try:
            for one in operations:
                place += 1
                await getattr(self, f"_{one['do']}")(self._workers[one["worker"]], one)
            for worker in self._workers:  # all has come to everybody
                for name in self._groups:
                    await self._search(worker, {"name": name, "queries": [None], "seed": 1, "k": 100, "metric": "l2"})
                    await self._list(worker, {"name": name, "limit": 100, "filter": {}})
        except (AssertionError, Refused) as error:
            raise AssertionError(f"operation {place}, {one}: {error}") from error
        finally:
            for worker in self._workers:
                await worker.stop()

    # --- changes

    async def _create(self, worker: Worker, one: Operation) -> None:
        digest, dim = MODELS[one["model"]]
        wanted = Collection(one["name"], "model", digest, dim, one["metric"])
        group = self._groups.get(one["name"])
        if group is not None and group.digest != digest:
            await refused("ModelMismatch", worker.call("create", collection=wanted))
            return
        self._is(await worker.call("create", collection=wanted), one["name"], metric=one["metric"])

    def _is(self, found: Collection, name: str, metric: str | None = None) -> None:
        group = self._groups.setdefault(name, Group(found.digest, found.dim, found.metric))
        group.metric = metric or group.metric
        own = (name, group.digest, group.dim, group.metric, len(group.rows), group.seq)
        assert (found.name, found.digest, found.dim, found.metric, found.count, found.seq) == own, (found, own)

    async def _drop(self, worker: Worker, one: Operation) -> None:
        if one["name"] not in self._groups:
            await refused("UnknownCollection", worker.call("drop", name=one["name"]))
            return
        self._is(await worker.call("drop", name=one["name"]), one["name"])
        del self._groups[one["name"]]

    async def _upsert(self, worker: Worker, one: Operation) -> None:
        await self._change(one, worker.call("upsert", **self._arguments(one)))

    async def _delete(self, worker: Worker, one: Operation) -> None:
        await self._change(one, worker.call("delete", **self._arguments(one)))

    def _arguments(self, one: Operation) -> dict[str, Any]:
        if one["do"] == "delete":
            return {"name": one["name"], "id": one["id"]}
        digest, dim = self._model(one["name"])
        mu, sigma, has_sigma = gaussians(one["seed"], len(one["ids"]), dim)
        metadata, keys = (
            [orjson.dumps(row) for row in one["metadata"]],
            frozenset(key for row in one["metadata"] for key in row),
        )
        return {"name": one["name"], "digest": digest, "items": Items(one["ids"], mu, sigma, has_sigma, metadata, keys)}

    def _model(self, name: str) -> tuple[str, int]:
        group = self._groups.get(name)
        return (group.digest, group.dim) if group else MODELS[0]

    def _error(self, one: Operation) -> str | None:
        if one["name"] not in self._groups:
            return "UnknownCollection"
        return "UnknownItem" if one.get("do") == "delete" and one["id"] not in self._groups[one["name"]].rows else None

    async def _change(self, one: Operation, call: Any) -> None:
        if error := self._error(one):
            await refused(error, call)
            return
        seq = await call
        self._changed(one)
        assert seq == self._groups[one["name"]].seq

    def _changed(self, one: Operation) -> None:
        """The reference changes as the store has."""
        group = self._groups[one["name"]]
        if one["do"] == "delete":
            group.delete(one["id"])
            return
        mu, sigma, has_sigma = gaussians(one["seed"], len(one["ids"]), group.dim)
        rows = [(mu[i], sigma[i] if has_sigma[i] else None, one["metadata"][i]) for i in range(len(mu))]
        group.upsert(one["ids"], rows)

    async def _together(self, worker: Worker, one: Operation) -> None:
        """Workers that change one collection at the same time: their changes follow one another in some order."""
        parts = [{"do": "upsert", "name": one["name"], **part} for part in one["parts"]]
        calls = [other.call("upsert", **self._arguments(part)) for other, part in zip(self._workers, parts, strict=True)]
        if self._in_turn:
            seqs = [(await asyncio.gather(call, return_exceptions=True))[0] for call in calls]
        else:
            seqs = await asyncio.gather(*calls, return_exceptions=True)
        if one["name"] not in self._groups:
            assert all(isinstance(seq, Refused) and seq.kind == "UnknownCollection" for seq in seqs), seqs
            return
        assert all(isinstance(seq, int) for seq in seqs), seqs
        for place in sorted(range(len(parts)), key=lambda place: int(str(seqs[place]))):
            self._changed(parts[place])
            assert self._groups[one["name"]].seq == seqs[place]

    # --- ends

    async def _restart(self, worker: Worker, one: Operation) -> None:
        await worker.stop()
        await worker.start()

    async def _kill(self, worker: Worker, one: Operation) -> None:
        """What was acknowledged is there; what was not is there in whole or not at all."""
        during = one["during"]
        before = self._groups[during["name"]].seq if during["name"] in self._groups else None
        try:
            seq = await worker.kill(during["do"], self._arguments(during), 0.004 * one["after"] ** 2)
        except Refused as error:
            expect(self._error(during), error)
            seq = None
        self._settle()
        await worker.start()
        if before is None or self._error(during):
            assert seq is None, seq
            return
        now = (await worker.call("collection", name=during["name"])).seq
        if seq is not None or now != before:
            self._changed(during)
        assert self._groups[during["name"]].seq == now, f"seq was {before}, is {now}, acknowledged {seq}"

    # --- reads

    async def _collections(self, worker: Worker, one: Operation) -> None:
        found = await worker.call("collections")
        assert [collection.name for collection in found] == sorted(self._groups)
        for collection in found:
            self._is(collection, collection.name)

    async def _get(self, worker: Worker, one: Operation) -> None:
        call = worker.call("get", name=one["name"], ids=one["ids"])
        if error := self._error(one):
            await refused(error, call)
            return
        group = self._groups[one["name"]]
        same(await call, {id: group.rows[id] for id in one["ids"] if id in group.rows})

    async def _list(self, worker: Worker, one: Operation) -> None:
        name, limit, after, wanted = one["name"], one["limit"], "", {}
        error = self._error(one) or self._filter_error(one)
        if not error:
            wanted = dict(sorted(self._groups[name].matching(one["filter"]).items()))
        while True:
            filter, strict = parse_filter(one["filter"]), one.get("strict", False)
            call = worker.call("scan", name=name, after=after, limit=limit, filter=filter, strict=strict)
            if error:
                await refused(error, call)
                return
            page, wanted = dict(list(wanted.items())[:limit]), dict(list(wanted.items())[limit:])
            found = await call
            assert [unknown.key for unknown in found.unknown] == self._groups[name].unknown(one["filter"])
            same(found, page)
            if not found.ids:
                return
            after = found.ids[-1]

    def _filter_error(self, one: Operation) -> str | None:
        group = self._groups[one["name"]]
        return "UnknownKey" if one.get("strict") and group.rows and group.unknown(one.get("filter", {})) else None

    async def _search(self, worker: Worker, one: Operation) -> None:
        digest, dim = self._model(one["name"])
        mu, sigma, _ = gaussians(one["seed"], len(one["queries"]), dim, always=True)
        metric, dims, candidates = one["metric"], one.get("dims"), one.get("candidates")
        queries = [Query(mu[i], sigma[i]) if id is None else Query(id=id) for i, id in enumerate(one["queries"])]
        filter, vectors = parse_filter(one.get("filter", {})), one.get("with_vectors", False)
        exact, strict, exclude = True if candidates is None else None, one.get("strict", False), one.get("exclude_self", False)
        search = Search(queries, one["k"], metric, filter, candidates, exact, dims, vectors, strict, exclude)
        call = worker.call("search", name=one["name"], digest=digest, search=search)
        if error := self._error(one) or self._search_error(one) or self._filter_error(one):
            await refused(error, call)
            return
        found: Found = await call
        group = self._groups[one["name"]]
        assert (found.seq, found.exact) == (group.seq, candidates is None)
        assert [unknown.key for unknown in found.unknown] == group.unknown(one.get("filter", {}))
        for i, id in enumerate(one["queries"]):
            own = (mu[i], sigma[i]) if id is None else (group.rows[id].mu, group.rows[id].sigma)
            own = own if own[1] is not None else (own[0], np.zeros(dim))
            orders = group.orders(metric, own, one.get("filter", {}), dims)
            if exclude:
                orders.pop(id, None)
            neighbors = found.neighbors[i]
            if candidates is not None and candidates < len(orders):  # which they are is a matter of rounding
                orders = {id: orders[id] for id in neighbors.items.ids}
                assert len(orders) == min(one["k"], candidates)
            check_nearest(metric, group, orders, one["k"], neighbors.items.ids, neighbors.distances.tolist())
            same(neighbors.items, {id: group.rows[id] for id in neighbors.items.ids}, vectors)

    def _search_error(self, one: Operation) -> str | None:
        """What is wrong with the first query that cannot be answered."""
        rows = self._groups[one["name"]].rows
        for id in one["queries"]:
            if id is not None and id not in rows:
                return "UnknownItem"
            if id is not None and rows[id].sigma is None and one["metric"] in SIGMA_METRICS:
                return "BadItem"
        return None


def same(found: Items, rows: dict[str, Row], vectors: bool = True) -> None:
    """The items are these, in this order, to the last bit."""
    assert found.ids == list(rows), (found.ids, list(rows))
    assert found.seqs == [row.seq for row in rows.values()]
    assert [orjson.loads(text) for text in found.metadata] == [row.metadata for row in rows.values()]
    for i, row in enumerate(rows.values() if vectors else ()):
        sigma = np.zeros_like(row.mu) if row.sigma is None else row.sigma
        assert (found.mu[i].tobytes(), found.sigma[i].tobytes()) == (row.mu.tobytes(), sigma.tobytes())
        assert bool(found.has_sigma[i]) is (row.sigma is not None)


async def refused(kind: str, call: Any) -> None:
    """The call is, for this reason."""
    try:
        result = await call
    except Refused as error:
        expect(kind, error)
    else:
        raise AssertionError(f"{kind} was expected, not {result}")


def expect(kind: str | None, error: Refused) -> None:
    """It was refused for this reason."""
    assert error.kind == kind, error
