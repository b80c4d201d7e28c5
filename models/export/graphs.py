"""The functions of a model that are exported: encoder and decoder, and for sequences the decoder's start and one step of it.

Knows nothing of ONNX, files or commands.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.vae import VAE

# So many items are made up to trace a function with, and to compare answers with.
ITEMS = 16


@dataclass(frozen=True)
class Graph:
    """One function: its name, example values of its inputs by name, and the names of its outputs.

    `steps` are the inputs whose second axis, the steps of a sequence, has any length.
    """

    name: str
    function: Callable[..., tuple[Tensor, ...]]
    examples: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    steps: tuple[str, ...] = ()


@torch.no_grad()
def graphs(vae: VAE) -> list[Graph]:
    """Return the functions of a model on the CPU. Their examples are items that the model itself makes up."""
    z = torch.randn(ITEMS, vae.config.latent_dim, generator=torch.Generator().manual_seed(0))
    told = {"label": torch.arange(ITEMS) % vae.values} if vae.values else {}
    rows = _rows(vae, vae.given(told.get("label")).decode(z).mean)

    def encode(x: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        posterior = vae.given(label).encode(x)
        return posterior.mu, posterior.sigma, posterior.logvar

    def decode(z: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        return (vae.given(label).decode(z).mean,)

    steps = ("x",) if vae.kind.sequential else ()
    encoder = Graph("encoder", encode, {"x": rows, **told}, ("mu", "sigma", "logvar"), steps)
    if vae.kind.sequential:
        return [encoder, *_step_by_step(vae, z, rows)]
    return [encoder, Graph("decoder", decode, {"z": z, **told}, ("mean",))]


def _step_by_step(vae: VAE, z: Tensor, rows: Tensor) -> list[Graph]:
    """Return the decoder of sequences: from latents to the first state, and from a state and a step to the next ones."""

    def start(z: Tensor) -> tuple[Tensor, ...]:
        return (_decoding(vae, z).start(),)

    def step(state: Tensor, previous: Tensor) -> tuple[Tensor, ...]:
        # What z says is in the state.
        unused = state.new_zeros(state.shape[0], vae.config.latent_dim)
        outputs, following = _decoding(vae, unused).step(state, vae.kind.to_x(previous))
        return outputs, following

    (state,) = start(z)
    return [
        Graph("decoder-start", start, {"z": z}, ("state",)),
        Graph("decoder-step", step, {"state": state, "previous": rows[:, 0]}, ("outputs", "next_state")),
    ]


def _decoding(vae: VAE, z: Tensor) -> Any:
    likelihood: Any = vae.decode(z)
    return likelihood.decoding


def _rows(vae: VAE, means: Tensor) -> Tensor:
    """Return what a decoder answers as rows of the kind, such as bytes."""
    dtype: torch.dtype = getattr(torch, vae.kind.row_dtype)
    return (255 * means).round().clamp(0, 255).to(dtype) if dtype == torch.uint8 else means.to(dtype)
