"""Wire values for tests, drawn from a label: the same label gives the same value on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from ledger import event
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.event import LANE_BULK, LANE_LEDGER, LANE_VOTES, Event
from ledger.evidence import VoteFault
from ledger.genesis import Allocation, Genesis, Validator
from ledger.signing import SigningKey
from ledger.types import INT63_MAX
from ledger.validators import ValidatorSet
from ledger.votes import Ballot, Certificate, Phase, Proposal, SignedVote, Vote


class Draw:
    """A stream of choices. Numbers are drawn near the places where encodings change length."""

    EDGES = (0, 1, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53, INT63_MAX)

    def __init__(self, *label: object) -> None:
        self._label = repr(label).encode()
        self._count = 0

    def digest(self) -> bytes:
        self._count += 1
        return hashlib.sha256(self._label + self._count.to_bytes(8, "big")).digest()

    def below(self, limit: int) -> int:
        return int.from_bytes(self.digest(), "big") % limit

    def uint(self, least: int = 0) -> int:
        edge = self.EDGES[self.below(len(self.EDGES))]
        return max(least, edge if self.below(2) else self.below(edge + 1))

    def maybe(self) -> bool:
        return self.below(2) == 1

    def cid(self) -> Cid:
        return Cid.of(self.digest())

    def cids(self, most: int) -> tuple[Cid, ...]:
        return tuple(sorted(self.cid() for _ in range(self.below(most + 1))))

    def key(self) -> SigningKey:
        return SigningKey(self.digest())


def genesis(draw: Draw) -> Genesis:
    def keys(most: int) -> Iterator[bytes]:
        return iter(sorted(draw.key().public for _ in range(draw.below(most) + 1)))

    return Genesis(
        v=1,
        name=f"network {draw.below(1000)}",
        created=draw.uint(),
        rules=1,
        validators=tuple(Validator(key, 1 + draw.below(2**32)) for key in keys(5)),
        accounts=tuple(Allocation(key, draw.below(2**53)) for key in keys(5)),
        params={f"param_{n}": draw.uint() for n in range(draw.below(4))},
    )


def an_event(draw: Draw, *, net: Cid | None = None) -> Event:
    seq = draw.uint()
    body = {"amount": draw.uint(), "to": draw.digest(), "memo": "grüß dich" if draw.maybe() else None}
    return event.make(
        draw.key(),
        net=net or draw.cid(),
        lane=(LANE_LEDGER, LANE_VOTES, LANE_BULK)[draw.below(3)],
        seq=seq,
        prev=draw.cid() if seq else None,
        parents=draw.cids(8),
        lc=draw.uint(1),
        ts=draw.uint(),
        kind=("account.transfer", "job.submit", "x")[draw.below(3)],
        version=1 + draw.below(300),
        body=body,
        acct=draw.digest() if draw.maybe() else None,
        exp=draw.uint() if draw.maybe() else None,
    )


def checkpoint(draw: Draw, *, net: Cid | None = None) -> Checkpoint:
    height = draw.uint(1)
    return Checkpoint(
        v=2,
        net=net or draw.cid(),
        epoch=draw.uint(),
        slot=draw.uint(1),
        height=height,
        parent=draw.cid() if height > 1 else None,
        cert=draw.cid() if height > 1 else None,
        tips=draw.cids(9),
        delta=draw.cid(),
        n=draw.uint(),
        eroot=draw.digest(),
        sroot=draw.digest(),
        rroot=draw.digest(),
        T=draw.uint(),
        vnext=draw.cid(),
    )


def vote(draw: Draw) -> SignedVote:
    phase = tuple(Phase)[draw.below(4)]
    target = None if phase is Phase.SKIP else draw.cid()
    said = Vote(draw.cid(), draw.uint(), draw.uint(1), phase, target, draw.uint())
    return SignedVote.make(draw.key(), said)


def certificate(draw: Draw, *, net: Cid | None = None, keys: list[SigningKey] | None = None) -> Certificate:
    """Votes of one phase by all of `keys` (by default one to four new ones)."""
    keys = keys or [draw.key() for _ in range(1 + draw.below(4))]
    phase = (Phase.NOTARIZE, Phase.FINALIZE, Phase.SKIP)[draw.below(3)]
    target = None if phase is Phase.SKIP else draw.cid()
    net, epoch, slot = net or draw.cid(), draw.uint(), draw.uint(1)
    ballots = []
    for key in sorted(keys, key=lambda key: key.public):
        ts = draw.uint()
        signed = SignedVote.make(key, Vote(net, epoch, slot, phase, target, ts))
        ballots.append(Ballot(key.public, ts, signed.sig))
    return Certificate(2, net, epoch, slot, phase, target, tuple(ballots))


def proposal(draw: Draw) -> Proposal:
    net = draw.cid()
    body, key = checkpoint(draw, net=net), draw.key()
    vote = Vote(net, body.epoch, body.slot, Phase.PROPOSE, body.id, draw.uint())
    parent = b"" if body.parent is None else certificate(draw, net=net).encode()
    return Proposal(SignedVote.make(key, vote), body.encode(), parent)


def vote_fault(draw: Draw) -> VoteFault:
    key, net, epoch, slot = draw.key(), draw.cid(), draw.uint(), draw.uint(1)
    one, other = (
        SignedVote.make(key, Vote(net, epoch, slot, Phase.NOTARIZE, draw.cid(), draw.uint()))
        for _ in range(2)
    )
    return VoteFault.of(one, other)


def validator_set(draw: Draw) -> ValidatorSet:
    return ValidatorSet.of(Validator(draw.key().public, draw.uint(1)) for _ in range(1 + draw.below(5)))
