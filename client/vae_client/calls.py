"""Every request of the client as a value: what is sent, whether it may be repeated, and how its answer is read.

Knows nothing of connections and retries, so that the client and the asynchronous one share it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import httpx

from vae_client import npy, pictures
from vae_client.errors import UnexpectedAnswer
from vae_client.results import Model, Pictures, Posteriors

T = TypeVar("T")
NpyType = Literal["uint8", "float32"]
Background = Literal["auto", "black", "white"]
Invert = Literal["no", "yes", "auto"]
NPY, JSON = "application/x-npy", "application/json"


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request. `repeatable` says that sending it twice has the effect of sending it once."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True


@dataclass(frozen=True)
class Options:
    """What many requests may have: a model, a deadline in milliseconds, and how pictures are brought into the model's ink."""

    model: str | None = None
    timeout_ms: int | None = None
    background: Background | None = None
    invert: Invert | None = None

    def parameters(self) -> dict[str, Any]:
        """Return those that are parameters and not None."""
        return present(model=self.model, background=self.background, invert=self.invert)

    def headers(self, **others: str) -> dict[str, str]:
        """Return headers with the deadline. It is a header because some requests allow no parameters."""
        deadline = {} if self.timeout_ms is None else {"X-Timeout-Ms": str(self.timeout_ms)}
        return {**deadline, **{name.replace("_", "-"): value for name, value in others.items()}}


def present(**values: Any) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def query(**values: Any) -> dict[str, Any]:
    """Return the values that are not None as parameters of a query."""
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in present(**values).items()}


def json_call(
    method: str,
    path: str,
    read: Callable[[dict[str, Any]], T],
    options: Options,
    body: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    repeatable: bool = True,
) -> Call[T]:
    """Return a call whose answer, and whose body if it has one, are JSON."""
    content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
    headers = options.headers(Accept=JSON, **({} if content is None else {"Content_Type": JSON}))

    def parsed(response: httpx.Response) -> T:
        try:
            return read(json.loads(response.content))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise unexpected(response, error) from error

    return Call(method, path, parsed, params or {}, content, headers, repeatable)


def unexpected(response: httpx.Response, error: Exception) -> UnexpectedAnswer:
    """Return the exception for an answer that cannot be read."""
    kind = response.headers.get("content-type", "no type")
    return UnexpectedAnswer(f"the answer of {response.request.url.path} ({kind}) cannot be read: {error!r}")


def _array(response: httpx.Response) -> Any:
    try:
        return npy.parse(response.content)
    except (ValueError, KeyError, SyntaxError) as error:
        raise unexpected(response, error) from error


def _model(response: httpx.Response) -> tuple[str, str]:
    name, _, digest = response.headers.get("x-model", "").partition("@")
    return name, digest.removeprefix("sha256:")


def _warnings(response: httpx.Response) -> int:
    count = response.headers.get("x-warnings", "")
    return int(count) if count.isascii() and count.isdigit() else 0


def _read_posteriors(response: httpx.Response) -> Posteriors:
    mu, sigma = _array(response)
    return Posteriors(mu, sigma, *_model(response), _warnings(response))


def _read_pictures(response: httpx.Response) -> Pictures:
    seed, prior = response.headers.get("x-seed"), response.headers.get("x-prior")
    drawn = None if seed is None else int(seed), prior
    return Pictures(_array(response), *_model(response), *drawn, _warnings(response))


def encode(content: Any, options: Options) -> Call[Posteriors]:
    """Pictures -> posteriors."""
    body, kind = pictures.body_of(pictures.listed(content))
    headers = options.headers(Accept=NPY, Content_Type=kind)
    return Call("POST", "/encode", _read_posteriors, options.parameters(), body, headers)


def reconstruct(content: Any, options: Options, mode: str | None, seed: int | None, dtype: NpyType) -> Call[Pictures]:
    """Pictures -> pictures as the model sees them."""
    body, kind = pictures.body_of(pictures.listed(content))
    headers = options.headers(Accept=NPY, Content_Type=kind)
    params = query(**options.parameters(), mode=mode, seed=seed, dtype=dtype)
    return Call("POST", "/reconstruct", _read_pictures, params, body, headers)


def decode(z: Any, options: Options, dtype: NpyType) -> Call[Pictures]:
    """Latents -> pictures."""
    headers = options.headers(Accept=NPY, Content_Type=NPY)
    params = query(model=options.model, dtype=dtype)
    return Call("POST", "/decode", _read_pictures, params, npy.latents_file(z), headers)


def sample(
    n: int, options: Options, seed: int | None, temperature: float | None, prior: str | None, dtype: NpyType
) -> Call[Pictures]:
    """Nothing -> pictures of the prior."""
    params = query(n=n, model=options.model, seed=seed, temperature=temperature, prior=prior, dtype=dtype)
    return Call("POST", "/sample", _read_pictures, params, None, options.headers(Accept=NPY))


def interpolate(
    start: Any, end: Any, options: Options, steps: int | None, method: str | None, dtype: NpyType
) -> Call[Pictures]:
    """Two pictures or latents -> the pictures between them."""
    body = {"start": _end(start), "end": _end(end), **options.parameters(), **present(steps=steps, method=method, dtype=dtype)}
    headers = options.headers(Accept=NPY, Content_Type=JSON)
    return Call("POST", "/interpolate", _read_pictures, {}, json.dumps(body).encode(), headers)


def _end(value: Any) -> dict[str, Any]:
    if pictures.is_one(value) or (npy.is_array(value) and len(value.shape) > 1):
        return {"image": pictures.base64_of(value)}
    return {"z": npy.lists(value)}


def models() -> Call[list[Model]]:
    """All loaded models."""
    return json_call("GET", "/models", lambda answer: [_model_of(one) for one in answer["models"]], Options())


def _model_of(fields: dict[str, Any]) -> Model:
    return Model(
        fields["name"],
        fields["digest"],
        fields["latent_dim"],
        tuple(fields["shape"]),
        fields.get("default", False),
        tuple(fields.get("priors", ())),
        fields,
    )


def info() -> Call[dict[str, Any]]:
    """Limits, versions and counts of the service."""
    return json_call("GET", "/info", dict, Options())


def request(
    method: str,
    path: str,
    params: Mapping[str, Any] | None,
    content: bytes | None,
    body: Any,
    headers: Mapping[str, str] | None,
    repeatable: bool | None,
) -> Call[httpx.Response]:
    """Any request of the interface. It is repeatable if it is a GET or HEAD, or if the caller says so."""
    sent = dict(headers or {})
    if body is not None:
        content = json.dumps(body, separators=(",", ":")).encode()
        sent = {"Content-Type": JSON, **sent}
    again = method.upper() in ("GET", "HEAD") if repeatable is None else repeatable
    return Call(method, path, lambda response: response, params or {}, content, sent, again)
