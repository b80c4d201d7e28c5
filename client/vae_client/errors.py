"""Exceptions of the client.

VaeError
├── NoAnswer              no connection, or it broke or timed out, for longer than the client retries
├── ProblemError          the service refused: status, code, detail, request_id, item
│   ├── InvalidRequest        400, 413, 415, 422 and other 4xx
│   ├── AccessDenied          401, 403
│   ├── NotFound              404
│   ├── Conflict              409
│   ├── Overloaded            429
│   ├── ServiceFailed         500
│   ├── Unavailable           502, 503
│   ├── DeadlineExceeded      504
│   └── StoreFull             507
├── UnexpectedAnswer      an answer that this client cannot read
├── ModelChanged          one call was answered by two versions of a model
└── BatchFailed           one batch of many failed: items, ids, error
"""

import json
import math
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

LONGEST_TEXT = 200  # of an answer that is not a problem body, such as a proxy's page


class VaeError(Exception):
    """Base class of all exceptions of the client."""


class NoAnswer(VaeError):
    """No answer arrived. `sent` says whether the service may have received the request."""

    def __init__(self, reason: str, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class ProblemError(VaeError):
    """The service refused a request.

    `code` is a stable word for programs, empty if the answer is not from the service. `item` is the index of the picture or
    latent at fault, if one is. `retry_after` is the number of seconds after which the service wants to be asked again.
    `ids` are those that the problem is about: the items that exist already, of a Conflict of `if_exists="error"`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        request_id: str = "",
        item: int | None = None,
        retry_after: float | None = None,
        ids: Sequence[str] = (),
    ) -> None:
        super().__init__(f"{status} {code}: {detail}" if code else f"{status}: {detail}")
        self.status, self.code, self.detail = status, code, detail
        self.request_id, self.item, self.retry_after, self.ids = request_id, item, retry_after, tuple(ids)


class InvalidRequest(ProblemError):
    """The request is wrong and would be refused again."""


class AccessDenied(ProblemError):
    """The API key is missing or unknown, or it lacks the scope."""


class NotFound(ProblemError):
    """There is no such model, collection or item."""


class Conflict(ProblemError):
    """The request does not fit the collection or the loaded models."""


class Overloaded(ProblemError):
    """The queue is full, or the caller exceeded its rate limit, for longer than the client retries."""


class ServiceFailed(ProblemError):
    """The service has a defect; its log has the reason under the request_id."""


class Unavailable(ProblemError):
    """The service is starting, ending or out of order, for longer than the client retries."""


class DeadlineExceeded(ProblemError):
    """The deadline `timeout_ms` passed. A change may or may not have been made."""


class StoreFull(ProblemError):
    """The latent store has no room."""


class UnexpectedAnswer(VaeError):
    """The answer is not one that this client understands. Is there a VAE service at this address?"""


class UnknownKeyWarning(UserWarning):
    """A filter has a key that no item of the collection has. `strict=True` makes it a Conflict."""


class ModelChanged(VaeError):
    """The model was replaced during a call, so that its first and its last posteriors cannot be compared."""


class BatchFailed(VaeError):
    """One batch of many failed.

    `items` are the positions of its pictures among all of the call, `ids` the ids that the client wanted to give them, and
    `error` is the reason, also as `__cause__`. `item` is the position of the one at fault, if that is known. All pictures
    before the batch succeeded; later ones may or may not have.
    """

    def __init__(self, items: range, ids: Sequence[str], error: Exception) -> None:
        item = 0 if len(items) == 1 else getattr(error, "item", None)
        place = f"items {items.start} to {items.stop - 1}" if item is None else f"item {items.start + item}"
        super().__init__(f"{place}: {error}")
        self.items, self.ids, self.error = items, tuple(ids), error
        self.item: int | None = None if item is None else items.start + item


KINDS: dict[int, type[ProblemError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: NotFound,
    409: Conflict,
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
    507: StoreFull,
}


def problem_of(response: httpx.Response, path: str = "") -> ProblemError | None:
    """Return the exception for an answer to a request for `path`, None for a successful one."""
    if response.is_success:
        return None
    status = response.status_code
    kind = KINDS.get(status, ServiceFailed if status >= 500 else InvalidRequest)
    seconds = _seconds(response.headers.get("retry-after", ""))
    if response.has_redirect_location:
        there = str(response.url.join(response.headers["location"]).copy_with(query=None, fragment=None))
        moved = f"the service is at {there.removesuffix(path)}: use that as base_url"
        return kind(status, "", moved if there.endswith(path) else f"redirected to {there}: is there a VAE service?")
    try:
        body = json.loads(response.content)
        code, detail, item, ids = str(body["code"]), str(body["detail"]), body.get("item"), tuple(body.get("ids", ()))
    except (ValueError, KeyError, TypeError, AttributeError):
        code, detail, item, ids = "", response.text[:LONGEST_TEXT].strip() or _phrase(status), None, ()
    request_id = response.headers.get("x-request-id", "")
    item = item if isinstance(item, int) and not isinstance(item, bool) else None
    return kind(status, code, detail, request_id, item, seconds, ids)


def _seconds(after: str) -> float | None:
    """Return the seconds that a Retry-After header asks for, as a number or as a date; None if it has neither."""
    try:
        seconds = float(after)
    except ValueError:
        try:
            seconds = max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
        except (ValueError, TypeError, OverflowError):
            return None
    return seconds if 0 <= seconds < math.inf else None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown status"
