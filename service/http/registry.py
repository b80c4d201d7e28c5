"""The registry of endpoints: path, methods, scope, label in the metrics, and the ASGI application that answers.

Access control, metrics, the shortcut and the OpenAPI page all look up paths here.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from service.asgi import ASGIApp
from service.http.direct import Direct

# Scopes besides those of keys: no key is needed; any key is enough; no key is enough.
OPEN, ANY_KEY, CLOSED = "", "any key", "closed"
OTHER = "other"
PARAMETER = re.compile(r"\{[^}:]*\}")
# A parameter that takes the rest of a path, slashes included.
REST = re.compile(r"\{[^}:]*:(?:path|rest)\}")


@dataclass(frozen=True, slots=True)
class Registration:
    """One path, which may have parameters: /collections/{name}/items/{id:rest}.

    `scope`: the scope that a key needs, or one of the above. `label`: the value of `operation` in the metrics. `endpoint`: an
    application that answers `methods` without the router, if there is one. `hot`: plain requests take the hot path.
    `direct`: makes a `Direct` for the headers and the query of plain requests, or None where those need the operation itself.
    `without_router`: the endpoint is called without the router even if the path has parameters, which have no slashes.
    """

    path: str
    methods: tuple[str, ...]
    scope: str
    label: str
    endpoint: ASGIApp | None = None
    hot: bool = False
    direct: Callable[[Mapping[str, str], str], Direct | None] | None = None
    without_router: bool = False


class Registry:
    """Finds registrations by the path of a request."""

    def __init__(self, registrations: Iterable[Registration]) -> None:
        """Index the registrations. Raises ValueError if one path has two scopes or two labels."""
        self._exact: dict[str, Registration] = {}
        self._patterns: defaultdict[str, list[tuple[re.Pattern[str], Registration]]] = defaultdict(list)
        # Both by the first word of the path.
        self._scopes: defaultdict[str, set[str]] = defaultdict(set)
        self._labels: defaultdict[str, set[str]] = defaultdict(set)
        self.endpoints: dict[tuple[str, str], ASGIApp] = {}  # by method and path; only paths without parameters
        self._without_router: defaultdict[str, list[tuple[re.Pattern[str], Registration]]] = defaultdict(list)
        self.hot: dict[str, Registration] = {}  # by path: those whose plain requests take the hot path
        seen: dict[str, tuple[str, str]] = {}
        for one in registrations:
            if seen.setdefault(one.path, (one.scope, one.label)) != (one.scope, one.label):
                raise ValueError(f"{one.path} is registered twice, with different scopes or labels")
            self._scopes[_first_word(one.path)].add(one.scope)
            self._labels[_first_word(one.path)].add(one.label)
            if "{" in one.path:
                self._patterns[_first_word(one.path)].append((_pattern(one.path), one))
                if one.without_router:
                    self._without_router[_first_word(one.path)].append((_pattern(one.path, named=True), one))
                continue
            self._exact[one.path] = one
            if one.hot:
                self.hot[one.path] = one
            if one.endpoint is not None:
                self.endpoints |= {(method, one.path): one.endpoint for method in one.methods}

    def find(self, path: str) -> Registration | None:
        """Return the registration of a path, or None if it is not registered.

        A superfluous slash at its end makes no difference: such a request is redirected, by whoever has access to the path.
        """
        found = self._registered(path)
        return self._registered(path.removesuffix("/")) if found is None and path.endswith("/") else found

    def _registered(self, path: str) -> Registration | None:
        found = self._exact.get(path)
        if found is None:
            for pattern, one in self._patterns.get(_first_word(path), ()):
                if pattern.fullmatch(path):
                    return one
        return found

    def endpoint_of(self, method: str, path: str) -> tuple[ASGIApp, dict[str, str]] | None:
        """Return the endpoint of a path with parameters, and their values, if it is found without the router."""
        if self._without_router:
            for pattern, one in self._without_router.get(_first_word(path), ()):
                if method in one.methods and one.endpoint is not None and (match := pattern.fullmatch(path)):
                    return one.endpoint, match.groupdict()
        return None

    def has_word_of(self, path: str) -> bool:
        """Return whether a registered path begins with the same word as this path."""
        return _first_word(path) in self._scopes

    def scope_of(self, path: str) -> str:
        """Return the scope that a path needs.

        A path that is not registered needs the scope of its first word, so that nobody can probe for paths without a key.
        """
        found = self.find(path)
        if found is not None:
            return found.scope
        scopes = self._scopes.get(_first_word(path), {CLOSED}) - {OPEN}
        return scopes.pop() if len(scopes) == 1 else ANY_KEY if not scopes else CLOSED

    def label_of(self, path: str) -> str:
        """Return the label of a path in the metrics. A path that is not registered has the label of its first word."""
        found = self.find(path)
        if found is not None:
            return found.label
        labels = self._labels.get(_first_word(path), set())
        return next(iter(labels)) if len(labels) == 1 else OTHER


def _first_word(path: str) -> str:
    return path[1:].partition("/")[0]


def _pattern(path: str, named: bool = False) -> re.Pattern[str]:
    """Return the pattern of a path; with `named`, its groups have the names of its parameters, which are without slashes."""
    if named:
        return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))
    parts = re.split(r"(\{[^}]*\})", path)
    return re.compile(
        "".join(".+" if REST.fullmatch(p) else "[^/]+" if PARAMETER.fullmatch(p) else re.escape(p) for p in parts)
    )
