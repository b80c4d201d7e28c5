"""Entity tags of answers that depend on nothing but their request and the service: whether a caller's copy is still good.

RFC 9110, sections 8.8.3 and 13.1.2; the tags are strong: equal ones mean equal bytes. Knows nothing of models or devices.
"""

import hashlib
import json
import re
from collections.abc import Mapping

from service.http.call import Answer, Call
from service.rest.negotiation import Format
from service.rest.schemas import Parameters

TAG = re.compile(r'"([^"]*)"')
# patience does not show in an answer; what stands for the others, defaults filled in, is among the versions, or is the format
NOT_ASKED = {"timeout_ms", "model", "prior", "format"}


def cache_headers(parameters: Parameters, form: Format, seed: int | None, *versions: str) -> Mapping[str, str]:
    """Headers of the answer to a GET: a tag where the caller has named the seed, else a word that no copy is to be kept.

    `versions`: all that the answer depends on beside the parameters and its format. A copy is asked about every time
    (no-cache), since the model may have been replaced.
    """
    if seed is None:
        return {"cache-control": "no-store"}
    asked = {name: sorted(v) if isinstance(v, frozenset) else v for name, v in parameters if name not in NOT_ASKED}
    text = json.dumps([type(parameters).__name__, asked, form, versions], sort_keys=True)
    return {"etag": f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"', "cache-control": "no-cache"}


def not_modified(call: Call, headers: Mapping[str, str]) -> Answer | None:
    """The answer 304, when the caller has a copy with the tag that is in the headers."""
    wanted, tag = call.headers.get("if-none-match", ""), headers.get("etag", "")
    if not tag or not wanted or (wanted.strip() != "*" and tag.strip('"') not in TAG.findall(wanted)):
        return None
    return Answer(b"", "", {"vary": "accept", **headers}, 304)
