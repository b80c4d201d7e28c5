"""What operations are called with: the service around two small models, a piece of work for one of them, a collection."""

import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray

from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.operations.service import Service
from service.store.interface import Collection


@pytest.fixture
def service(app: FastAPI) -> Service:
    service: Service = app.state.service
    return service


@pytest.fixture
def pipeline(service: Service) -> Pipeline:
    return service.pipeline


@pytest.fixture
def inference(pipeline: Pipeline) -> Inference:
    """Work for the model "grey", whose pictures are 8 x 8 and whose latents have 3 numbers."""
    return Inference(pipeline.catalog.get("grey"))


@pytest.fixture
def x() -> NDArray[np.uint8]:
    """Five pictures, (5, 1, 8, 8)."""
    return np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), np.uint8)


@pytest.fixture
async def collection(service: Service, inference: Inference) -> Collection:
    """An empty collection of the model "grey"."""
    model = inference.model
    return await service.store.create(Collection("some", model.name, model.digest, model.latent_dim))
