"""The accuser: what this node found out about others, said once, so that it is punished.

    forks     ingest saw two events of one author at one place
    faults    a validator's votes contradict each other
    warrants  an event was placed where it cannot stand

Many nodes see the same fault at once. Each waits a while that it draws for itself, then looks whether
somebody's evidence is final already; so a fault costs the network a few events and not one from everybody.

Decides nothing: the rules judge the evidence. Knows what would be in vain: what was punished, whoever has
nothing to lose by it, and ourselves.

What must always hold: an offence is said at most once while this node runs; what waits is bounded, and what
finds no place is counted. Faults of votes that find none are shown again by whoever else saw them; forks are
in the store, and looked at again on the next start.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

import trio

from domain.payloads import EvidenceFork, EvidenceVotes, EvidenceWarrant, Payload
from domain.rules.bonds import bond_in
from domain.rules.evidence import (
    answerable,
    answers_in,
    is_closed,
    is_punished,
    vote_offence,
    warrant_offence,
)
from fog.replica_thread import ReplicaThread
from ledger.cid import Cid
from ledger.cut import lane_head
from ledger.errors import UsageError
from ledger.event import Event
from ledger.evidence import VoteFault
from ledger.forks import ForkProof
from ledger.state import State
from ledger.warrants import Warrant

log = logging.getLogger(__name__)

WAITING_MAX: Final = 64
"""Accusations that wait for their turn; each waits `patience`, so a flood of faults is said slowly."""

KNOWN_MAX: Final = 4_096
"""Offences remembered, so that they are said once: some 300 KB."""

PATIENCE_S: Final = 3.0
"""The longest wait before saying what others saw too: some checkpoints."""

Evidence: TypeAlias = EvidenceVotes | EvidenceFork | EvidenceWarrant
Say: TypeAlias = Callable[[Payload], Awaitable[Event]]


class Accuser:
    """Told by whoever finds faults; says them in `run`. `patience` gives the next wait in seconds."""

    def __init__(
        self, ledger: ReplicaThread, account: bytes, say: Say, patience: Callable[[], float]
    ) -> None:
        self._ledger = ledger
        self._account = account
        self._say = say
        self._patience = patience
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._found, self._waiting = trio.open_memory_channel[Evidence](WAITING_MAX)
        self.counts: Counter[str] = Counter()

    # -- what was found -------------------------------------------------------------------------------------

    def forks(self, proofs: Sequence[ForkProof]) -> None:
        for proof in proofs:
            self._take(EvidenceFork(proof))

    def faults(self, faults: Sequence[VoteFault]) -> None:
        for fault in faults:
            self._take(EvidenceVotes(fault.one, fault.other))

    def warrants(self, warrants: Sequence[Warrant]) -> None:
        for warrant in warrants:
            self._take(EvidenceWarrant(warrant))

    def _take(self, evidence: Evidence) -> None:
        name = offence_of(evidence, self._ledger.replica.net)
        if name in self._known:
            return
        try:
            self._found.send_nowait(evidence)
        except trio.WouldBlock:
            self.counts["dropped"] += 1
            return
        self._known[name] = None
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    # -- what is said ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Say what is worth saying, one after the other, until cancelled."""
        self.forks(await self._ledger.call(self._left_over))
        async for evidence in self._waiting:
            await trio.sleep(self._patience())
            if await self._ledger.call(self._is_worth_saying, evidence):
                await self._accuse(evidence)
            else:  # it may be worth it when it is found again
                self._known.pop(offence_of(evidence, self._ledger.replica.net), None)

    async def _accuse(self, evidence: Evidence) -> None:
        try:
            event = await self._say(evidence)
        except UsageError as error:
            log.warning("evidence could not be said: %s (%s)", error, error.code)
            self.counts["unsaid"] += 1
        else:
            log.warning("accused by %r", event)
            self.counts["said"] += 1

    def _left_over(self) -> list[ForkProof]:
        """Forks that an earlier run saw and that nobody punished. In the replica's thread."""
        proofs = self._ledger.replica.store.fork_proofs()
        worth = [proof for proof in proofs if self._is_worth_saying(EvidenceFork(proof))]
        return worth[:WAITING_MAX]

    def _is_worth_saying(self, evidence: Evidence) -> bool:
        replica = self._ledger.replica
        return is_worth_saying(evidence, replica.state, replica.net, self._account)

    def __repr__(self) -> str:
        return f"<Accuser waiting={self._waiting.statistics().current_buffer_used} {dict(self.counts)}>"


def is_worth_saying(evidence: Evidence, state: State, net: Cid, account: bytes) -> bool:
    """Whether evidence that was checked would change something in `state`; `account` is our own.

    A fork closes its lane by itself as soon as both branches are ordered: only a bond is worth more words.
    """
    answers = partial(answers_in, state)
    closes = False
    match evidence:
        case EvidenceVotes():
            offenders = [evidence.one.by]
            done = is_punished(state, vote_offence(evidence.one.by, evidence.one.vote.epoch))
        case EvidenceWarrant():
            header = evidence.warrant.header(net)
            offenders = answerable(answers, header)
            done = is_punished(state, warrant_offence(header.by, header.lane, header.seq))
        case EvidenceFork():
            header, other = evidence.proof.headers(net)
            offenders = answerable(answers, header, other)
            done = is_closed(state, header.by, header.lane)
            head = lane_head(state, header.by, header.lane)
            closes = head is None or not head.closed
    if done or account in offenders:
        return False
    return closes or any(bond_in(state, offender).at_stake for offender in offenders)


def offence_of(evidence: Evidence, net: Cid) -> bytes:
    """A name for what the evidence is about: two pieces of one offence have one name."""
    match evidence:
        case EvidenceVotes():
            return vote_offence(evidence.one.by, evidence.one.vote.epoch)
        case EvidenceWarrant():
            header = evidence.warrant.header(net)
            return warrant_offence(header.by, header.lane, header.seq)
        case EvidenceFork():
            header = evidence.proof.header(net)
            return b"f" + header.by + bytes((header.lane,))
