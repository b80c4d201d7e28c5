"""Every request of the client as a value: what is sent, whether it may be repeated, and how its answer is read.

Knows nothing of connections and retries, so that the client and the asynchronous one share it.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, Literal, TypeVar

import httpx

from vae_client import data, json_body, npy, pictures
from vae_client.errors import ModelChanged, UnexpectedAnswer
from vae_client.labels import Label, label_text, labels_of
from vae_client.results import ROWS, Decoded, PictureWarning, Posteriors

T = TypeVar("T")
Rows = TypeVar("Rows", bound=Sized)
NpyType = Literal["uint8", "float32"]
PixelKind = Literal["mean", "sample"]
Background = Literal["auto", "black", "white"]
Invert = Literal["no", "yes", "auto"]
Include = Literal["logvar", "kl", "kl_per_dim", "z", "warnings"]
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

    def answer(self, response: httpx.Response) -> T:
        """Return what an answer says. Raises UnexpectedAnswer if it cannot be read or does not fit the request."""
        try:
            return self.read(response)
        except (ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
            kind = response.headers.get("content-type", "no type")
            raise UnexpectedAnswer(f"the answer of {response.request.url.path} ({kind}) cannot be read: {error!r}") from error


@dataclass(frozen=True)
class Options:
    """What many requests may have: a model, a deadline in milliseconds, the ink of pictures, and what a model is told."""

    model: str | None = None
    timeout_ms: int | None = None
    background: Background | None = None
    invert: Invert | None = None
    label: Label | None = None

    def parameters(self) -> dict[str, Any]:
        """Return those that are parameters and not None."""
        ink = {"background": self.background, "invert": self.invert}
        return present(model=self.model, **ink, label=label_text(self.label))

    def of(self, items: range) -> "Options":
        """Return the options of some of the items of a call: those with the labels of these. Raises ValueError."""
        return self if self.label is None else replace(self, label=labels_of(self.label, items))

    def headers(self, **others: str) -> dict[str, str]:
        """Return headers with the deadline. It is a header because some requests allow no parameters."""
        deadline = {} if self.timeout_ms is None else {"X-Timeout-Ms": str(self.timeout_ms)}
        return {**deadline, **{name.replace("_", "-"): value for name, value in others.items()}}


def present(**values: Any) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def names(include: Iterable[str]) -> tuple[str, ...]:
    """Return what to include as a tuple. One string is one name."""
    return (include,) if isinstance(include, str) else tuple(include)


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
    content = None if body is None else json_body.encoded(body)
    headers = options.headers(Accept=JSON, **({} if content is None else {"Content_Type": JSON}))
    return Call(method, path, partial(_parsed, read), params or {}, content, headers, repeatable)


def _parsed(read: Callable[[dict[str, Any]], T], response: httpx.Response) -> T:
    return read(json.loads(response.content))


def counted(read: Callable[[httpx.Response], Rows], count: int | None) -> Callable[[httpx.Response], Rows]:
    """Return a reader that raises ValueError for an answer with another number of rows; any will do for None."""

    def checked(response: httpx.Response) -> Rows:
        found = read(response)
        if count not in (None, len(found)):
            raise ValueError(f"it has {len(found)} rows instead of {count}")
        return found

    return checked


def sendable(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return headers. Raises ValueError for what none can carry, and does not show it, because it may be a secret."""
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            raise ValueError(f"the header {name} has characters outside ASCII, or white space at an end")
    return headers


def label_of(response: httpx.Response) -> tuple[str, str]:
    """Return the name and the digest of the model that an answer is from."""
    name, _, digest = response.headers.get("x-model", "").partition("@")
    return name, digest.removeprefix("sha256:")


def warnings_of(answer: dict[str, Any]) -> tuple[PictureWarning, ...]:
    """Return the warnings about pictures of a JSON answer."""
    found = answer.get("warnings") or ()
    return tuple(PictureWarning(one.get("code", ""), one.get("detail", ""), one.get("item")) for one in found)


def _warning_count(response: httpx.Response) -> int:
    count = response.headers.get("x-warnings", "")
    return int(count) if count.isascii() and count.isdigit() else 0


def _read_posteriors(response: httpx.Response) -> Posteriors:
    mu, sigma = npy.parse(response.content)
    return Posteriors(mu, sigma, *label_of(response), _warning_count(response), latent_shape=_latent_shape(response))


def _read_more(response: httpx.Response) -> Posteriors:
    """Read posteriors with what only JSON can carry."""
    return _parsed(partial(_posteriors, *label_of(response), _latent_shape(response)), response)


def _latent_shape(response: httpx.Response) -> tuple[int, ...]:
    """Return the shape of the latents of an answer, (C, h, w); () if they are flat."""
    stated = response.headers.get("x-latent-shape", "")
    return tuple(map(int, stated.split(","))) if stated else ()


def _posteriors(model: str, digest: str, latent_shape: tuple[int, ...], answer: dict[str, Any]) -> Posteriors:
    arrays = {name: npy.floats(answer[name]) for name in ROWS if name in answer}
    warnings = warnings_of(answer)
    about: dict[str, Any] = {"model": model, "digest": digest, "latent_shape": latent_shape, "seed": answer.get("seed")}
    return Posteriors(**arrays, **about, warning_count=len(warnings), warnings=warnings)


