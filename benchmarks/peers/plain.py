"""A plain FastAPI server, as one writes it in an hour: pydantic, one forward pass per request, no shared batches."""

import base64
import io
import sys

import task
import torch
import uvicorn
from fastapi import FastAPI, Response
from PIL import Image
from pydantic import BaseModel

app = FastAPI()
vae = task.load()


class Images(BaseModel):
    """Pictures as base64."""

    images: list[str]


class Latents(BaseModel):
    """Latents, one per row."""

    z: list[list[float]]


class Draw(BaseModel):
    """The number of samples of the prior to draw, and the seed."""

    n: int
    seed: int


@app.post("/encode")
async def encode(body: Images) -> dict[str, list[list[float]]]:
    """Encode pictures to posteriors."""
    mu, sigma = task.encode(vae, [task.pixels(image) for image in body.images])
    return {"mu": mu, "sigma": sigma}


@app.post("/decode")
async def decode(body: Latents) -> Response:
    """Decode one latent to a PNG."""
    return Response(pngs(torch.tensor(body.z))[0], media_type="image/png")


@app.post("/sample")
async def sample(body: Draw) -> dict[str, list[str]]:
    """Return samples of the prior as base64 PNGs."""
    z = torch.randn(body.n, vae.config.latent_dim, generator=torch.Generator().manual_seed(body.seed))
    return {"images": [base64.b64encode(picture).decode() for picture in pngs(z)]}


def pngs(z: torch.Tensor) -> list[bytes]:
    """Decode (B, D) to a PNG of each mean."""
    with torch.inference_mode():
        pictures = (vae.decode(z).mean * 255).round().to(torch.uint8)[:, 0].numpy()  # (B, H, W)
    files = []
    for picture in pictures:
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "PNG")
        files.append(out.getvalue())
    return files


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
