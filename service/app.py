"""create_app(settings): the application with its lifespan, routes and error handlers."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.responses import RedirectResponse
from starlette.routing import Route

from service import errors
from service.belonging import warn_of_strangers
from service.catalog import Catalog, CatalogError
from service.device import Device, DeviceStuck, DeviceUnusable, Limits, settle
from service.endpoint import Endpoint, Shortcut
from service.engine import Engine
from service.gate import DeviceLost
from service.head import Head
from service.request_id import RequestId
from service.routes import admin, collections, encode, generate, health, interpolate, items, models, reconstruct, search
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
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        limits = Limits(settings.max_batch, settings.max_queue_rows, settings.max_rows)
        threads = settings.threads or max(1, ((os.cpu_count() or 1) - 1) // settings.workers)
        device = Device(settings.device, threads, limits, settings.engine, settings.precision)
        store = make_store(settings.store, settings.store_max_bytes)
        engine = Engine(Catalog(device), settings.max_pixels, store, workers=settings.workers)
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
    app.state.draining = False  # set by the server: not ready any more, though it serves
    app.state.heartbeat_seconds = settings.heartbeat_seconds
    app.add_middleware(Head)
    app.add_middleware(RequestId)
    errors.install(app)
    routers = [*ROUTERS, *([admin.router] if settings.admin else [])]
    app.state.routes = [route for router in routers for route in router.routes]
    for router in routers:
        app.include_router(router)

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("docs")

    return app


def is_alive(app: FastAPI) -> bool:
    """What /health/live would say."""
    try:
        health.check_device(app.state)
    except (DeviceLost, DeviceStuck):
        return False
    return True


def with_shortcut(app: FastAPI) -> Shortcut:
    """The same application, whose operations are reached without the router."""
    endpoints = {
        (method, route.path): route.endpoint
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, Route) and isinstance(route.endpoint, Endpoint) and not route.param_convertors
        for method in (route.methods or set()) - {"HEAD"}  # which the application turns into a GET
    }
    return Shortcut(app, endpoints)


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
