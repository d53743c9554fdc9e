"""The liars who are many: bounds that hold for a lane, an account or a key, met by more of them."""

from __future__ import annotations

import hashlib
from typing import ClassVar, Final

from domain.payloads import (
    EscrowOpen,
    EvidenceFork,
    EvidenceVotes,
    IdentityDelegate,
    IdentityRevoke,
    JobSubmit,
    Offer,
    Payload,
    StakeBond,
    Transfer,
)
from fog.sim.habits import Habit, Liar
from fog.sim.pen import Pen
from ledger.cid import Cid
from ledger.event import Event
from ledger.evidence import VoteFault
from ledger.forks import ForkProof
from ledger.pending import PENDING_PER_LANE_MAX
from ledger.signing import SigningKey
from ledger.votes import Phase, SignedVote, Vote


class SponsorTree(Habit):
    """Pays a few keys of its own, which pay a few more each, and has all of them fill lanes and markets."""

    every_ms = 45_000
    branches: ClassVar[int] = 4
    """Keys that each key pays: 4 and 16 of them, every time."""

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._grown = 0

    def act(self) -> None:
        now = self.liar.now
        for _ in range(self.branches):
            child, grown = self._pen(), list[Event]()
            paid = self.liar.append(Transfer(child.key.public, 5_000))
            grown.append(child.say(self._statement(now), now, seen=[] if paid is None else [paid]))
            for _ in range(self.branches):
                leaf = self._pen()
                grown.append(child.say(Transfer(leaf.key.public, 500), now))
                grown.append(leaf.say(self._statement(now), now))
            self.tell(*grown)

    def _pen(self) -> Pen:
        self._grown += 1
        return Pen(self.stranger(10**9 + self._grown), self.pen.net)

    def _statement(self, now: int) -> Payload:
        """What each account may say for little or nothing."""
        engine = hashlib.sha256(b"an engine of nobody").digest()
        match self.draw.randrange(5):
            case 0:
                return Offer(2, 0, max(0, now + 80_000), engine)
            case 1:
                spec = Cid.of(self.draw.randbytes(8))
                return JobSubmit(spec, 3, 1, 0, 1_000, max(0, now + 50_000), engine, 0)
            case 2:
                return EscrowOpen(self.liar.key.public, 1, 10**6, max(0, now + 10**9))
            case 3:
                return IdentityDelegate(self.draw.randbytes(32))
            case _:
                return StakeBond(1)


class RateDodger(Habit):
    """Spreads over many lanes what is bounded for one: events that wait for ever, and forks."""

    every_ms = 60_000
    lanes: Final = 16
    forks: Final = 2

    def act(self) -> None:
        now = self.liar.now
        victim = self.draw.choice([node for node in self.liar.ground.nodes if node is not self.liar])
        for _ in range(self.lanes):
            pen = Pen(self._key(), self.pen.net)
            tail = [pen.say(self.payment(), now) for _ in range(PENDING_PER_LANE_MAX * 2 // 3)]
            self.tell(*tail[1:], to=[victim])
        for _ in range(self.forks):
            pen = Pen(self._key(), self.pen.net)
            one, other = pen.write(self.payment(), now), pen.write(self.payment(), now + 1)
            left, right = self.halves()
            self.tell(one, to=left)
            self.tell(other, to=right)

    def _key(self) -> SigningKey:
        return self.stranger(self.draw.randrange(2 * 10**9, 3 * 10**9))


class Slanderer(Habit):
    """Accuses honest nodes of what they never signed, under many keys: to refuse it costs work."""

    every_ms = 30_000
    at_once: Final = 6

    def act(self) -> None:
        now = self.liar.now
        honest = [node for node in self.liar.ground.nodes if not node.is_liar]
        for _ in range(self.at_once):
            victim = self.draw.choice(honest).key.public
            pen = Pen(self.stranger(self.draw.randrange(3 * 10**9, 4 * 10**9)), self.pen.net)
            lie = self._votes(victim) if self.draw.randrange(2) else self._fork(victim)
            self.tell(pen.say(lie, now))

    def _votes(self, victim: bytes) -> EvidenceVotes:
        voter, now = self.liar.replica._voting.voter, max(0, self.liar.now)
        names: tuple[Cid | None, ...] = (Cid.of(self.draw.randbytes(8)), None)
        phases = (Phase.FINALIZE, Phase.SKIP)
        forged = [
            SignedVote(
                Vote(self.pen.net, voter.epoch, voter.slot, phase, name, now), victim, self.draw.randbytes(64)
            )
            for phase, name in zip(phases, names, strict=True)
        ]
        fault = VoteFault.of(*forged)
        return EvidenceVotes(fault.one, fault.other)

    def _fork(self, victim: bytes) -> EvidenceFork:
        """Two headers in the victim's name, signed by somebody else."""
        pen = Pen(self.stranger(), self.pen.net)
        pen.key = Impersonated(pen.key.seed, victim)
        one, other = pen.write(self.payment(), self.liar.now), pen.write(self.payment(), self.liar.now + 1)
        return EvidenceFork(ForkProof.of(one, other))


class Dropper(Habit):
    """Spends twice through a device of its account, and drops the device before anybody says so."""

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._devices = 0
        self._device: Pen | None = None

    def act(self) -> None:
        if self._device is None:
            self._devices += 1
            self._device = Pen(self.stranger(4 * 10**9 + self._devices), self.pen.net)
            self.liar.append(IdentityDelegate(self._device.key.public))
            return
        account, now = self.liar.key.public, self.liar.now
        one, other = (self._device.write(self.payment(900_000), now, acct=account) for _ in range(2))
        left, right = self.halves()
        self.tell(one, to=left)
        self.tell(other, to=right)
        self.liar.append(IdentityRevoke(self._device.key.public))
        self._device = None


class Finder(Habit):
    """Found the key of a phone that honest people dropped: forks its lane in their name, and accuses them."""

    every_ms = 20_000

    def act(self) -> None:
        lost = [phone for phone in self.liar.ground.phones if phone.is_lost]
        if not lost:
            return
        phone, now = self.draw.choice(lost), self.liar.now
        account = phone.owner.key.public
        one, other = (phone.pen.write(self.payment(), now, acct=account) for _ in range(2))
        left, right = self.halves()
        self.tell(one, to=left)
        self.tell(other, to=right)
        self.liar.append(EvidenceFork(ForkProof.of(one, other)))


class Impersonated(SigningKey):
    """Signs with one key, and says that it is another."""

    def __init__(self, seed: bytes, name: bytes) -> None:
        super().__init__(seed)
        self.public = name


CROWD_LIARS: Final[dict[str, type[Habit]]] = {
    habit.name(): habit for habit in (SponsorTree, RateDodger, Slanderer, Dropper, Finder)
}
