"""What is served is what the model computes."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from models import checkpoint
from models.kinds.table_rows import hide_each
from tests.service.kinds.kind_requests import KINDS, About

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("about", KINDS, ids=[about.model for about in KINDS]),
]


async def test_posteriors_and_data_are_those_of_the_model(client: httpx.AsyncClient, kinds: Path, about: About) -> None:
    found = checkpoint.read(kinds / about.model)
    vae, spec = found.vae, found.manifest.preprocessing
    rows = torch.from_numpy(spec.rows(about.items))
    posterior = vae.encode(rows)
    answer = (await client.post(f"/encode?model={about.model}&include=logvar", json={about.many: about.items})).json()
    for name in ("mu", "sigma", "logvar"):
        np.testing.assert_allclose(answer[name], getattr(posterior, name).numpy(), rtol=1e-4, atol=1e-5)
    likelihood = vae.decode(torch.tensor(answer["mu"]))
    made = (await client.post(f"/decode?model={about.model}", json={"mu": answer["mu"]})).json()[about.many]
    wanted = spec.items(likelihood.mean.numpy())
    if about.many == "texts":
        assert made == wanted
        return
    for one, other in zip(made, wanted, strict=True):
        np.testing.assert_allclose(numbers(one), numbers(other), rtol=1e-3, atol=0.02)


def numbers(item: Any) -> Any:
    """The numbers of a row or of a drawing."""
    return [value for value in item.values() if not isinstance(value, str)] if isinstance(item, dict) else item


async def test_scores_are_those_of_the_model(client: httpx.AsyncClient, kinds: Path, about: About) -> None:
    found = checkpoint.read(kinds / about.model)
    vae, spec = found.vae, found.manifest.preprocessing
    rows = spec.rows(about.items)
    answer = (await client.post(f"/score?model={about.model}&scores=nll", json={about.many: about.items})).json()["scores"]
    posterior = vae.encode(torch.from_numpy(rows))
    nats = vae.decode(posterior.mu).log_prob(vae.kind.to_x(torch.from_numpy(rows)))
    np.testing.assert_allclose(answer["nll"]["value"], -nats.numpy(), rtol=1e-3, atol=1e-3)
    if about.many == "rows":
        hidden = torch.from_numpy(hide_each(rows).reshape(-1, rows.shape[1]))
        decoded = vae.decode(vae.encode(hidden).mu).parameters.numpy()  # type: ignore[attr-defined]
        each = spec.parameters.surprise(decoded, np.repeat(rows, rows.shape[1], 0)).reshape(*rows.shape, -1)
        surprise = (await client.post(f"/score?model={about.model}", json={about.many: about.items})).json()["scores"][
            "surprise"
        ]
        np.testing.assert_allclose(surprise["value"], np.einsum("nkk->n", each), rtol=1e-3, atol=1e-3)
