"""The event: one signed statement on one author's lane. The only thing the ledger is made of.

Wire form, DAG-CBOR: `{h: header bytes, s: signature (64 bytes), b: body bytes or null}`.

    id = Cid.of(h)     the id covers the header, and through `body` the body, but not the signature:
                       one header can carry several valid signatures and they must not look like a fork

Here live the header's schema, how an event is made, and the *stateless* checks: everything that can be
judged from the bytes alone. What needs the parents is `ledger.dag`; what needs the state is execution.

What must always hold of an `Event` object: its bytes are canonical, within the limits, of the network
asked for, and (unless built by `parse(..., verify_signature=False)`) signed by `header.by`.
"""

from __future__ import annotations

from operator import lt
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.header_grammar import usual_fields
from ledger.signing import Domain, SigningKey, is_surely_good, verify
from ledger.types import Key, Millis, Name, Uint

VERSION: Final = 1

LANE_LEDGER: Final = 0
LANE_VOTES: Final = 1
LANE_BULK: Final = 2
LANES: Final = (LANE_LEDGER, LANE_VOTES, LANE_BULK)

HEADER_SIZE_MAX: Final = 1024
BODY_SIZE_MAX: Final = {LANE_LEDGER: 16 * 1024, LANE_VOTES: 16 * 1024, LANE_BULK: 64 * 1024}
WIRE_SIZE_MAX: Final = HEADER_SIZE_MAX + max(BODY_SIZE_MAX.values()) + 128  # 128: framing and signature
PARENTS_MAX: Final = 8


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """What is signed. A closed set of keys: an unknown key makes the event invalid.

    net   id of the genesis object: no event of one network is valid in another
    by    the device key that signs;  acct  the account acted for, when it is not `by`
    lane  0 ledger, 2 bulk (1 is reserved, decision 007): independent chains, so bulk never blocks money
    seq   0, 1, 2 … in (by, lane);  prev  the id of seq-1
    par   tips of other lanes, sorted: "seen", not "endorsed"
    lc    1 + the largest lc among prev and par: topological order for free
    ts    unix milliseconds by the author's clock, never decreasing in a lane
    exp   the last checkpoint height at which it may take effect
    k kv  kind and its schema version;  body bl  Cid and length of the body's bytes
    """

    v: Annotated[int, Meta(ge=1, le=1)]
    net: Cid
    by: Key
    lane: Annotated[int, Meta(ge=0, le=2)]
    seq: Uint
    lc: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    ts: Millis
    k: Name
    kv: Annotated[int, Meta(ge=1, le=2**31)]
    body: Cid
    bl: Annotated[int, Meta(ge=0, le=64 * 1024)]
    prev: Cid | None = None
    par: Annotated[tuple[Cid, ...], Meta(max_length=PARENTS_MAX)] = ()
    acct: Key | None = None
    exp: Uint | None = None


class Event(msgspec.Struct, frozen=True, gc=False):
    """A header with its exact bytes, its signature and (unless pruned) its body."""

    id: Cid
    header: Header
    header_bytes: bytes
    signature: bytes
    body: bytes | None
    wire: bytes

    @property
    def account(self) -> bytes:
        """The account acted for."""
        return self.header.by if self.header.acct is None else self.header.acct

    @property
    def lane(self) -> tuple[bytes, int]:
        header = self.header
        return (header.by, header.lane)

    @property
    def parents(self) -> tuple[Cid, ...]:
        """Everything that must be known before this event: prev (if any), then par."""
        prev = self.header.prev
        return self.header.par if prev is None else (prev, *self.header.par)

    def __repr__(self) -> str:
        h = self.header
        kind = h.k[:40] if h.k.isprintable() else ascii(h.k[:40])
        return f"<Event {kind} {h.by.hex()[:8]}/{h.lane}/{h.seq} lc={h.lc} {str(self.id)[-8:]}>"


def make(
    key: SigningKey,
    *,
    net: Cid,
    lane: int,
    seq: int,
    prev: Cid | None,
    parents: tuple[Cid, ...],
    lc: int,
    ts: int,
    kind: str,
    version: int = 1,
    body: Any,
    acct: bytes | None = None,
    exp: int | None = None,
) -> Event:
    """Sign a new event. `body` is a payload struct or an already encoded body (bytes).

    The caller answers for seq, prev, parents and lc being the truth (`ledger.replica` does it).
    """
    body_bytes = body if isinstance(body, bytes) else canonical.encode(body)
    header = Header(
        v=VERSION,
        net=net,
        by=key.public,
        lane=lane,
        seq=seq,
        lc=lc,
        ts=ts,
        k=kind,
        kv=version,
        body=Cid.of(body_bytes),
        bl=len(body_bytes),
        prev=prev,
        par=tuple(sorted(set(parents))),
        acct=acct,
        exp=exp,
    )
    header_bytes = canonical.encode(header)
    assert len(header_bytes) <= HEADER_SIZE_MAX, "a header of ours is over its limit"
    assert len(body_bytes) <= BODY_SIZE_MAX[lane], (
        f"a {kind} body of {len(body_bytes)} bytes is over its limit"
    )
    signature = key.sign(Domain.EVENT, header_bytes)
    wire = canonical.encode({"h": header_bytes, "s": signature, "b": body_bytes})
    return Event(Cid.of(header_bytes), header, header_bytes, signature, body_bytes, wire)


