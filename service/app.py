"""create_app(settings): the application with its lifespan, routes and error handlers."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.responses import RedirectResponse
from starlette.routing import Route

from service import errors
from service.access import Access, Guard
from service.access_page import describe_access
from service.asgi import ASGIApp
from service.belonging import warn_of_strangers
from service.catalog import Catalog, CatalogError
from service.cors import Cors
from service.device import Device, DeviceUnusable, Limits, settle
from service.endpoint import Endpoint, Shortcut
from service.engine import Engine
from service.keys import Limits as KeyLimits
from service.keys import read_keys
from service.limits import BodyMemory
from service.page_headers import PageHeaders
from service.request_id import RequestId
from service.routes import collections, encode, generate, health, interpolate, items, models, reconstruct, search
from service.routes.door import PROBLEMS
from service.settings import Settings
from service.store import make_store
from service.store.interface import StoreUnusable

log = logging.getLogger(__name__)

DESCRIPTION = """Posteriors, reconstructions, samples and interpolations of Variational Autoencoders, and a store of latents.

Pictures travel as they are (`curl --data-binary @seven.png`), as forms, as base64 in JSON, or as npy arrays.
"""


FAMILIES = (encode, generate, interpolate, reconstruct, collections, items, search, models, health)
ROUTERS = [family.router for family in FAMILIES]


def create_app(settings: Settings, on_failed_start: Callable[[], None] = lambda: None, load_first: bool = False) -> FastAPI:
    """The application. It loads its models when it starts; when that fails it says why and calls `on_failed_start`.

    `load_first`: not even /health answers before the models are loaded, and when that fails the start does.
    `app.state.started` is set when loading has ended, well or not; `app.state.failure` then has the reason or is empty.
    `app.state.refused` counts requests that were turned away: key, scope, rate, concurrency, memory. Raises KeysError.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        limits = Limits(settings.max_batch, settings.max_queue_rows, settings.max_rows)
        threads = settings.threads or max(1, ((os.cpu_count() or 1) - 1) // settings.workers)
        device = Device(settings.device, threads, limits, settings.engine, settings.precision)
        engine = Engine(Catalog(device), settings.max_pixels, make_store(settings.store, settings.store_max_bytes))
        app.state.started = asyncio.Event()
        loading = asyncio.create_task(_load(app, settings, engine, on_failed_start))
        if load_first:
            await app.state.started.wait()
            if app.state.failure:
                await device.close()
                engine.close()
                await engine.store.close()
                raise RuntimeError(app.state.failure)
        yield
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        await device.close()
        engine.close()
        await engine.store.close()
        app.state.engine = None

    app = FastAPIOffline(
        title="VAE service",
        version=version("vae-service"),
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.engine = None
    app.state.failure = ""
    app.state.max_body_bytes = settings.max_body_bytes
    app.state.refused = Counter()
    app.state.bodies = BodyMemory(settings.max_bodies_bytes, app.state.refused)
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("docs")

    app.add_middleware(PageHeaders)
    app.state.access = _access(app, settings)
    if app.state.access is not None:
        app.add_middleware(Guard, access=app.state.access)
    app.state.cors_origins = settings.cors_origins
    if settings.cors_origins:
        app.add_middleware(Cors, origins=settings.cors_origins)
    app.add_middleware(RequestId)
    return app


def _access(app: FastAPI, settings: Settings) -> Access | None:
    """None where there are no keys: then nothing is looked at. Raises KeysError."""
    keyring = read_keys(settings.api_keys_file, settings.api_keys.get_secret_value())
    if not keyring.keys:
        return None
    limits = KeyLimits(settings.key_rate, settings.key_burst, settings.key_concurrency)
    access = Access(keyring, limits, settings.workers, settings.metrics_access == "open", app.state.refused)
    openapi = app.openapi

    def with_keys() -> dict[str, Any]:
        made = app.openapi_schema is not None
        page = openapi()
        if not made:
            describe_access(page, access, PROBLEMS)
        return page

    app.openapi = with_keys  # type: ignore[method-assign]
    return access


def with_shortcut(app: FastAPI) -> Shortcut:
    """The same application, whose operations are reached without the router."""
    endpoints = {
        (method, route.path): _in_front(app, route.endpoint)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, Route) and isinstance(route.endpoint, Endpoint) and not route.param_convertors
        for method in route.methods or ()
    }
    return Shortcut(app, endpoints)


def _in_front(app: FastAPI, door: ASGIApp) -> ASGIApp:
    """What stands before the router, where it is wanted, before another door."""
    if app.state.access is not None:
        door = Guard(door, app.state.access)
    return Cors(door, app.state.cors_origins) if app.state.cors_origins else door


async def _load(app: FastAPI, settings: Settings, engine: Engine, on_failed_start: Callable[[], None]) -> None:
    """Bring all models onto the device; only then does the engine take requests."""
    try:
        await engine.store.open()
        engine.catalog.device.start()
        explicit = "default_model" in settings.model_fields_set
        await engine.catalog.load(settings.models_dir, settings.models, settings.default_model, explicit)
        await warn_of_strangers(engine)
    except Exception as error:  # whatever it is, a service that cannot load must end, not wait
        app.state.failure = str(error) or repr(error)
        expected = isinstance(error, (CatalogError, DeviceUnusable, StoreUnusable))
        log.error("cannot start: %s", app.state.failure, exc_info=None if expected else error)
        on_failed_start()
    else:
        settle()
        app.state.engine = engine
        log.info("ready: %s on %s", ", ".join(engine.catalog.runtimes), engine.catalog.device.description)
    finally:
        app.state.started.set()
