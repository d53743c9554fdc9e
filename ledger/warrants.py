"""Warrants: the proof that an author signed an event that cannot stand where it says it stands.

Bytes that are malformed prove nothing: nobody signs them by mistake into a ledger. But a well-formed header
that lies about its place (a seq that is not one more, time that runs backwards, an lc that its parents deny,
a parent in its own lane) was signed by somebody who knew better, or whose program does not. Every node that
has the parents refuses such an event at its door (`ledger.dag`); the warrant shows everybody that it was
offered.

    h, s       the lying header and its signature
    parents    the signed headers of its prev (if it has one) and its par, in that order, all of them

Knows headers and signatures. Does not know what a lie costs.

What must always hold: a warrant that `parse` accepts convinces anybody who knows the network's id, alone; no
event that could be admitted anywhere gives one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ledger import canonical
from ledger.cid import Cid
from ledger.dag import check_structure, place_of
from ledger.errors import RemoteError
from ledger.event import HEADER_SIZE_MAX, PARENTS_MAX, Event, Header, parse_header
from ledger.signing import Domain, verify
from ledger.types import Signature

WARRANT_SIZE_MAX: Final = (2 + PARENTS_MAX) * (HEADER_SIZE_MAX + 64 + 16) + 64  # 16, 64: keys and lengths

HeaderBytes = Annotated[bytes, Meta(max_length=HEADER_SIZE_MAX)]


class SignedHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    h: HeaderBytes
    s: Signature

    @classmethod
    def of(cls, event: Event) -> SignedHeader:
        return cls(event.header_bytes, event.signature)

    @property
    def id(self) -> Cid:
        return Cid.of(self.h)

    def as_event(self, net: Cid) -> Event:
        """The event without its body; the signature is not looked at. Raises RemoteError."""
        return Event(self.id, parse_header(self.h, net=net), self.h, self.s, None, b"")


class Warrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event that lies about its place, with all its parents."""

    h: HeaderBytes
    s: Signature
    parents: Annotated[tuple[SignedHeader, ...], Meta(max_length=1 + PARENTS_MAX)]

    @classmethod
    def of(cls, event: Event, parents: Sequence[Event]) -> Warrant:
        """From verified events: one that was refused for its structure, and its parents in any order."""
        known = {parent.id: parent for parent in parents}
        above = tuple(SignedHeader.of(known[id]) for id in event.parents)
        return cls(event.header_bytes, event.signature, above)

    def encode(self) -> bytes:
        return canonical.encode(self)

    def header(self, net: Cid) -> Header:
        """Whose lie it is, and where. Raises RemoteError."""
        return parse_header(self.h, net=net)


def parse(data: bytes, *, net: Cid) -> Warrant:
    """Bytes -> a warrant that proves. Raises RemoteError with the codes of `canonical` and of headers, or
    `bad_proof`."""
    warrant = canonical.decode_as(Warrant, data, size_max=WARRANT_SIZE_MAX)
    check(warrant, net=net)
    return warrant


def check(warrant: Warrant, *, net: Cid) -> None:
    """Raises RemoteError unless the header is signed, these are its parents, and it lies about them.

    At most 10 signatures are checked, and none unless there is a lie.
    """
    accused = SignedHeader(warrant.h, warrant.s)
    event = accused.as_event(net)
    if tuple(parent.id for parent in warrant.parents) != event.parents:
        raise RemoteError("the headers beside it are not its parents, prev first", code="bad_proof")
    places = {parent.id: place_of(parent.as_event(net)) for parent in warrant.parents}
    try:
        check_structure(event, places)
    except RemoteError:
        pass
    else:
        raise RemoteError(f"{event} tells no lie about its place", code="bad_proof")
    for signed in (accused, *warrant.parents):
        by = parse_header(signed.h, net=net).by
        if not verify(Domain.EVENT, by, signed.h, signed.s):
            raise RemoteError(f"a header not signed by {by.hex()}", code="bad_proof")
