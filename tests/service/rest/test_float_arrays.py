"""Arrays of floats over HTTP: in [0, 1], or on the scale of the training data if the model has a range."""

from dataclasses import replace

import httpx
import numpy as np
from fastapi import FastAPI

from service.formats.npy import npy


async def test_floats_are_on_the_scale_of_the_training_data(app: FastAPI, client: httpx.AsyncClient) -> None:
    model = app.state.service.pipeline.catalog.get("grey")
    body = npy(np.full((1, 8, 8), 255, np.uint8) * np.eye(8, dtype=np.uint8))
    floats = npy(np.eye(8, dtype=np.float32)[None] * 3 - 1)
    for path in ("/encode", "/reconstruct"):
        expected = (await client.post(path, content=body)).raise_for_status().json()
        refused = await client.post(path, content=floats)
        assert (refused.status_code, "must be finite and in [0, 1]" in refused.text) == (422, True)
        manifest = model.manifest
        object.__setattr__(model, "manifest", replace(manifest, preprocessing=replace(manifest.preprocessing, range=(-1, 2))))
        assert (await client.post(path, content=floats)).raise_for_status().json() == expected
        object.__setattr__(model, "manifest", manifest)
