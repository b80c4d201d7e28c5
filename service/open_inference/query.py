"""The query of a request, which may state a deadline and nothing else. Knows nothing of bodies."""

from collections.abc import Collection
from urllib.parse import parse_qsl

from service.http.call import MILLISECONDS, Call
from service.http.foreign_parameters import is_foreign
from service.observe.printable import short
from service.open_inference.errors import BadRequest
from service.suggestion import suggestion

TIMEOUT = "timeout_ms"
# More parameters than any request has.
MOST = 32
IN_THE_BODY = "parameters of the request stand in its body"


def read_query(call: Call, known: Collection[str] = ()) -> dict[str, str]:
    """Return the parameters in the query of a call, without those that others add to addresses.

    Raises BadRequest for one that is unknown or given twice: none is ignored.
    """
    found: dict[str, str] = {}
    if not call.query:
        return found
    try:
        pairs = parse_qsl(call.query, keep_blank_values=True, max_num_fields=MOST)
    except ValueError:
        raise BadRequest(f"the query has more than {MOST} parameters") from None
    for name, value in pairs:
        if is_foreign(name):
            continue
        if name not in known:
            taken = f"the query may have {' and '.join(known)}; {IN_THE_BODY}" if known else "this path takes none"
            raise BadRequest(f"unknown parameter {short(name)} in the query; {suggestion(name, known, taken)}")
        if name in found:
            raise BadRequest(f"{name} is given twice in the query")
        found[name] = value
    return found


def query_timeout(call: Call) -> int | None:
    """Return the milliseconds that `timeout_ms` in the query states, or None. Raises BadRequest."""
    stated = read_query(call, (TIMEOUT,)).get(TIMEOUT)
    if stated is not None and not MILLISECONDS.fullmatch(stated):
        raise BadRequest(f"{TIMEOUT} must be a whole number from 1 to 999999999, not {short(stated)}")
    return None if stated is None else int(stated)
