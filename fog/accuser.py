"""The accuser: what this node found out about others, said once, so that it is punished.

    forks     ingest saw two events of one author at one place
    faults    a validator's votes contradict each other
    warrants  an event was placed where it cannot stand

Many nodes see the same fault at once. Each waits a while that it draws for itself, then looks whether
somebody's evidence is final already; so a fault costs the network a few events and not one from everybody.

Anybody can make keys and fork them, as many as it likes; faults of votes are told of once. So what waits is
said by how grave it is, and each sort has places of its own:

    votes      of somebody with a bond
    bonds      other offences of somebody with a bond, a few of each
    strangers  forks of those who have nothing to lose but a lane

Decides nothing: the rules judge the evidence. Knows what would be in vain: what was punished, whoever has
nothing to lose by it, and ourselves.

Of one lane more than one fork may be worth saying: each for others who answer for it. Whether its lane is
closed already does not matter then.

Said is not looked at: the rules look at so much of one account in a checkpoint (`domain.rules.checks`). So no
more of ours than that waits to become final; and what is worth saying still when it is final was refused, and
is said again, some times.

What must always hold: an offence is said once while this node runs, and again only if that did not help, at
most TRIES_MAX times; what waits is bounded, and what finds no place is counted; nothing that costs nobody a
bond takes the place or the turn of what does. Forks are in the store: what found no place is looked for there
when its sort has been said, after some turns at the latest, and on the next start, what costs most first: who
answered for nothing when it was found may do so by then.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple, TypeAlias

import trio

from domain.payloads import EvidenceFork, EvidenceVotes, EvidenceWarrant, Payload
from domain.rules import checks
from domain.rules.accounts import is_known
from domain.rules.bonds import bond_in
from domain.rules.evidence import (
    answerable,
    answers_in,
    is_closed,
    is_done_with,
    is_punished,
    vote_offence,
    warrant_offence,
)
from fog.pulse import Pulse
from fog.replica_thread import ReplicaThread
from ledger.cid import Cid
from ledger.cut import lane_head
from ledger.errors import UsageError
from ledger.event import Event, Header
from ledger.evidence import VoteFault
from ledger.forks import ForkProof
from ledger.replica import Replica
from ledger.state import State
from ledger.validators import epoch_length, epoch_of
from ledger.warrants import Warrant

log = logging.getLogger(__name__)

WAITING_MAX: Final = 64
"""Accusations of strangers that wait for their turn; each waits `patience`, so a flood is said slowly."""

GRAVE_MAX: Final = 256
"""Those of votes, and those of others with a bond: as many as may be checked in a checkpoint
(`domain.rules.checks`); there are 100 validators at most. 2.5 MB if all are as large as they may be."""

OF_ONE_AUTHOR_MAX: Final = 8
"""Of one key, of each sort: a liar has many places to lie about, and accounts to name."""

KNOWN_MAX: Final = 4_096
"""Offences remembered, so that they are said once: under a megabyte."""

READ_MAX: Final = 256
"""Proofs of forks that are read from the store in one turn of the replica, which has votes to cast."""

TRIES_MAX: Final = 8
"""Checkpoints that may refuse one offence before we leave it to others, and to the next start: whoever has a
bond is looked at sooner (`domain.rules.checks`)."""

PATIENCE_S: Final = 3.0
"""The longest wait before saying what others saw too: some checkpoints."""

Evidence: TypeAlias = EvidenceVotes | EvidenceFork | EvidenceWarrant
Say: TypeAlias = Callable[[Payload], Awaitable[Event]]
Sort: TypeAlias = Literal["votes", "bonds", "strangers"]

PLACES: Final[dict[Sort, int]] = {"votes": GRAVE_MAX, "bonds": GRAVE_MAX, "strangers": WAITING_MAX}
"""The gravest first."""


class View(NamedTuple):
    """What evidence is held against: the last final state, the network, the ledger time of that state.

    `epoch`: of the next height, in which what is said now is ordered at the earliest.
    """

    state: State
    net: Cid
    time: int
    epoch: int

    @classmethod
    def of(cls, replica: Replica) -> View:
        last, genesis = replica.last, replica.genesis
        time = genesis.created if last is None else last.checkpoint.T
        return cls(replica.state, replica.net, time, epoch_of(replica.height + 1, epoch_length(genesis)))


class Waiting(NamedTuple):
    """`name`: of the offence; `author`: who signed it; `tries`: how often it was said already."""

    author: bytes
    name: bytes
    evidence: Evidence
    tries: int = 0


class LeftOver(NamedTuple):
    """A fork out of the store. `stake`: of those who would pay, in micro-credits."""

    proof: ForkProof
    name: bytes
    author: bytes
    sort: Sort
    stake: int

    @classmethod
    def of(cls, evidence: EvidenceFork, view: View) -> LeftOver:
        header, payers = evidence.proof.header(view.net), _payers(evidence, view)
        stake = sum(bond_in(view.state, one).at_stake for one in payers)
        sort: Sort = "bonds" if payers else "strangers"
        return cls(evidence.proof, _fork_of(header, payers), header.by, sort, stake)


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
        self._waiting = {sort: deque[Waiting]() for sort in PLACES}
        self._ready = trio.Semaphore(0)
        self._said: dict[Cid, Waiting] = {}  # by our event that says it, until that is final
        self._fewer = Pulse()  # beats when some of those became final
        self._crowded: set[Sort] = set()  # sorts of which something found no place since we looked
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
        view = View.of(self._ledger.replica)
        name = offence_of(evidence, view)
        if self._is_known(name):
            return
        sort = _sort_of(evidence, view)
        author = author_of(evidence, view.net)
        if not self._has_place(author, sort):
            self.counts["dropped"] += 1
            self._crowded.add(sort)
            return
        self._waiting[sort].append(Waiting(author, name, evidence))
        self._ready.release()
        self._known[name] = None
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def _is_known(self, name: bytes) -> bool:
        """What is found again and again is forgotten last."""
        if name in self._known:
            self._known.move_to_end(name)
        return name in self._known

    def _has_place(self, author: bytes, sort: Sort) -> bool:
        waiting = self._waiting[sort]
        of_one = sum(other.author == author for other in waiting)
        return len(waiting) < PLACES[sort] and of_one < OF_ONE_AUTHOR_MAX

    # -- what is said ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Say what is worth saying, one after the other and the gravest first, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            await self._look_again()
            turns = 0  # since we looked again
            while True:
                await self._ready.acquire()
                one = await self._next()
                await trio.sleep(self._patience())
                if await self._ledger.call(self._is_worth_saying, one.evidence):
                    await self._accuse(one)
                else:  # it may be worth it when it is found again
                    self._known.pop(one.name, None)
                turns += 1
                has_room = not all(self._waiting[sort] for sort in self._crowded)
                if has_room or (self._crowded and turns >= WAITING_MAX):  # a flood may leave no room for ever
                    turns = 0
                    self._crowded.clear()
                    await self._look_again()

    async def _next(self) -> Waiting:
        """The gravest, as soon as it would be looked at with what we said and what is not final yet."""
        while True:
            seen = self._fewer.beat
            sort = next(sort for sort, waiting in self._waiting.items() if waiting)
            said = sum(_checks_of(one.evidence) for one in self._said.values())
            if said + _checks_of(self._waiting[sort][0].evidence) <= checks.OF_ONE_MAX:
                return self._waiting[sort].popleft()
            await self._fewer.after(seen)

    async def _accuse(self, one: Waiting) -> None:
        try:
            event = await self._say(one.evidence)
        except UsageError as error:
            if error.code == "head_unknown":  # until somebody brings our last event; votes are told of once
                self._put_in_front(one)
                return
            log.warning("evidence could not be said: %s (%s)", error, error.code)
            self.counts["unsaid"] += 1
            return
        log.warning("accused by %r", event)
        self._said[event.id] = one._replace(tries=one.tries + 1)
        self.counts["said"] += 1
        await self._look_back()

    async def _follow(self) -> None:
        seen = self._ledger.advanced.beat
        while True:
            seen = await self._ledger.advanced.after(seen)
            if self._said:
                await self._look_back()

    async def _look_back(self) -> None:
        """What we said and what is final now: if it is worth saying still, it was not looked at."""
        for id, is_worth_it in await self._ledger.call(self._final, tuple(self._said.items())):
            one = self._said.pop(id, None)
            if one is None or not is_worth_it:
                continue
            if one.tries < TRIES_MAX:
                self._put_in_front(one)
            else:
                self.counts["in_vain"] += 1
        self._fewer.advance()

    def _put_in_front(self, one: Waiting) -> None:
        """So that no more of them wait than were said at once."""
        self._waiting[_sort_of(one.evidence, View.of(self._ledger.replica))].appendleft(one)
        self._ready.release()

    def _final(self, said: Sequence[tuple[Cid, Waiting]]) -> list[tuple[Cid, bool]]:
        """Those of them that are, and whether each is worth saying still. In the replica's thread."""
        replica = self._ledger.replica
        return [(id, self._is_worth_saying(one.evidence)) for id, one in said if not replica.waits(id)]

    async def _look_again(self) -> None:
        """Take the forks that were seen and that nobody punished, what costs most first."""
        left: list[LeftOver] = []
        read: Sequence[ForkProof] = ()
        while True:
            after = read[-1].ids if read else None
            read, found = await self._ledger.call(self._left_over, after)
            left = self._with_places([*left, *(one for one in found if not self._is_known(one.name))])
            if len(read) < READ_MAX:
                break
        self.forks([one.proof for one in left])

    def _left_over(self, after: tuple[Cid, Cid] | None) -> tuple[list[ForkProof], list[LeftOver]]:
        """Some proofs that are in the store, and what is worth saying of them. In the replica's thread."""
        view = View.of(self._ledger.replica)
        read = self._ledger.replica.store.fork_proofs_after(after, READ_MAX)
        worth_it = [one for one in map(EvidenceFork, read) if is_worth_saying(one, view, self._account)]
        return read, [LeftOver.of(one, view) for one in worth_it]

    def _with_places(self, left: Sequence[LeftOver]) -> list[LeftOver]:
        """As many as there may ever be places for, of each offence one."""
        kept: dict[bytes, LeftOver] = {}
        of: Counter[tuple[Sort, bytes]] = Counter()  # a key, or all together
        for one in sorted(left, key=lambda one: -one.stake):
            if one.name in kept:
                continue
            if of[one.sort, b""] >= PLACES[one.sort] or of[one.sort, one.author] >= OF_ONE_AUTHOR_MAX:
                self.counts["dropped"] += 1
                self._crowded.add(one.sort)
                continue
            of.update(((one.sort, b""), (one.sort, one.author)))
            kept[one.name] = one
        return list(kept.values())

    def _is_worth_saying(self, evidence: Evidence) -> bool:
        return is_worth_saying(evidence, View.of(self._ledger.replica), self._account)

    def __repr__(self) -> str:
        waiting = {sort: len(evidence) for sort, evidence in self._waiting.items()}
        return f"<Accuser waiting={waiting} {dict(self.counts)}>"


