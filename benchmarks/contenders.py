"""The servers in `python -m benchmarks.peers`: how to start each, how to send a request, and how to read its response.

A contender without a `package` runs in our own environment. Knows nothing of environments or measurements.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from benchmarks.load import Request
from benchmarks.workload import JSON, MODEL

SCRIPTS = "benchmarks/peers"


def _unchanged(request: Request) -> Request:
    return request


def _first_row(answer: Any) -> list[float]:
    row: list[float] = answer["mu"][0]
    return row


@dataclass(frozen=True)
class Contender:
    """One server. `ask` translates our request to encode one picture; `mu` extracts the mean from the response."""

    name: str
    title: str
    arguments: Callable[[int], list[str]]  # command line after `python`, for a port
    package: str = ""  # the package whose version the report shows
    variables: dict[str, str] = field(default_factory=dict)
    ask: Callable[[Request], Request] = _unchanged
    mu: Callable[[Any], list[float]] = _first_row
    draws: bool = False  # has /decode and /sample too
    tensors: bool = False  # answers the Open Inference Protocol with binary tensors, too
    computes: bool = True  # False for a floor, whose answers are always the same


def _script(name: str) -> Callable[[int], list[str]]:
    return lambda port: [f"{SCRIPTS}/{name}.py", str(port)]


def _bare(kind: str, how: str) -> Callable[[int], list[str]]:
    return lambda port: [f"{SCRIPTS}/bare.py", kind, how, str(port)]


def _mosec(port: int) -> list[str]:
    return [f"{SCRIPTS}/mosec_peer.py", "--address", "127.0.0.1", "--port", str(port), "--log-level", "warning"]


def _bentoml(port: int) -> list[str]:
    where = ["--working-dir", SCRIPTS, "--host", "127.0.0.1", "--port", str(port)]
    return ["-m", "bentoml", "serve", "bentoml_peer:VAE", *where]


def _first_item(answer: Any) -> list[float]:
    return _first_row(answer[0])


def _ask_v2(request: Request, columns: tuple[int, ...] = ()) -> Request:
    """Translate a request to the V2 inference protocol. `columns` is the shape after the number of rows."""
    images = orjson.loads(request.body)["images"]
    inputs = [{"name": "images", "shape": [len(images), *columns], "datatype": "BYTES", "data": images}]
    return Request("POST", "/v2/models/vae/infer", JSON, orjson.dumps({"inputs": inputs}))


def _first_output(answer: Any) -> list[float]:
    row: list[float] = answer["outputs"][0]["data"]
    return row


SERVICE = Contender(
    "service",
    "this service",
    lambda port: ["-m", "service", "--port", str(port)],
    variables={"VAE_MODELS": MODEL, "VAE_ACCESS_LOG": "false", "VAE_DEVICE": "cpu"},
    draws=True,
    tensors=True,
)

# peers/NAME.txt has the versions of each.
PEERS = (
    Contender("plain", "plain FastAPI", _script("plain"), "fastapi", draws=True),
    Contender("litserve", "LitServe", _script("litserve_peer"), "litserve"),
    Contender("bentoml", "BentoML", _bentoml, "bentoml", {"BENTOML_DO_NOT_TRACK": "true"}, mu=_first_item),
    Contender("mlserver", "MLServer", _script("mlserver_peer"), "mlserver", ask=_ask_v2, mu=_first_output),
    Contender(
        "triton",
        "Triton, Python backend",
        _script("triton_peer"),
        "nvidia-pytriton",
        ask=partial(_ask_v2, columns=(1,)),
        mu=_first_output,
        tensors=True,
    ),
    Contender("ray", "Ray Serve", _script("ray_peer"), "ray", {"RAY_USAGE_STATS_ENABLED": "0"}),
    Contender("mosec", "MOSEC", _mosec, "mosec"),
    # How little a request can cost in Python: the same computation without any other feature, and no computation at all.
    Contender("bare-asgi", "yardstick: ASGI callable", _bare("encode", "asgi")),
    Contender("bare-protocol", "yardstick: protocol class", _bare("encode", "protocol")),
    Contender("floor-asgi", "floor: ASGI callable, fixed bytes", _bare("fixed", "asgi"), computes=False),
    Contender("floor-protocol", "floor: protocol class, fixed bytes", _bare("fixed", "protocol"), computes=False),
)
