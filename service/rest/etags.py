"""ETags of answers that depend only on the request and the loaded model, and the check of If-None-Match.

See RFC 9110, sections 8.8.3 and 13.1.2. The ETags are strong: equal ETags mean equal bytes. Knows nothing about devices.
"""

import json
from collections.abc import Mapping

from service.http.call import Answer, Call
from service.http.header_values import tag_matches, tag_of
from service.rest.negotiation import Format
from service.rest.schemas import NoParameters

# Parameters that are left out of the ETag. The deadline does not change the answer. The others enter with their defaults
# resolved: model and prior among the versions, format and scale on their own.
# Left out if they are not stated, since what they stand for depends on the model.
ONLY_STATED = {"temperature", "max_length", "view"}
NOT_HASHED = {"timeout_ms", "model", "prior", "format", "scale"}


def cache_headers(parameters: NoParameters, form: Format, scale: int, *versions: str) -> Mapping[str, str]:
    """Return the caching headers of the answer to a GET that has the same answer each time: an ETag.

    `versions`: everything that the answer depends on besides the parameters, the format and the scale. `no-cache` makes
    clients revalidate a copy each time, since the model may have been replaced.
    """
    asked = {
        name: sorted(v) if isinstance(v, frozenset) else v
        for name, v in parameters
        if name not in NOT_HASHED and (v is not None or name not in ONLY_STATED)
    }
    text = json.dumps([type(parameters).__name__, asked, form, scale, versions], sort_keys=True)
    return {"etag": f'"{tag_of(text.encode())}"', "cache-control": "no-cache"}


def not_modified(call: Call, headers: Mapping[str, str]) -> Answer | None:
    """Return a 304 if the caller's copy has the ETag that is in the headers, else None."""
    if "etag" not in headers or not tag_matches(call.headers.get("if-none-match", ""), headers["etag"]):
        return None
    return Answer(b"", "", {"vary": "accept", **headers}, 304)
