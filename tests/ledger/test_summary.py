"""What people read of an event is what its header says, whatever is around it."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.summary import Summary, summary_of
from tests.ledger.test_header_grammar import headers

SIZES = st.sampled_from([0, 1, 23, 24, 255, 256, 65_535, 65_536]) | st.integers(0, 600)
PLAIN = {"v": 1, "net": Cid.of(b""), "by": bytes(32), "lane": 0, "seq": 0, "lc": 1, "ts": 0, "k": "a"}
PLAIN |= {"kv": 1, "body": Cid.of(b""), "bl": 0}


def wire_of(fields: dict[str, Any], body: bytes | None) -> bytes:
    return canonical.encode({"h": canonical.encode(fields), "s": bytes(64), "b": body})


@given(headers(), st.none() | st.builds(bytes, SIZES))
@example(PLAIN, b"\x61hX\x20" + canonical.encode(PLAIN))
@example(PLAIN | {"k": "a" * 24, "acct": b"\x01" * 32}, None)
def test_it_says_what_the_header_says(fields: dict[str, Any], body: bytes | None) -> None:
    """With any body or none, also one that looks like a header."""
    account = fields.get("acct", fields["by"])
    assert summary_of(wire_of(fields, body)) == Summary(
        fields["k"], fields["kv"], account, fields["by"], fields["lane"], fields["seq"], fields["ts"]
    )


@given(st.binary(max_size=200) | st.builds(lambda head, rest: b"\xa3\x61b" + head + rest, *[st.binary()] * 2))
@example(b"")
@example(b"\xa3\x61b\x5b")
@example(canonical.encode({"h": 1, "s": b"", "b": None}))
@example(canonical.encode([1]))
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with contextlib.suppress(RemoteError):
        assert type(summary_of(data)) is Summary


@given(headers(), st.integers(0, 400), st.integers(1, 255))
def test_a_damaged_event_is_read_or_refused(fields: dict[str, Any], place: int, flip: int) -> None:
    wire = bytearray(wire_of(fields, b"body"))
    wire[place % len(wire)] ^= flip
    with contextlib.suppress(RemoteError):
        assert type(summary_of(bytes(wire))) is Summary
