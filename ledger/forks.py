"""Forks: two events at one place, and the proof that their author signed both.

A fork is two ids at one (net, by, lane, seq). Nobody chooses a branch: both may sit in the DAG, so an honest
event that referenced the loser is not poisoned, and the total order decides which one is effective
(`ledger.cut`). What is to be known at once is *that* it happened: the proof is the two signed headers, valid
whatever their bodies say.

Knows headers and signatures. Does not know which branch is effective, or what a fork costs.

What must always hold: a proof that `parse` accepts convinces anybody who knows the network's id, alone; two
proofs about the same two events are the same bytes, but for the choice among valid signatures.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.event import HEADER_SIZE_MAX, Event, Header, parse_header
from ledger.signing import Domain, verify
from ledger.types import Signature

PROOF_SIZE_MAX: Final = 2 * (HEADER_SIZE_MAX + 64) + 64  # 64: keys and lengths

HeaderBytes = Annotated[bytes, Meta(max_length=HEADER_SIZE_MAX)]


class ForkProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two headers at one place with their signatures, the one with the smaller id first."""

    h1: HeaderBytes
    s1: Signature
    h2: HeaderBytes
    s2: Signature

    @classmethod
    def of(cls, one: Event, other: Event) -> ForkProof:
        """The proof from two verified events that stand at one place."""
        assert (one.lane, one.header.seq) == (other.lane, other.header.seq), f"{one} and {other} are no fork"
        assert one.id != other.id, f"{one} twice is no fork"
        first, second = sorted((one, other), key=lambda event: event.id)
        return cls(first.header_bytes, first.signature, second.header_bytes, second.signature)

    def encode(self) -> bytes:
        return canonical.encode(self)

    @property
    def ids(self) -> tuple[Cid, Cid]:
        return Cid.of(self.h1), Cid.of(self.h2)

    def headers(self, net: Cid) -> tuple[Header, Header]:
        """Raises RemoteError."""
        return parse_header(self.h1, net=net), parse_header(self.h2, net=net)

    def header(self, net: Cid) -> Header:
        """One of the two headers: they agree on everything that says whose fork it is, and where."""
        return parse_header(self.h1, net=net)


def parse(data: bytes, *, net: Cid) -> ForkProof:
    """Bytes -> a proof that proves. Raises RemoteError with the codes of `canonical` and of headers, or
    `bad_proof`."""
    proof = canonical.decode_as(ForkProof, data, size_max=PROOF_SIZE_MAX)
    check(proof, net=net)
    return proof


def check(proof: ForkProof, *, net: Cid) -> None:
    """Raises RemoteError unless the two headers are one author's, at one place, different, and signed."""
    one, other = parse_header(proof.h1, net=net), parse_header(proof.h2, net=net)
    if (one.by, one.lane, one.seq) != (other.by, other.lane, other.seq):
        raise RemoteError("the two headers are not at one place", code="bad_proof")
    if not proof.ids[0] < proof.ids[1]:
        raise RemoteError("the two headers must be different, smaller id first", code="bad_proof")
    for header_bytes, signature in ((proof.h1, proof.s1), (proof.h2, proof.s2)):
        if not verify(Domain.EVENT, one.by, header_bytes, signature):
            raise RemoteError(f"a header not signed by {one.by.hex()}", code="bad_proof")
