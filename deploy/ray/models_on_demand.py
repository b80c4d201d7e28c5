"""Many models over few replicas: a replica loads a model when a request names it, and unloads the least recently used one.

Serve's `multiplexed` keeps the order of use and tells the proxies which replica has which model. Knows nothing of what the
models do.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

from ray import serve
from starlette.responses import Response

from deploy.ray.named_model import model_of
from service.asgi import ASGIApp, Receive, Scope, Send
from service.http.access.guard import REASONS
from service.http.registry import OPEN
from service.http.request_id import request_id_of
from service.inference.catalog import Catalog, find
from service.rest.errors import describe
from service.settings import Settings
from service.state import State


class ModelsOnDemand:
    """The models of one replica that are not loaded at the start."""

    def __init__(self, state: State, most: int, root_path: str) -> None:
        """`most`: how many of them are loaded at the same time. More are while requests still use those that have to go."""
        self._state, self._root_path = state, root_path.rstrip("/")
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_use: Counter[str] = Counter()
        self._leaving: set[str] = set()

        @serve.multiplexed(max_num_models_per_replica=most)  # type: ignore[untyped-decorator]
        async def load(name: str) -> SimpleNamespace:
            await self._load(name)

            async def unload() -> None:
                await self._unload(name)

            # Serve calls `__del__` when the model has to go. It must be an attribute of the instance: Python would call a
            # method of that name a second time, without awaiting it.
            return SimpleNamespace(__del__=unload)

        self.load = load

    @staticmethod
    def without_them(settings: Settings) -> Settings:
        """Return settings that load only the models which VAE_MODELS names, or else the default model. Raise CatalogError."""
        found = find(settings.models_dir)
        default = settings.default_model if settings.default_model in found else found[0]
        return settings.model_copy(update={"models": settings.models or (default,)})

    def before(self, app: ASGIApp) -> ASGIApp:
        """Return an application that loads the model which a request names before `app` gets the request."""

        async def load_first(scope: Scope, receive: Receive, send: Send) -> None:
            path: str = scope["path"].removeprefix(self._root_path)
            name = model_of(path, scope)
            if name is None or not self._may_load(path, scope, name):
                await app(scope, receive, send)
                return
            try:
                async with self._using(name):
                    await app(scope, receive, send)
            except _CannotLoad as failed:
                found = describe(failed.reason, request_id_of(scope))
                await Response(found.body, found.status, found.headers)(scope, receive, send)

        return load_first

    @property
    def _catalog(self) -> Catalog:
        assert self._state.service is not None  # noqa: S101  Serve sends no request before the models are loaded
        return self._state.service.pipeline.catalog

    def _may_load(self, path: str, scope: Scope, name: str) -> bool:
        """Return whether there is such a model to be loaded, and the caller's key allows what the request asks for.

        All other requests are answered by the application as they are.
        """
        catalog, access = self._catalog, self._state.access
        is_pinned = name in catalog.models and name not in self._in_use
        if is_pinned or (name not in catalog.models and name not in find(catalog.directory)):
            return False
        needed = self._state.registry.scope_of(path) if access is None else access.scope_of(path)
        if needed == OPEN or access is None:
            return needed != OPEN
        try:
            access.allowance_of(path, needed, scope["headers"])
        except tuple(REASONS):
            return False
        return True

    @asynccontextmanager
    async def _using(self, name: str) -> AsyncIterator[None]:
        self._in_use[name] += 1
        try:
            try:
                await self.load(name)
            except Exception as error:
                raise _CannotLoad(error) from error
            yield
        finally:
            self._in_use[name] -= 1
            if name in self._leaving and not self._in_use[name]:
                task = asyncio.create_task(self._unload(name))  # It goes on if the request is cancelled.
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _load(self, name: str) -> None:
        async with self._changing:
            self._leaving.discard(name)
            if name not in self._catalog.models:
                await self._catalog.add(name)

    async def _unload(self, name: str) -> None:
        async with self._changing:
            if self._in_use[name]:
                self._leaving.add(name)  # The last request that uses it unloads it.
                return
            self._leaving.discard(name)
            if name in self._catalog.models:
                await self._catalog.remove(name)


class _CannotLoad(Exception):
    """A model could not be loaded. `reason`: why."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason
