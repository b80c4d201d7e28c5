"""Assemble the application from the settings: lifespan, routes, error handlers and middleware."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from service.diffusers_remote.endpoints import diffusers_endpoints
from service.door_routes import DoorRoutes
from service.engine.device import Device, QueueLimits
from service.engine.errors import DeviceLost, DeviceStuck, DeviceUnusable
from service.explorer.pages import add_explorer
from service.formats.decoder_processes.dispatch import Decoders
from service.formats.decoder_processes.malloc import prepare, trim
from service.http.access.guard import Access
from service.http.access.keys import CallerLimits, read_keys
from service.http.access.refusal_pace import RefusalPace
from service.http.body_memory import BodyMemory
from service.http.front import Front
from service.http.head_method import HeadMethod
from service.http.hot_path import HotPath
from service.http.registry import ANY_KEY, OPEN, OTHER, Registration, Registry
from service.http.security_headers import SecurityHeaders
from service.inference.catalog import Catalog, CatalogError
from service.inference.pipeline import Pipeline
from service.observe.metrics import Metrics
from service.observe.request_record import RecordSinks
from service.observe.shared_metrics import SharedMetrics
from service.observe.timed_store import TimedStore
from service.open_inference.registration import registrations as open_inference
from service.operations.admission import Admission
from service.operations.collection_model import warn_of_missing_models
from service.operations.score import MOST_REGRETS
from service.operations.service import Service
from service.operations.store_access import StoreAccess
from service.operations.training_collections import TrainingStore
from service.rest import errors
from service.rest.openapi import complete_page
from service.rest.pages import add_pages
from service.rest.registration import Router
from service.rest.routes import admin, health, metrics
from service.rest.routes.families import ROUTERS
from service.server.tuning import settle
from service.settings import SHIPPED_WEIGHTS, Settings, SettingsError
from service.state import State
from service.store import make_store, memory_store
from service.store.interface import StoreUnusable
from service.thread_pool import thread_pool

if TYPE_CHECKING:
    from service.observe.tracing import Tracer

log = logging.getLogger(__name__)

DESCRIPTION = """Posteriors, reconstructions, samples and interpolations of Variational Autoencoders, and a store of latents:
embeddings of pictures, similar pictures, anomalies, new pictures and morphs.
Send pictures as the request body (`curl --data-binary @seven.png`), as form uploads, as base64 in JSON, or as npy arrays.
Operations of inference and of collections accept a deadline in milliseconds, as `?timeout_ms=` or in the header
`X-Timeout-Ms`, counted from the moment when the request body has arrived. If the answer is not ready in time, the status is
504.
"""


# Threads for short blocking work other than batches and decoding, such as reading model files and rendering /metrics.
BACKGROUND_THREADS = 2
# While models load, smaller blocks of memory are reused: the exporter copies the weights for every node of a network, and new
# pages from the system would cost it a tenth of the start.
LOADING_BLOCK_BYTES = 8 << 20

# FastAPI adds these routes itself.
PAGES = [
    Registration("/", ("GET",), OPEN, OTHER),
    *(Registration(path, ("GET",), ANY_KEY, "docs") for path in ("/docs", "/openapi.json")),
    Registration("/static-offline-docs/{path:path}", ("GET",), ANY_KEY, OTHER),
]


def create_app(
    settings: Settings,
    on_failed_start: Callable[[], None] = lambda: None,
    load_first: bool = False,
    start_decoders: bool = False,
    traces: str = "",
    shared_metrics: Path | None = None,
) -> FastAPI:
    """Return the application. It loads its models at start-up; if that fails, it logs why and calls `on_failed_start`.

    `load_first`: accept no request, not even to /health, before the models are loaded; if they cannot be, the start fails.
    `start_decoders`: start the decoder processes at once, not with the first picture that needs one.
    `traces`: the name of the span exporter, or "" for no tracing.
    `shared_metrics`: the directory through which several worker processes share their metrics.
    `app.state` is a State. Middleware cannot be added afterwards. Raises KeysError, SettingsError.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        limits = QueueLimits(settings.max_batch, settings.max_queue_rows, settings.max_rows)
        cores = os.cpu_count() or 1
        threads = settings.threads or max(1, (cores - 1) // settings.workers)
        loop_threads = settings.threads or max(1, cores // settings.workers)
        background = thread_pool(BACKGROUND_THREADS, "background")
        asyncio.get_running_loop().set_default_executor(background)
        device = Device(settings.device, threads, limits, settings.engine, settings.precision, loop_threads)
        reads = Counter[str]() if sinks.metrics is None else sinks.metrics.replicated_reads
        store = make_store(
            settings.store, settings.store_max_bytes, settings.store_max_picture_bytes, settings.store_reads, reads
        )
        if sinks.metrics is not None:
            store = TimedStore(store, sinks.metrics.store_seconds)
        decoders = Decoders(settings.max_pixels, settings.max_decoded_bytes, settings.decode_seconds)
        pipeline = Pipeline(Catalog(device, SHIPPED_WEIGHTS), decoders)
        most = min(MOST_REGRETS, limits.max_queue_rows)
        regrets = Admission(most, f"the places of regret ({most} pictures at a time)")
        access = StoreAccess(TrainingStore(store, pipeline.catalog, memory_store()), limits.max_queue_rows)
        service = Service(pipeline, access, regrets, settings.workers)
        publishing: asyncio.Task[None] | None = None
        if sinks.metrics is not None:
            pipeline.catalog.tell_of, pipeline.tell_of_reconstructions = sinks.metrics.watch, sinks.metrics.reconstructed
            sinks.metrics.ended_decoders = pipeline.decoders.ended
            if shared_metrics is not None:
                app.state.shared_metrics = SharedMetrics(shared_metrics)
                publishing = asyncio.create_task(metrics.publish(app))
        tracer = sinks.tracing = _tracer(traces)
        app.state.started = asyncio.Event()
        loading = asyncio.create_task(_load(app, settings, service, on_failed_start, start_decoders))
        try:
            if load_first:
                await app.state.started.wait()
                if app.state.failure:
                    raise RuntimeError(app.state.failure)
            yield
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            await device.close()
            await service.close()
            app.state.service = None
            if publishing is not None:
                publishing.cancel()
                await asyncio.gather(publishing, return_exceptions=True)
            if tracer is not None:
                sinks.tracing = None
                await asyncio.to_thread(tracer.close)
            background.shutdown(wait=False, cancel_futures=True)

    sinks = RecordSinks(Metrics() if settings.metrics else None, settings.access_log)
    app = FastAPIOffline(
        title="VAE service",
        version=version("vae-service"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # `add_pages` makes it
        redoc_url=None,
        redirect_slashes=False,  # its redirects repeat the Host header; errors.handle redirects to a relative path instead
    )
    refused = Counter[str]() if sinks.metrics is None else sinks.metrics.refused
    routers = [*ROUTERS, *([admin.router] if settings.admin else [])]
    closed = [] if settings.admin else [replace(one, endpoint=None) for one in admin.router.registrations]
    doors = [
        DoorRoutes("/v2", open_inference(errors.describe, app.version, settings.admin)),
        DoorRoutes("/diffusers", diffusers_endpoints(errors.describe)),
    ]
    app.router.routes += doors
    parts: list[DoorRoutes | Router] = [*doors, *routers]
    opened = [one for part in parts for one in part.registrations]
    registry = Registry([*PAGES, *add_explorer(app), *opened, *closed])
    root_path = settings.root_path.rstrip("/")
    if root_path and registry.has_word_of(root_path):
        raise SettingsError(f"root_path: {root_path} begins like an endpoint of the service; choose another path")
    pace = RefusalPace()
    state = State(
        sinks,
        BodyMemory(settings.max_bodies_bytes, refused),
        settings.max_body_bytes,
        settings.heartbeat_seconds,
        refused,
        Counter() if sinks.metrics is None else sinks.metrics.cut_off,
        _access(settings, registry, refused, pace),
        registry,
        [route for part in parts for route in part.routes],
        pace,
    )
    app.state = state  # type: ignore[assignment]
    errors.install(app)
    for router in routers:
        app.include_router(router)
    add_pages(app)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(HeadMethod)
    complete_page(app, settings.max_rows)
    middleware = app.build_middleware_stack()
    front = Front(middleware, app, registry, sinks, state.access, settings.allowed_hosts, settings.cors_origins, root_path)
    app.middleware_stack = front.app
    state.hot_path = HotPath(state, front)
    return app


def is_alive(app: FastAPI) -> bool:
    """Return whether /health/live would answer 200."""
    try:
        health.check_device(app.state)
    except (DeviceLost, DeviceStuck):
        return False
    return True


def _access(settings: Settings, registry: Registry, refused: Counter[str], pace: RefusalPace) -> Access | None:
    """Return the access control, or None if there are no keys. Raises KeysError, SettingsError."""
    keyring = read_keys(settings.api_keys.get_secret_value(), settings.read_api_keys_file())
    if not keyring.keys:
        return None
    limits = CallerLimits(settings.key_rate, settings.key_burst, settings.key_concurrency)
    return Access(keyring, limits, settings.workers, settings.metrics_access == "open", registry, refused, pace)


def _tracer(exporter: str) -> "Tracer | None":
    """Return the tracer, or None if tracing is off or its packages are not installed."""
    if not exporter:
        return None
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        log.warning("tracing is on, but its packages are not installed: pip install 'vae-service[otel]'")
        return None
    from service.observe.tracing import start

    return start(exporter)


async def _load(
    app: FastAPI, settings: Settings, service: Service, on_failed_start: Callable[[], None], start_decoders: bool
) -> None:
    """Load all models onto the device. Requests are accepted only after that."""
    prepare(LOADING_BLOCK_BYTES)
    catalog, store = service.pipeline.catalog, service.store.store
    try:
        await store.open()
        catalog.device.start()
        explicit = "default_model" in settings.model_fields_set
        await catalog.load(settings.models_dir, settings.models, settings.default_model, explicit)
        await warn_of_missing_models(catalog, store)
    except Exception as error:  # Whatever the error is, a service that cannot load must exit, not wait.
        app.state.failure = str(error) or repr(error)
        expected = isinstance(error, (CatalogError, DeviceUnusable, StoreUnusable))
        log.error("cannot start: %s", app.state.failure, exc_info=None if expected else error)
        on_failed_start()
    else:
        settle()
        if all(model.kind.spatial is None for model in catalog.models.values()):  # Others keep memory.
            prepare()
        trim()  # Loading leaves about 10 MB of freed memory behind.
        app.state.service = service
        log.info("ready: %s on %s", ", ".join(catalog.models), catalog.device.description)
    finally:
        app.state.started.set()
    if start_decoders and not app.state.failure:  # only now, so that loading is not slowed down
        await service.pipeline.decoders.start()
