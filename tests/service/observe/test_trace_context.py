"""W3C trace context: what is a place in a trace, and what is not."""

import pytest

from service.observe.trace_context import TraceContext, incoming, new_trace, parse

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f"00-{TRACE}-{SPAN}-01", 1),
        (f" 00-{TRACE}-{SPAN}-03\t", 3),
        (f"00-{TRACE}-{SPAN}-ff", 3),  # what no version that we know has defined
        (f"01-{TRACE}-{SPAN}-03", 1),  # of a later version only what it shares with ours
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", 1),
    ],
)
def test_well_formed(value: str, flags: int) -> None:
    assert parse(value.encode()) == TraceContext(TRACE, SPAN, flags)


@pytest.mark.parametrize(
    "value",
    [
        "", "x", "00", f"00-{TRACE}", f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-0", f"00-{TRACE}-{SPAN}-001",
        f"00-{TRACE}-{SPAN}-01-", f"00-{TRACE}-{SPAN}-01-more", f"ff-{TRACE}-{SPAN}-01", f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN.upper()}-01", f"00-{TRACE}-{SPAN}-0A", f"0A-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE[1:]}-{SPAN}-01", f"00-{TRACE}a-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01", f"cc-{TRACE}-{SPAN}-01.more", f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01", "00-é",
    ],
)  # fmt: skip
def test_malformed(value: str) -> None:
    assert parse(value.encode()) is None


def test_of_two_headers_neither_counts() -> None:
    one = f"00-{TRACE}-{SPAN}-01".encode()
    assert incoming([one]) == TraceContext(TRACE, SPAN, 1)
    assert incoming([one, one]) is incoming([]) is None


def test_a_child_is_elsewhere_in_the_same_trace() -> None:
    parent = TraceContext(TRACE, SPAN, 1)
    child = parent.child()
    assert (child.trace_id, child.flags) == (TRACE, 1)
    assert child.span_id != SPAN
    assert parse(child.header()) == child


def test_a_new_trace_is_well_formed_and_new() -> None:
    one, other = new_trace(), new_trace()
    assert parse(one.header()) == one
    assert one.trace_id != other.trace_id