def is_worth_saying(evidence: Evidence, view: View, account: bytes) -> bool:
    """Whether evidence that was checked would change something in that state; `account` is our own.

    A fork closes its lane by itself as soon as both branches are ordered, and then only accounts are worth
    more words: one with a bond pays, and one without is done with that lane, before it has one.
    """
    offenders = _offenders(evidence, view)
    if account in offenders:
        return False
    match evidence:
        case EvidenceVotes(one):
            # Votes of later epochs are not looked at by who cannot know their validators (`ledger.voting`).
            if one.vote.epoch > view.epoch or is_punished(view.state, vote_offence(one.by, one.vote.epoch)):
                return False
        case EvidenceWarrant():
            header = evidence.warrant.header(view.net)
            if is_punished(view.state, warrant_offence(header.by, header.lane, header.seq)):
                return False
        case EvidenceFork():
            header = evidence.proof.header(view.net)
            if not is_closed(view.state, header.by, header.lane):
                head = lane_head(view.state, header.by, header.lane)
                is_open = head is None or not head.closed
                if is_open or any(is_known(view.state, one) for one in offenders):
                    return True
    return bool(_payers(evidence, view))


def _offenders(evidence: Evidence, view: View) -> list[bytes]:
    """Who answers for it, whoever signed first."""
    answers = partial(answers_in, view.state, view.time)
    match evidence:
        case EvidenceVotes():
            return [evidence.one.by]
        case EvidenceWarrant():
            return answerable(answers, evidence.warrant.header(view.net))
        case EvidenceFork():
            return answerable(answers, *evidence.proof.headers(view.net))


