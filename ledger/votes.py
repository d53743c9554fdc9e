"""Votes, certificates and proposals: what validators say to each other until a checkpoint is final.

    vote          one validator's signed word on one checkpoint in one slot of one epoch
    certificate   the same word by more than two thirds of an epoch's stake
    proposal      a leader's vote of phase PROPOSE, with the checkpoint it names and the certificate of the
                  parent that it builds on

These are plain values, their encodings and what can be judged of them alone. Who votes when is
`ledger.simplex`; two votes that contradict each other are `ledger.evidence`.

A vote signs everything in it under the domain VOTE, so no vote is valid in another network, epoch or slot.
Votes are not events: they would have to be ordered by the very checkpoints that they are about.

Fuzz contract: every parser here gives a value or raises RemoteError.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from ledger import canonical
from ledger.checkpoint import CHECKPOINT_SIZE_MAX
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.genesis import VALIDATORS_MAX
from ledger.signing import Domain, SigningKey, verify
from ledger.types import Key, Millis, Signature, Uint
from ledger.validators import ValidatorSet

VERSION: Final = 2
CERTIFICATE_SIZE_MAX: Final = 32 * 1024
VOTE_SIZE_MAX: Final = 512
MESSAGE_SIZE_MAX: Final = CHECKPOINT_SIZE_MAX + CERTIFICATE_SIZE_MAX + VOTE_SIZE_MAX + 256  # 256: framing
GENUINE_MAX: Final = 4 * VALIDATORS_MAX
"""Votes whose signatures are remembered (half a KiB each): a vote comes alone, and again in certificates."""

assert CERTIFICATE_SIZE_MAX > VALIDATORS_MAX * (32 + 64 + 16 + 24), "a full certificate must fit"


class Phase(enum.IntEnum):
    """What a vote says of its slot."""

    PROPOSE = 0
    """By the leader alone: this is the one checkpoint that I propose here."""

    NOTARIZE = 1
    """I executed it, it gave the same roots, and it is the first that I saw here."""

    FINALIZE = 2
    """A quorum notarized it, and I did not, and will never, skip this slot."""

    SKIP = 3
    """I waited long enough: let us go on without this slot."""


class Vote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`checkpoint` is null exactly when the phase is SKIP. `ts` is the voter's clock in unix ms."""

    net: Cid
    epoch: Uint
    slot: Uint
    phase: Annotated[int, Meta(ge=0, le=3)]
    checkpoint: Cid | None
    ts: Millis

    @property
    def place(self) -> tuple[int, int]:
        """(epoch, slot)."""
        return self.epoch, self.slot


class SignedVote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="vote"):
    vote: Vote
    by: Key
    sig: Signature

    @classmethod
    def make(cls, key: SigningKey, vote: Vote) -> SignedVote:
        return cls(vote, key.public, key.sign(Domain.VOTE, canonical.encode(vote)))

    def is_genuine(self) -> bool:
        return _is_genuine(self)

    def encode(self) -> bytes:
        return canonical.encode(self)

    def __repr__(self) -> str:
        vote = self.vote
        what = "" if vote.checkpoint is None else f" {str(vote.checkpoint)[-8:]}"
        return f"<{Phase(vote.phase).name} {vote.epoch}/{vote.slot}{what} by {self.by.hex()[:8]}>"


@lru_cache(maxsize=GENUINE_MAX)
def _is_genuine(signed: SignedVote) -> bool:
    return verify(Domain.VOTE, signed.by, canonical.encode(signed.vote), signed.sig)


class Ballot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One voter's line in a certificate: the parts of its vote that differ between voters."""

    by: Key
    ts: Millis
    sig: Signature


class Certificate(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="certificate", dict=True
):
    """One word on one slot by more than two thirds of the epoch's stake; votes sorted by key.

    `slot` is the one that was voted in. It lies above the checkpoint's own when that was proposed again.
    """

    v: Annotated[int, Meta(ge=VERSION, le=VERSION)]
    net: Cid
    epoch: Uint
    slot: Uint
    phase: Annotated[int, Meta(ge=1, le=3)]
    checkpoint: Cid | None
    votes: Annotated[tuple[Ballot, ...], Meta(min_length=1, max_length=VALIDATORS_MAX)]

    @classmethod
    def of(cls, votes: Sequence[SignedVote]) -> Certificate:
        """From genuine votes that say the same; whoever calls has counted that they are enough."""
        said = votes[0].vote
        ballots = sorted((Ballot(one.by, one.vote.ts, one.sig) for one in votes), key=lambda one: one.by)
        return cls(VERSION, said.net, said.epoch, said.slot, said.phase, said.checkpoint, tuple(ballots))

    def encode(self) -> bytes:
        return canonical.encode(self)

    @cached_property
    def id(self) -> Cid:
        return Cid.of(self.encode())

    @property
    def place(self) -> tuple[int, int]:
        """(epoch, slot)."""
        return self.epoch, self.slot

    def ballots(self) -> tuple[SignedVote, ...]:
        """The votes themselves, put together again."""
        return tuple(
            SignedVote(
                Vote(self.net, self.epoch, self.slot, self.phase, self.checkpoint, ballot.ts),
                ballot.by,
                ballot.sig,
            )
            for ballot in self.votes
        )

    def __repr__(self) -> str:
        what = "" if self.checkpoint is None else f" {str(self.checkpoint)[-8:]}"
        return (
            f"<Certificate {Phase(self.phase).name} {self.epoch}/{self.slot}{what} votes={len(self.votes)}>"
        )


class Proposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="proposal"):
    """What a leader sends for its slot.

    vote        its own, of phase PROPOSE, in the slot
    checkpoint  the bytes that the vote names: a new one of this slot, or an older one proposed again
    parent      the certificate that the checkpoint names as `cert`; empty at height 1
    """

    vote: SignedVote
    checkpoint: Annotated[bytes, Meta(max_length=CHECKPOINT_SIZE_MAX)]
    parent: Annotated[bytes, Meta(max_length=CERTIFICATE_SIZE_MAX)]

    def encode(self) -> bytes:
        return canonical.encode(self)

    def __repr__(self) -> str:
        return f"<Proposal {self.vote!r}>"


Message: TypeAlias = Proposal | SignedVote | Certificate
"""What travels between validators; `t` on the wire names which one."""


def parse_message(data: bytes, *, net: Cid) -> Message:
    """Bytes -> a message of this network. Signatures and stakes are judged by `check`.

    Raises RemoteError: `oversize`, `non_canonical`, `bad_schema`, `wrong_network`.
    """
    message: Message = canonical.decode_as(Message, data, size_max=MESSAGE_SIZE_MAX)  # type: ignore[arg-type]
    _check_shape(message, net)
    return message


def parse_certificate(data: bytes, *, net: Cid, validators: ValidatorSet) -> Certificate:
    """Bytes -> Certificate, with every signature and the quorum checked against an epoch's validators.

    Raises RemoteError: `oversize`, `non_canonical`, `bad_schema`, `wrong_network`, `bad_certificate`.
    """
    certificate = parse_certificate_shape(data, net=net)
    check_certificate(certificate, validators)
    return certificate


def parse_certificate_shape(data: bytes, *, net: Cid) -> Certificate:
    """Bytes -> Certificate of this network, in the one form that it has. `check_certificate` judges the rest.

    Raises RemoteError: `oversize`, `non_canonical`, `bad_schema`, `wrong_network`.
    """
    certificate = canonical.decode_as(Certificate, data, size_max=CERTIFICATE_SIZE_MAX)
    _check_shape(certificate, net)
    return certificate


def decode_certificate(data: bytes) -> Certificate:
    """Bytes that this node verified before it stored them."""
    return canonical.decode_as(Certificate, data, size_max=CERTIFICATE_SIZE_MAX)


def check_vote(signed: SignedVote, validators: ValidatorSet) -> None:
    """Raises RemoteError (`bad_vote`) unless it is signed by a validator of the epoch."""
    if signed.by not in validators.stakes:
        raise RemoteError(f"{signed.by.hex()} is not a validator", code="bad_vote")
    if not signed.is_genuine():
        raise RemoteError(f"a vote not signed by {signed.by.hex()}", code="bad_vote")


def check_certificate(certificate: Certificate, validators: ValidatorSet) -> None:
    """Raises RemoteError (`bad_certificate`) unless more than two thirds of the stake signed it."""
    for ballot in certificate.votes:
        if ballot.by not in validators.stakes:
            raise RemoteError(f"{ballot.by.hex()} is not a validator", code="bad_certificate")
    check_vouched(certificate, validators)


def check_vouched(certificate: Certificate, known: ValidatorSet) -> None:
    """Raises RemoteError (`bad_certificate`) unless more than two thirds of this stake signed it, which may
    be that of another epoch: votes of others are not looked at."""
    weight = known.weight(ballot.by for ballot in certificate.votes)
    if not known.is_quorum(weight):
        raise RemoteError(
            f"votes of {weight} out of {known.total} stake are not more than two thirds",
            code="bad_certificate",
        )
    for signed in certificate.ballots():
        if signed.by in known.stakes and not signed.is_genuine():
            raise RemoteError(f"vote not signed by {signed.by.hex()}", code="bad_certificate")


def _check_shape(message: Message, net: Cid) -> None:
    """What the schema cannot say."""
    if isinstance(message, Proposal):
        _check_shape(message.vote, net)
        if message.vote.vote.phase != Phase.PROPOSE or message.vote.vote.checkpoint != Cid.of(
            message.checkpoint
        ):
            raise RemoteError("a proposal's vote must propose its checkpoint", code="bad_schema")
        return
    said = message.vote if isinstance(message, SignedVote) else message
    if said.net != net:
        raise RemoteError(f"a word of network {said.net}, this is {net}", code="wrong_network")
    if said.slot == 0:
        raise RemoteError("slots begin at 1", code="bad_schema")
    if (said.phase == Phase.SKIP) != (said.checkpoint is None):
        raise RemoteError("exactly a vote to skip names no checkpoint", code="bad_schema")
    if isinstance(message, Certificate) and any(a.by >= b.by for a, b in pairwise(message.votes)):
        raise RemoteError("votes must be sorted by key and without repeats", code="bad_schema")
