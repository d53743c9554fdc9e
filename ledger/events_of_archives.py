"""One event of an archive, as three blocks, judged by their bytes alone: what needs no history and no state.

What must always hold: what is judged good is the event that its bytes are; `judged` and `all_judged` raise
nothing but RemoteError.
"""

from __future__ import annotations

import io
import marshal
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from msgspec.structs import astuple

from ledger import canonical
from ledger import event as events
from ledger.car import Blocks
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.event import Event, Header
from ledger.signing import Domain, verify_alone

SIGNATURE_BLOCK_SIZE_MAX: Final = 128


def judged(id: Cid, header: bytes, signature: bytes, body: bytes, body_id: Cid, *, net: Cid) -> Event:
    """The event, whose Cids the caller found to be true, after every check that needs nothing but its bytes.

    Raises RemoteError with the codes of `event.from_parts`, or `bad_signature`.
    """
    event = events.from_parts(id, header, signature_in(signature, id), body, body_id, net=net)
    if not verify_alone(event.header.by, _DOMAIN + header, event.signature):
        raise events.bad_signature(event)
    return event


def all_judged(data: bytes, count: int, *, net: Cid) -> list[Event]:
    """`count` events, from the sections of their blocks as these lie in an archive, after all checks.

    Raises RemoteError: those of `judged`, or `bad_archive`.
    """
    blocks = iter(Blocks(io.BytesIO(data)))
    found: list[Event] = []
    for _ in range(count):
        parts = [block for block in islice(blocks, 3) if not block.cid.is_raw]
        if len(parts) != 3:
            raise RemoteError("not the three blocks of an event", code="bad_archive")
        header, signature, body = parts
        found.append(judged(header.cid, header.data, signature.data, body.data, body.cid, net=net))
    if next(blocks, None) is not None:
        raise RemoteError("more than these events", code="bad_archive")
    return found


def told(events: Sequence[Event]) -> bytes:
    """Events for another process of this program, which need not parse them again (`heard`)."""
    return marshal.dumps(
        [
            (one.id, one.header_bytes, one.signature, one.body, one.wire, astuple(one.header))
            for one in events
        ],
        _WITHOUT_REFERENCES,
    )


def heard(data: bytes, *, net: Cid) -> Iterator[Event]:
    """What a process of ours `told`: equal to what it had."""
    for id, header_bytes, signature, body, wire, fields in marshal.loads(data):
        v, _, by, lane, seq, lc, ts, k, kv, body_id, bl, prev, par, acct, exp = fields
        prev = None if prev is None else Cid(prev)
        par = tuple([Cid(parent) for parent in par])
        header = Header(v, net, by, lane, seq, lc, ts, k, kv, Cid(body_id), bl, prev, par, acct, exp)
        yield Event(Cid(id), header, header_bytes, signature, body, wire)


def signature_in(data: bytes, id: Cid) -> bytes:
    """The 64 bytes in a block that must be `{h: id, s: signature}`. Raises RemoteError."""
    signature = data[-64:]
    if data == b"".join((_BEFORE_ID, id, _BEFORE_SIGNATURE, signature)):
        return signature
    record = canonical.decode(data, size_max=SIGNATURE_BLOCK_SIZE_MAX)
    if type(record) is not dict or record.keys() != {"h", "s"} or record["h"] != id:
        raise RemoteError("not followed by its signature", code="bad_signature")
    raise RemoteError("h must be bytes and s 64 bytes", code="bad_schema")


_BEFORE_ID, _BEFORE_SIGNATURE = canonical.encode({"h": Cid.of(b""), "s": bytes(64)})[:-64].split(Cid.of(b""))
"""What the canonical block has around its two parts, both of fixed length."""

_DOMAIN: Final = Domain.EVENT.value
_WITHOUT_REFERENCES: Final = 2
"""The last version of marshal's format that does not look for what comes twice."""