def _payers(evidence: Evidence, view: View) -> list[bytes]:
    """Those of them who have something at stake, and were not punished for that lane."""
    offenders = _offenders(evidence, view)
    if isinstance(evidence, EvidenceFork):
        header = evidence.proof.header(view.net)
        offenders = [one for one in offenders if not is_done_with(view.state, one, header)]
    return [one for one in offenders if bond_in(view.state, one).at_stake]


def _sort_of(evidence: Evidence, view: View) -> Sort:
    if not _payers(evidence, view):
        return "strangers"
    return "votes" if isinstance(evidence, EvidenceVotes) else "bonds"


def offence_of(evidence: Evidence, view: View) -> bytes:
    """A name for what the evidence is about: two pieces of one offence have one name.

    Forks of one lane are told apart by who would pay for them as things are. If nobody would, the first
    closes the lane, and another does no more.
    """
    match evidence:
        case EvidenceVotes():
            return vote_offence(evidence.one.by, evidence.one.vote.epoch)
        case EvidenceWarrant():
            header = evidence.warrant.header(view.net)
            return warrant_offence(header.by, header.lane, header.seq)
        case EvidenceFork():
            return _fork_of(evidence.proof.header(view.net), _payers(evidence, view))


def _fork_of(header: Header, payers: Sequence[bytes]) -> bytes:
    return b"f" + header.by + bytes((header.lane,)) + b"".join(payers)


def author_of(evidence: Evidence, net: Cid) -> bytes:
    """The key that signed what was wrong."""
    match evidence:
        case EvidenceVotes():
            return evidence.one.by
        case EvidenceWarrant():
            return evidence.warrant.header(net).by
        case EvidenceFork():
            return evidence.proof.header(net).by


def _checks_of(evidence: Evidence) -> int:
    """How many they are for the rules."""
    signatures = 1 + len(evidence.warrant.parents) if isinstance(evidence, EvidenceWarrant) else 2
    return -(-signatures // checks.SIGNATURES)
