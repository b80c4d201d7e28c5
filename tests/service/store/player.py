"""Plays operations against workers and against the reference at once, and compares every answer."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson

from service.store.filters import parse_filter
from service.store.interface import Collection, Found, Items, Query, Search, Upserted
from tests.service.store.changes import change, pictures_of, plain
from tests.service.store.direction_player import DirectionPlayer, expect, refused
from tests.service.store.operations import MODELS, Operation, gaussians
from tests.service.store.reference import SIGMA_METRICS, Group, Row, check_nearest
from tests.service.store.workers import Refused, Worker


class Player(DirectionPlayer):
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
                    await self._search(
                        worker, {"name": name, "queries": [None], "seed": 1, "k": 100, "metric": "w2", "sigma_weight": 2.0}
                    )
                    await self._list(worker, {"name": name, "limit": 100, "filter": {}})
                    await self._directions(worker, {"name": name})
        except (AssertionError, Refused) as error:
            raise AssertionError(f"operation {place}, {one}: {error}") from error
        finally:
            for worker in self._workers:
                await worker.stop()

    # --- changes

    async def _create(self, worker: Worker, one: Operation) -> None:
        digest, dim = MODELS[one["model"]]
        weight = one.get("sigma_weight", 1.0)
        wanted = Collection(one["name"], "model", digest, dim, one["metric"], keep=one.get("keep"), sigma_weight=weight)
        group = self._groups.get(one["name"])
        if group is not None and group.digest != digest:
            await refused("ModelMismatch", worker.call("create", collection=wanted))
            return
        self._is(await worker.call("create", collection=wanted), one["name"], wanted)

    def _is(self, found: Collection, name: str, wanted: Collection | None = None) -> None:
        group = self._groups.setdefault(name, Group(found.digest, found.dim, found.metric))
        if wanted is not None:
            group.metric, group.sigma_weight, group.keep = wanted.metric, wanted.sigma_weight, wanted.keep or group.keep
        own = (name, group.digest, group.dim, group.metric, group.sigma_weight, len(group.rows), group.seq, group.keep)
        there = (found.name, found.digest, found.dim, found.metric, found.sigma_weight, found.count, found.seq, found.keep)
        assert there == own, (found, own)

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

    async def _patch(self, worker: Worker, one: Operation) -> None:
        await self._change(one, worker.call("patch", **self._arguments(one)))

    async def _delete_ids(self, worker: Worker, one: Operation) -> None:
        await self._change(one, worker.call("delete_ids", **self._arguments(one)))

    async def _delete_matching(self, worker: Worker, one: Operation) -> None:
        await self._change(one, worker.call("delete_matching", **self._arguments(one)))

    def _arguments(self, one: Operation) -> dict[str, Any]:
        match one["do"]:
            case "delete":
                return {"name": one["name"], "id": one["id"]}
            case "delete_ids":
                return {"name": one["name"], "ids": one["ids"]}
            case "delete_matching":
                wanted = parse_filter(one["filter"])
                return {"name": one["name"], "filter": wanted, "after": one["after"], "limit": one["limit"], "strict": False}
            case "patch":
                return {"name": one["name"], "id": one["id"], "patch": one["patch"]}
        digest, dim = self._model(one["name"])
        mu, sigma, has_sigma = gaussians(one["seed"], len(one["ids"]), dim)
        metadata, keys = (
            [orjson.dumps(row) for row in one["metadata"]],
            frozenset(key for row in one["metadata"] for key in row),
        )
        unstated, pictures = frozenset(one["unstated"]), pictures_of(one)
        block = Items(one["ids"], mu, sigma, has_sigma, metadata, keys, unstated=unstated, pictures=pictures)
        return {"name": one["name"], "digest": digest, "items": block, "if_exists": one["if_exists"]}

    def _model(self, name: str) -> tuple[str, int]:
        group = self._groups.get(name)
        return (group.digest, group.dim) if group else MODELS[0]

    def _error(self, one: Operation) -> str | None:
        if one["name"] not in self._groups:
            return "UnknownCollection"
        group = self._groups[one["name"]]
        if one.get("do") in ("delete", "patch", "picture") and one["id"] not in group.rows:
            return "UnknownItem"
        if one.get("do") == "picture" and group.rows[one["id"]].picture is None:
            return "NoPicture"
        if one.get("if_exists") == "error" and set(one["ids"]) & set(group.rows):
            return "ItemsExist"
        if one.get("do") == "delete_matching" and not one["after"] and group.rows and group.unknown_negation(one["filter"]):
            return "UnknownKey"
        return None

    async def _change(self, one: Operation, call: Any) -> None:
        if error := self._error(one):
            await refused(error, call)
            return
        found = await call
        wanted = change(self._groups[one["name"]], one)
        assert plain(found) == wanted, (found, wanted)

    async def _together(self, worker: Worker, one: Operation) -> None:
        """Workers that change one collection at the same time: their changes follow one another in some order."""
        parts = [{"do": "upsert", "name": one["name"], **part} for part in one["parts"]]
        calls = [other.call("upsert", **self._arguments(part)) for other, part in zip(self._workers, parts, strict=True)]
        if self._in_turn:
            answers: list[Any] = [(await asyncio.gather(call, return_exceptions=True))[0] for call in calls]
        else:
            answers = await asyncio.gather(*calls, return_exceptions=True)
        if one["name"] not in self._groups:
            assert all(isinstance(found, Refused) and found.kind == "UnknownCollection" for found in answers), answers
            return
        assert all(isinstance(found, Upserted) for found in answers), answers
        for place in sorted(range(len(parts)), key=lambda place: _turn(answers[place])):
            wanted = change(self._groups[one["name"]], parts[place])
            assert answers[place] == wanted, (answers[place], wanted)

    # --- ends

    async def _restart(self, worker: Worker, one: Operation) -> None:
        await worker.stop()
        await worker.start()

    async def _kill(self, worker: Worker, one: Operation) -> None:
        """What was acknowledged is there; what was not is there in whole or not at all."""
        during = one["during"]
        if during["do"].endswith("direction"):
            await self.kill_direction(worker, during, 0.004 * one["after"] ** 2)
            return
        before = self._groups[during["name"]].seq if during["name"] in self._groups else None
        try:
            answer = await worker.kill(during["do"], self._arguments(during), 0.004 * one["after"] ** 2)
        except Refused as error:
            expect(self._error(during), error)
            answer = None
        self._settle()
        await worker.start()
        if before is None or self._error(during):
            assert answer is None, answer
            return
        now = (await worker.call("collection", name=during["name"])).seq
        if answer is not None or now != before:
            wanted = change(self._groups[during["name"]], during)
            assert plain(answer) in (None, wanted), (answer, wanted)
        assert self._groups[during["name"]].seq == now, f"seq was {before}, is {now}, acknowledged {answer}"

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

    async def _picture(self, worker: Worker, one: Operation) -> None:
        call = worker.call("picture", name=one["name"], id=one["id"])
        if error := self._error(one):
            await refused(error, call)
            return
        assert await call == self._groups[one["name"]].rows[one["id"]].picture

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
        metric, weight, candidates = one["metric"], one["sigma_weight"], one.get("candidates")
        queries = [Query(mu[i], sigma[i]) if id is None else Query(id=id) for i, id in enumerate(one["queries"])]
        filter, vectors = parse_filter(one.get("filter", {})), one.get("with_vectors", False)
        exact, strict, exclude = True if candidates is None else None, one.get("strict", False), one.get("exclude_self", False)
        search = Search(queries, one["k"], metric, filter, candidates, exact, vectors, strict, exclude, weight)
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
            orders = group.orders(metric, own, one.get("filter", {}), weight)
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


def _turn(answer: Upserted) -> tuple[int, bool]:
    """What orders answers as the changes were made; a change that stored nothing comes after that with its number."""
    return answer.seq, not answer.added + answer.replaced
