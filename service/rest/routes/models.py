"""/models: what is loaded, with its configuration, digest and measured numbers; /info: limits and counts of the engine."""

import dataclasses
import platform
from typing import Any

import torch
from starlette.requests import Request

from models.scores import UNITS
from models.vae import VAEConfig
from service.http.registry import ANY_KEY
from service.inference.catalog import Catalog
from service.inference.served_model import ServedModel
from service.operations.score import default_scores
from service.operations.shaped import latent_shape
from service.rest.kinds import wire_of
from service.rest.model_schemas import CalibrationInfo, ModelInfo, ModelList, SearchInfo
from service.rest.parameters import refuse_parameters
from service.rest.registration import PROBLEMS, Router, service_of

router = Router()

ERRORS: dict[int | str, dict[str, Any]] = {422: PROBLEMS, 500: PROBLEMS, 503: PROBLEMS}


def describe_model(catalog: Catalog, name: str) -> ModelInfo:
    """Return all that is known of a model. Raises UnknownModel."""
    model = catalog.get(name)
    manifest, best = model.manifest, model.manifest.search
    weight = best.sigma_weight if best.metric == "w2" else None
    return ModelInfo(
        name=model.name,
        default=model.name == catalog.default,
        digest=model.digest,
        latent_dim=manifest.model.latent_dim,
        latent_shape=list(latent_shape(model)),
        kind=manifest.model.kind,
        takes=wire_of(model).takes(model),
        shape=list(model.shape if model.is_pictures else manifest.model.shape),
        view=list(model.shape),
        search=SearchInfo(metric=best.metric, sigma_weight=weight, chosen_by=best.chosen_by),
        priors=catalog.priors[name].names,
        labels=list(model.condition.values if model.condition else catalog.priors[name].labels),
        condition=None if model.condition is None else model.condition.key,
        calibration=_calibration_of(model),
        scores=list(default_scores(model)),
        config=_config(manifest.model),
        preprocessing=_preprocessing(model),
        data=manifest.data,
        metrics=catalog.metrics[name],
    )


def _config(config: VAEConfig) -> dict[str, Any]:
    """Return the configuration of a model. The kind of pictures and no condition are left out, as in config.json."""
    left_out = {"kind": "picture", "condition": None}
    return {
        name: value for name, value in dataclasses.asdict(config).items() if name not in left_out or value != left_out[name]
    }


def _preprocessing(model: ServedModel) -> dict[str, Any]:
    """Return how data of a model become rows. Of pictures, defaults are stated, too."""
    spec = model.manifest.preprocessing
    stored: dict[str, Any] = dataclasses.asdict(spec) if model.is_pictures else spec.stored()
    return stored


def _calibration_of(model: ServedModel) -> CalibrationInfo | None:
    found = model.calibration
    if found is None:
        return None
    return CalibrationInfo(
        scores=[name for name in UNITS if name in found.held_out], latents=len(found.mu), record=found.record
    )


def catalog_of(request: Request) -> Catalog:
    """Return the catalog, for a request that takes no parameters. Raises Starting, BadParameter."""
    refuse_parameters(request.url.path, request.query_params)
    return service_of(request).pipeline.catalog


@router.page(
    "/models",
    ANY_KEY,
    "models",
    operation_id="list_models",
    summary="All loaded models",
    tags=["models"],
    responses=ERRORS,
)
async def models(request: Request) -> ModelList:
    """List the loaded models in the order of their names."""
    catalog = catalog_of(request)
    return ModelList(models=[describe_model(catalog, name) for name in catalog.models])


@router.page(
    "/models/{name}",
    ANY_KEY,
    "models",
    operation_id="get_model",
    summary="One loaded model",
    tags=["models"],
    responses={404: PROBLEMS, **ERRORS},
    openapi_extra={
        "parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}, "example": "mnist"}]
    },
)
async def model(request: Request) -> ModelInfo:
    """Show one model: configuration, preprocessing, digest, and the measured numbers of its model card."""
    return describe_model(catalog_of(request), request.path_params["name"])


@router.page(
    "/info",
    ANY_KEY,
    "models",
    operation_id="get_info",
    summary="Limits, models, versions, and counts of the engine",
    tags=["service"],
    responses=ERRORS,
)
async def info(request: Request) -> dict[str, Any]:
    """Show limits, versions and counts; `engine` has those of each model and queue of this process since its start.

    A row is a picture or a latent. `rows` were computed, in `batches`, with `padded_rows` of padding; `queued_rows` wait now.
    `rejected_rows` were refused on arrival, of which `queue_full_rows` found the queue full. `dropped_rows` were admitted and
    not computed, because their caller hung up or their deadline passed (`expired_rows`). `failed_models` could not be loaded;
    `failed_model_reasons` says of each why, without paths.
    """
    catalog = catalog_of(request)
    device = catalog.device
    return {
        "version": request.app.version,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": str(device.torch_device),
        "engine_name": device.engine,
        "precision": device.precision,
        "threads": device.threads,
        "default_model": catalog.default,
        "models": list(catalog.models),
        "failed_models": sorted(catalog.failed),
        "failed_model_reasons": dict(sorted(catalog.reasons.items())),
        "limits": {
            **dataclasses.asdict(device.limits),
            "max_body_bytes": request.app.state.max_body_bytes,
            "max_pixels": service_of(request).pipeline.max_pixels,
        },
        "engine": {
            name: {
                operation: {"queued_rows": lane.queued_rows, **dataclasses.asdict(lane.stats)}
                for operation, lane in model.lanes.items()
            }
            for name, model in catalog.models.items()
        },
    }
