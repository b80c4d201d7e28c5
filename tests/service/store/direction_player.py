"""Plays operations on the directions of collections, and compares every answer with a dictionary."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from service.store.directions import Direction, Side
from tests.service.store.operations import Operation
from tests.service.store.reference import Group
from tests.service.store.workers import Refused, Worker


def made(seed: int, name: str, dim: int) -> Direction:
    """A direction of any kind."""
    rng = np.random.default_rng(seed)
    positive, negative = Side("filter", seed, seed // 2, {"n": {"gte": seed}}), Side("ids", 3, 3)
    others = tuple(rng.choice(["a", "b", "c"], rng.integers(0, 3)).tolist())
    vector = rng.standard_normal(dim).astype(np.float32)
    return Direction(name, vector, rng.random(), "mean_difference", rng.random(), seed, positive, negative, others)


class DirectionPlayer:
    """The part of a player that is about directions."""

    _groups: dict[str, Group]
    _settle: Callable[[], object]

    def direction_arguments(self, one: Operation) -> dict[str, Any]:
        if one["do"] == "delete_direction":
            return {"name": one["name"], "direction": one["direction"]}
        group = self._groups.get(one["name"])
        digest, dim = (group.digest, group.dim) if group else ("aa" * 32, 3)
        return {"name": one["name"], "digest": digest, "direction": made(one["seed"], one["direction"], dim)}

    async def _put_direction(self, worker: Worker, one: Operation) -> None:
        await self._changed(one, worker.call(one["do"], **self.direction_arguments(one)))

    async def _delete_direction(self, worker: Worker, one: Operation) -> None:
        await self._changed(one, worker.call(one["do"], **self.direction_arguments(one)))

    async def _directions(self, worker: Worker, one: Operation) -> None:
        call = worker.call("directions", name=one["name"])
        if one["name"] not in self._groups:
            await refused("UnknownCollection", call)
            return
        found = records(await call)
        assert list(found) == sorted(found)
        assert found == self._groups[one["name"]].directions, (found, self._groups[one["name"]].directions)

    def direction_error(self, one: Operation) -> str | None:
        if one["name"] not in self._groups:
            return "UnknownCollection"
        is_there = one["direction"] in self._groups[one["name"]].directions
        return "UnknownDirection" if one["do"] == "delete_direction" and not is_there else None

    async def _changed(self, one: Operation, call: Any) -> None:
        if error := self.direction_error(one):
            await refused(error, call)
            return
        answer, before = await call, self._groups[one["name"]].directions
        if one["do"] == "delete_direction":
            assert answer.record() == before[one["direction"]]
        self._groups[one["name"]].directions = self.after(one)

    def after(self, one: Operation) -> dict[str, Any]:
        """The directions of a collection after a change."""
        others = {name: kept for name, kept in self._groups[one["name"]].directions.items() if name != one["direction"]}
        if one["do"] == "put_direction":
            others[one["direction"]] = self.direction_arguments(one)["direction"].record()
        return others

    async def kill_direction(self, worker: Worker, during: Operation, seconds: float) -> None:
        """A change of a direction that was acknowledged is there; another one is there in whole or not at all."""
        acknowledged, error = None, self.direction_error(during)
        try:
            acknowledged = await worker.kill(during["do"], self.direction_arguments(during), seconds)
        except Refused as refusal:
            expect(error, refusal)
        self._settle()
        await worker.start()
        if error is not None:
            return
        group, found = self._groups[during["name"]], records(await worker.call("directions", name=during["name"]))
        assert found == self.after(during) or (found == group.directions and acknowledged is None), (found, group.directions)
        group.directions = found


def records(directions: Sequence[Direction]) -> dict[str, Any]:
    """Directions by name, as they are kept."""
    return {one.name: one.record() for one in directions}


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
