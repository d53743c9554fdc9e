"""Faults to bring before the rules: votes that contradict each other, forks, lies about a place."""

from __future__ import annotations

from typing import Any

from domain.effects import LaneClosed, Slashed
from domain.payloads import EvidenceFork, EvidenceVotes, EvidenceWarrant
from ledger import event as events
from ledger.cid import Cid
from ledger.event import Event
from ledger.evidence import VoteFault
from ledger.forks import ForkProof
from ledger.validators import epoch_length, epoch_of
from ledger.votes import Phase, SignedVote, Vote
from ledger.warrants import Warrant
from tests.domain.rules.world import World


class Court(World):
    """A world that remembers who was punished. Epochs are three checkpoints long."""

    def __init__(self, params: dict[str, int] | None = None, **given: Any) -> None:
        self.slashed: list[Slashed] = []
        self.closed: list[tuple[str, int]] = []
        quick = {"bond_min": 100, "unbond_ms": 60_000, "jail_ms": 60_000, "epoch_checkpoints": 3}
        super().__init__(quick | (params or {}), **given)

    def _fold(self, effect: Any) -> None:
        super()._fold(effect)
        if isinstance(effect, Slashed):
            self.slashed.append(effect)
        elif isinstance(effect, LaneClosed):
            self.closed.append((self.name(effect.author), effect.lane))

    @property
    def epoch(self) -> int:
        """Of the checkpoint that is being made."""
        return epoch_of(self.height, epoch_length(self.genesis))

    def close_epoch(self) -> None:
        """Until the next one begins."""
        before = self.epoch
        while self.epoch == before:
            self.close()

    # -- faults ---------------------------------------------------------------------------------------------

    def vote(self, name: str, phase: Phase, what: str | None, *, epoch: int = 0, slot: int = 1) -> SignedVote:
        named = None if what is None else Cid.of(what.encode())
        return SignedVote.make(self.key(name), Vote(self.genesis.net, epoch, slot, phase, named, self.time))

    def double_vote(self, name: str, *, epoch: int = 0, slot: int = 1) -> EvidenceVotes:
        one, other = (self.vote(name, Phase.NOTARIZE, what, epoch=epoch, slot=slot) for what in "ab")
        fault = VoteFault.of(one, other)
        return EvidenceVotes(fault.one, fault.other)

    def header(self, name: str, **fields: Any) -> Event:
        """An event at seq 5 of a lane of its own, unless `fields` say otherwise."""
        usual: dict[str, Any] = {
            "net": self.genesis.net,
            "lane": 0,
            "seq": 5,
            "prev": Cid.of(b"four"),
            "parents": (),
            "lc": 6,
            "ts": self.time,
            "kind": "transfer",
            "body": b"\xa0",
        }
        return events.make(self.key(name), **(usual | fields))

    def fork(self, name: str, *, lane: int = 0, seq: int = 5, acct: str | None = None) -> EvidenceFork:
        """`acct` is the account that the first of the two events is said to act for."""
        acting = {} if acct is None else {"acct": self.account(acct)}
        rivals = (
            self.header(name, lane=lane, seq=seq, ts=self.time),
            self.header(name, lane=lane, seq=seq, ts=self.time + 1, **acting),
        )
        return EvidenceFork(ForkProof.of(*rivals))

    def lie(self, name: str, *, seq: int = 6) -> EvidenceWarrant:
        before = self.header(name, seq=seq - 1)
        return EvidenceWarrant(
            Warrant.of(self.header(name, seq=seq, prev=before.id, lc=99, parents=()), [before])
        )
