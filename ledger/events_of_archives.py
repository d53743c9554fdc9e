"""One event of an archive, as three blocks, judged by their bytes alone: what needs no history and no state.

What must always hold: `judged` raises nothing but RemoteError, and `is_good` says that it raises nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ledger import canonical
from ledger import event as events
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.event import Event
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


def known_good(id: Cid, header: bytes, signature: bytes, body: bytes, *, net: Cid) -> Event:
    """`judged`, of what `is_good` said yes to."""
    wire = canonical.encode({"h": header, "s": signature[-64:], "b": body})
    return Event(id, events.parse_header(header, net=net), header, signature[-64:], body, wire)


def is_good(net: Cid, names: Sequence[Cid], parts: Sequence[bytes]) -> bool:
    """Whether these blocks (header, signature, body) have the names they bear, and are an event."""
    if any(Cid.of(part) != name for name, part in zip(names, parts, strict=True)):
        return False
    header, signature, body = parts
    try:
        judged(names[0], header, signature, body, names[2], net=net)
    except RemoteError:
        return False
    return True


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
