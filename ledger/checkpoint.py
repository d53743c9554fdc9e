"""Checkpoints, votes and certificates: the objects that finality is about.

A checkpoint names a causally closed cut of the DAG, the canonical order of the new events in it, and the
roots after executing them. A vote is one validator's signed word on one checkpoint in one slot. A
certificate is votes by more than two thirds of the stake: the proof that a checkpoint is final.

These are plain values and their encodings. Who votes when is `ledger.finality`; what executing means is
`ledger.execution`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.genesis import VALIDATORS_MAX
from ledger.signing import Domain, SigningKey, verify
from ledger.types import Digest, Key, Millis, Signature, Uint

TIPS_MAX = 64
DELTA_EVENTS_MAX = 2_000
DELTA_BYTES_MAX = 2 * 1024 * 1024
CHECKPOINT_SIZE_MAX = 8 * 1024
CERTIFICATE_SIZE_MAX = 32 * 1024
assert CERTIFICATE_SIZE_MAX > VALIDATORS_MAX * (32 + 64 + 16 + 24), "a full certificate must fit"


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One link of the final chain.

    height  1 above the parent; genesis counts as height 0 and has no checkpoint (parent = null at 1)
    tips    at most 64 event ids; delta = closure(tips) without closure(parent's tips)
    delta   Cid of the DAG-CBOR list of event ids in canonical order
    n       leaves in the event tree after this checkpoint;  eroot  its RFC 6962 root
    sroot   root of the state map after it;  rroot  RFC 6962 root over its receipts
    T       ledger time (unix ms): max(T of parent + 1, weighted median of the parent's vote times)
    vnext   Cid of the validator set of the next epoch
    """

    v: Annotated[int, Meta(ge=1, le=1)]
    net: Cid
    epoch: Uint
    slot: Uint
    height: Uint
    parent: Cid | None
    skips: tuple[Cid, ...]
    tips: Annotated[tuple[Cid, ...], Meta(max_length=TIPS_MAX)]
    delta: Cid
    n: Uint
    eroot: Digest
    sroot: Digest
    rroot: Digest
    T: Millis
    vnext: Cid

    def encode(self) -> bytes:
        return canonical.encode(self)

    @property
    def id(self) -> Cid:
        return Cid.of(self.encode())


class Phase(enum.IntEnum):
    """Which of the three votes of Simplex."""

    NOTARIZE = 1
    FINALIZE = 2
    SKIP = 3


class Vote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`checkpoint` is null exactly when the phase is SKIP. `ts` is the voter's clock in unix ms."""

    net: Cid
    phase: Annotated[int, Meta(ge=1, le=3)]
    slot: Uint
    checkpoint: Cid | None
    ts: Millis


class SignedVote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vote: Vote
    by: Key
    sig: Signature

    @classmethod
    def make(cls, key: SigningKey, vote: Vote) -> SignedVote:
        return cls(vote, key.public, key.sign(Domain.VOTE, canonical.encode(vote)))

    def is_genuine(self) -> bool:
        return verify(Domain.VOTE, self.by, canonical.encode(self.vote), self.sig)


class Ballot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One voter's line in a certificate: the parts of its vote that differ between voters."""

    by: Key
    ts: Millis
    sig: Signature


class Certificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Finalize votes for one checkpoint, sorted by key, by more than two thirds of the stake."""

    v: Annotated[int, Meta(ge=1, le=1)]
    net: Cid
    slot: Uint
    checkpoint: Cid
    votes: Annotated[tuple[Ballot, ...], Meta(min_length=1, max_length=VALIDATORS_MAX)]

    def encode(self) -> bytes:
        return canonical.encode(self)

    @property
    def id(self) -> Cid:
        return Cid.of(self.encode())


def is_quorum(weight: int, total: int) -> bool:
    """More than two thirds of the stake, without fractions."""
    return 3 * weight > 2 * total


def parse_checkpoint(data: bytes, *, net: Cid) -> Checkpoint:
    """Bytes -> Checkpoint. RemoteError: `oversize`, `non_canonical`, `bad_schema`, `wrong_network`."""
    checkpoint = canonical.decode_as(Checkpoint, data, size_max=CHECKPOINT_SIZE_MAX)
    if checkpoint.net != net:
        raise RemoteError(f"checkpoint of network {checkpoint.net}, this is {net}", code="wrong_network")
    if (checkpoint.height == 1) != (checkpoint.parent is None) or checkpoint.height == 0:
        raise RemoteError("heights begin at 1, and only height 1 has no parent", code="bad_schema")
    if any(a >= b for a, b in pairwise(checkpoint.tips)):
        raise RemoteError("tips must be sorted and without repeats", code="bad_schema")
    return checkpoint


def parse_certificate(data: bytes, *, net: Cid, stakes: Mapping[bytes, int]) -> Certificate:
    """Bytes -> Certificate, with every signature and the quorum checked.

    `stakes` maps each validator's key to its stake in the checkpoint's epoch.
    Raises RemoteError (`oversize`, `non_canonical`, `bad_schema`, `wrong_network`, `bad_certificate`).
    """
    certificate = canonical.decode_as(Certificate, data, size_max=CERTIFICATE_SIZE_MAX)
    if certificate.net != net:
        raise RemoteError(f"certificate of network {certificate.net}, this is {net}", code="wrong_network")
    voters = [ballot.by for ballot in certificate.votes]
    if any(a >= b for a, b in pairwise(voters)):
        raise RemoteError("votes must be sorted by key and without repeats", code="bad_schema")
    weight = 0
    for ballot in certificate.votes:
        if ballot.by not in stakes:
            raise RemoteError(f"{ballot.by.hex()} is not a validator", code="bad_certificate")
        vote = Vote(net, Phase.FINALIZE, certificate.slot, certificate.checkpoint, ballot.ts)
        if not SignedVote(vote, ballot.by, ballot.sig).is_genuine():
            raise RemoteError(f"vote not signed by {ballot.by.hex()}", code="bad_certificate")
        weight += stakes[ballot.by]
    if not is_quorum(weight, sum(stakes.values())):
        raise RemoteError(
            f"votes of {weight} out of {sum(stakes.values())} stake are not more than two thirds",
            code="bad_certificate",
        )
    return certificate