def read_pictures(response: httpx.Response) -> Decoded:
    """Read pictures as npy; data of other kinds come as JSON."""
    seed, prior = response.headers.get("x-seed"), response.headers.get("x-prior")
    drawn = None if seed is None else int(seed), prior
    if response.headers.get("content-type", "").startswith(JSON):
        return _parsed(partial(_read_data, response, drawn), response)
    return Decoded(npy.parse(response.content), *label_of(response), *drawn, _warning_count(response))


def _read_data(response: httpx.Response, drawn: tuple[int | None, str | None], answer: dict[str, Any]) -> Decoded:
    items, warnings = data.found_in(answer), warnings_of(answer)
    if items is None:
        raise ValueError("it has no data")
    others = {name: value for name, value in answer.items() if name not in ("model", items.many, "seed", "prior", "warnings")}
    return Decoded(data.NO_PIXELS, *label_of(response), *drawn, len(warnings), details=others, items=items)


def encode(content: Any, options: Options, include: Iterable[str] = (), seed: int | None = None) -> Call[Posteriors]:
    """Pictures -> posteriors. The answer is npy, which is small and fast, unless something is included that only JSON has."""
    body, kind, count = pictures.body_of(pictures.listed(content))
    include = names(include)
    accept, read = (JSON, _read_more) if include else (NPY, _read_posteriors)
    asked = ",".join(one for one in include if one != "warnings")  # JSON always has those.
    params = query(**options.parameters(), include=asked or None, seed=seed)
    return Call("POST", "/encode", counted(read, count), params, body, options.headers(Accept=accept, Content_Type=kind))


def reconstruct(
    content: Any,
    options: Options,
    mode: str | None,
    pixels: PixelKind | None,
    seed: int | None,
    dtype: NpyType,
    cells: str | None = None,
) -> Call[Decoded]:
    """Pictures -> pictures as the model sees them."""
    body, kind, count = pictures.body_of(pictures.listed(content))
    headers = options.headers(Accept=NPY, Content_Type=kind)
    params = query(**options.parameters(), mode=mode, pixels=pixels, seed=seed, dtype=dtype, cells=cells)
    return Call("POST", "/reconstruct", counted(read_pictures, count), params, body, headers)


def decode(
    z: Any,
    options: Options,
    pixels: PixelKind | None,
    seed: int | None,
    dtype: NpyType,
    temperature: float | None = None,
    max_length: int | None = None,
) -> Call[Decoded]:
    """Latents, or the mu of posteriors -> pictures."""
    file, count = npy.latents_file(z.mu, z.latent_shape) if isinstance(z, Posteriors) else npy.latents_file(z)
    headers = options.headers(Accept=NPY, Content_Type=NPY)
    steps = {"temperature": temperature, "max_length": max_length}
    params = query(model=options.model, label=label_text(options.label), pixels=pixels, seed=seed, dtype=dtype, **steps)
    return Call("POST", "/decode", counted(read_pictures, count), params, file, headers)


def sample(
    n: int,
    options: Options,
    seed: int | None,
    temperature: float | None,
    prior: str | None,
    pixels: PixelKind | None,
    dtype: NpyType,
    max_length: int | None = None,
) -> Call[Decoded]:
    """Nothing -> items of the prior."""
    given = {"seed": seed, "temperature": temperature, "prior": prior, "pixels": pixels, "dtype": dtype}
    params = query(n=n, **options.parameters(), **given, max_length=max_length)
    return Call("POST", "/sample", counted(read_pictures, int(n)), params, None, options.headers(Accept=NPY))


def latents_of_sample(drawn: Decoded, options: Options, temperature: float | None, include: Iterable[str]) -> Call[Any]:
    """Pictures of the prior -> their latents, which npy answers lack: the same draw as JSON. Raises ModelChanged."""
    given = {"seed": drawn.seed, "temperature": temperature, "prior": drawn.prior}
    same = query(n=len(drawn), **options.parameters(), **given)

    def read(response: httpx.Response) -> Any:  # (N, D)
        if label_of(response) != (drawn.model, drawn.digest):
            raise ModelChanged(f"the model {drawn.model} was replaced between the pictures and their latents; sample again")
        return _parsed(lambda answer: npy.floats(answer["z"]), response)

    return Call(
        "POST",
        "/sample",
        counted(read, len(drawn)),
        {**same, "include": ",".join(include)},
        None,
        options.headers(Accept=JSON),
    )


def one_latent(value: Any) -> Any:
    """Return one latent, (D,) or (1, D), or the mu of one posterior, as a list. Raises TypeError for several."""
    if value is None:
        return None
    rows = [npy.lists(row) for row in npy.lists(value.mu if isinstance(value, Posteriors) else value)]
    if len(rows) > 1 and isinstance(rows[0], Sequence):
        raise TypeError(f"one latent is needed, not {len(rows)}: pass mu[0]")
    return rows[0] if rows and isinstance(rows[0], Sequence) else rows


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
    sent = dict(sendable(headers or {}))
    if body is not None:
        content = json_body.encoded(body)
        sent = {"Content-Type": JSON, **sent}
    again = method.upper() in ("GET", "HEAD") if repeatable is None else repeatable
    return Call(method, path, lambda response: response, params or {}, content, sent, again)