def parse(wire: bytes, *, net: Cid, verify_signature: bool = True) -> Event:
    """Bytes from anywhere -> Event, after every check that needs nothing but the bytes.

    `verify_signature=False` is for bytes that this node verified before it stored them.
    Raises RemoteError with code: `oversize`, `non_canonical`, `bad_schema`, `wrong_network`,
    `bad_body`, `bad_signature`.
    """
    outer = canonical.decode_closed(wire, size_max=WIRE_SIZE_MAX)
    if type(outer) is not dict or outer.keys() != _WIRE_KEYS:
        raise RemoteError("an event is a map of exactly h, s and b", code="bad_schema")
    header_bytes, signature, body = outer["h"], outer["s"], outer["b"]
    if type(header_bytes) is not bytes or type(signature) is not bytes or len(signature) != 64:
        raise RemoteError("h must be bytes and s 64 bytes", code="bad_schema")
    header = parse_header(header_bytes, net=net)
    if body is not None:
        if type(body) is not bytes:
            raise RemoteError("b must be bytes or null", code="bad_schema")
        _check_body(header, body, Cid.of(body))
    event = Event(Cid.of(header_bytes), header, header_bytes, signature, body, wire)
    if verify_signature:
        check_signature(event)
    return event


def without_body(event: Event) -> Event:
    """The same event as it is kept when its body is not: header and signature are for good."""
    wire = canonical.encode({"h": event.header_bytes, "s": event.signature, "b": None})
    return Event(event.id, event.header, event.header_bytes, event.signature, None, wire)


def is_pruned(wire: bytes) -> bool:
    """Whether the wire of an event has no body, told from its first bytes: a map of three, `b` first."""
    return wire.startswith(_PRUNED)


def from_parts(
    id: Cid, header_bytes: bytes, signature: bytes, body: bytes, body_id: Cid, *, net: Cid
) -> Event:
    """`parse` for parts that lie apart and whose Cids the caller has found to be true; the signature is not
    looked at. Same errors, for 64 bytes of signature.
    """
    wire = canonical.encode({"h": header_bytes, "s": signature, "b": body})
    if len(wire) > WIRE_SIZE_MAX:
        raise RemoteError(f"{len(wire)} bytes where at most {WIRE_SIZE_MAX} are allowed", code="oversize")
    header = parse_header(header_bytes, net=net)
    _check_body(header, body, body_id)
    return Event(id, header, header_bytes, signature, body, wire)


def of_judged_parts(id: Cid, header_bytes: bytes, signature: bytes, body: bytes) -> Event:
    """`from_parts` for parts that it accepted before, without the judgement."""
    wire = canonical.encode({"h": header_bytes, "s": signature, "b": body})
    return Event(id, judged_header(header_bytes), header_bytes, signature, body, wire)


def judged_header(header_bytes: bytes) -> Header:
    """`parse_header` of bytes that it accepted before, without the judgement."""
    return canonical.shape(Header, canonical.decode_judged(header_bytes))


def _check_body(header: Header, body: bytes, body_id: Cid) -> None:
    if len(body) != header.bl or body_id != header.body:
        raise RemoteError("the body is not the one that the header names", code="bad_body")
    canonical.decode(body, size_max=BODY_SIZE_MAX[header.lane])


def check_signature(event: Event) -> None:
    """The dearest check, for last: dearer than all others together. Raises RemoteError (`bad_signature`)."""
    if not is_signed(event):
        raise bad_signature(event)


def bad_signature(event: Event) -> RemoteError:
    return RemoteError(f"not signed by {event.header.by.hex()}", code="bad_signature")


def is_signed(event: Event) -> bool:
    """By `header.by`, under the rule of the network (`ledger.signing`)."""
    return verify(Domain.EVENT, event.header.by, event.header_bytes, event.signature)


def is_surely_signed(event: Event) -> bool:
    """The quick half of `is_signed`: its yes is final, its no is not. Other threads run meanwhile."""
    return is_surely_good(event.header.by, event.signature + _DOMAIN + event.header_bytes)


def parse_header(header_bytes: bytes, *, net: Cid) -> Header:
    """The header alone (fork proofs carry no bodies). Same errors as `parse`."""
    usual = usual_fields(header_bytes)
    header = Header(*usual) if usual is not None else _unusual_header(header_bytes)
    if header.net != net:
        raise RemoteError(f"of network {header.net}, this is {net}", code="wrong_network")
    if (header.seq == 0) != (header.prev is None):
        raise RemoteError("prev must be there exactly when seq > 0", code="bad_schema")
    if header.bl > BODY_SIZE_MAX[header.lane]:
        raise RemoteError(
            f"a body of {header.bl} bytes on lane {header.lane}, at most {BODY_SIZE_MAX[header.lane]}",
            code="oversize",
        )
    if not all(map(lt, header.par, header.par[1:])):
        raise RemoteError("par must be sorted and without repeats", code="bad_schema")
    if header.prev is not None and header.prev in header.par:
        raise RemoteError("par must not repeat prev", code="bad_schema")
    if header.acct == header.by:
        raise RemoteError("acct must be left out when it is the signer", code="bad_schema")
    return header


def _unusual_header(header_bytes: bytes) -> Header:
    """A header by decoder, encoder and schema; or what is wrong with it."""
    # The schema is closed, two levels deep and its integers have ranges: all that is left is the text.
    fields = canonical.decode_closed(header_bytes, size_max=HEADER_SIZE_MAX)
    header = canonical.shape(Header, fields)
    canonical.check_text(header.k)
    if None in fields.values() or (not header.par and "par" in fields):
        raise RemoteError("a header's field that is empty must be left out", code="non_canonical")
    return header


_WIRE_KEYS: Final = frozenset(("h", "s", "b"))
_PRUNED: Final = b"\xa3\x61b\xf6"
_DOMAIN: Final = Domain.EVENT.value
