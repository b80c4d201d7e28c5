"""ETags of answers that depend only on the request and the loaded model, and the check of If-None-Match.

See RFC 9110, sections 8.8.3 and 13.1.2. The ETags are strong: equal ETags mean equal bytes. Knows nothing about devices.
"""

import hashlib
import json
import re
from collections.abc import Mapping

from service.http.call import Answer, Call
from service.rest.negotiation import Format
from service.rest.schemas import NoParameters

TAG = re.compile(r'"([^"]*)"')
# Parameters that are left out of the ETag. The deadline does not change the answer. The others enter with their defaults
# resolved: model and prior among the versions, format and scale on their own.
NOT_HASHED = {"timeout_ms", "model", "prior", "format", "scale"}


def cache_headers(parameters: NoParameters, form: Format, seed: int | None, scale: int, *versions: str) -> Mapping[str, str]:
    """Return the caching headers of the answer to a GET: an ETag if the caller has stated the seed, else `no-store`.

    `versions`: everything that the answer depends on besides the parameters, the format and the scale. `no-cache` makes
    clients revalidate a copy each time, since the model may have been replaced.
    """
    if seed is None:
        return {"cache-control": "no-store"}
    asked = {name: sorted(v) if isinstance(v, frozenset) else v for name, v in parameters if name not in NOT_HASHED}
    text = json.dumps([type(parameters).__name__, asked, form, scale, versions], sort_keys=True)
    return {"etag": f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"', "cache-control": "no-cache"}


def not_modified(call: Call, headers: Mapping[str, str]) -> Answer | None:
    """Return a 304 if the caller's copy has the ETag that is in the headers, else None."""
    wanted, tag = call.headers.get("if-none-match", ""), headers.get("etag", "")
    if not tag or not wanted or (wanted.strip() != "*" and tag.strip('"') not in TAG.findall(wanted)):
        return None
    return Answer(b"", "", {"vary": "accept", **headers}, 304)
