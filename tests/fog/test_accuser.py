"""What a node says of others' faults: once, when it would change something, and never of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from domain.payloads import EvidenceFork, EvidenceVotes, EvidenceWarrant, Payload, kind_of
from domain.rules import FogRules
from fog.accuser import (
    GRAVE_MAX,
    OF_ONE_AUTHOR_MAX,
    TRIES_MAX,
    WAITING_MAX,
    Accuser,
    View,
    is_worth_saying,
    offence_of,
)
from fog.replica_thread import ReplicaThread
from ledger import event as events
from ledger.cid import Cid
from ledger.errors import UsageError
from ledger.event import Event
from ledger.evidence import VoteFault
from ledger.forks import ForkProof
from ledger.genesis import Allocation, Genesis, Validator
from ledger.replica import Replica
from ledger.store import Store
from ledger.warrants import Warrant
from tests.domain.rules.court import Court
from tests.domain.rules.world import key_of

US = key_of("us").public
DEADLINE_S = 10


# -- what is worth saying -----------------------------------------------------------------------------------


def view(court: Court) -> View:
    return View(court.state, court.genesis.net, court.time, court.epoch)


def worth(court: Court, evidence: EvidenceVotes | EvidenceFork, account: bytes = US) -> bool:
    return is_worth_saying(evidence, view(court), account)


def test_what_was_punished_is_not_said_again() -> None:
    court = Court(stakes={"a": 1_000, "b": 9_000})
    for evidence in (court.double_vote("a"), court.fork("a"), court.lie("a")):
        assert worth(court, evidence)  # type: ignore[arg-type]
        court.do("rita", evidence)
        assert not worth(court, evidence)  # type: ignore[arg-type]


def test_who_has_nothing_to_lose_is_not_accused_but_of_a_fork() -> None:
    """Of the others nothing would follow; a lane is worth closing whoever forks it."""
    court = Court(stakes={"b": 9_000}, alice=1)
    assert not worth(court, court.double_vote("alice"))
    assert not worth(court, court.lie("alice"))  # type: ignore[arg-type]
    assert worth(court, court.fork("alice"))


def test_nobody_accuses_itself() -> None:
    court = Court(stakes={"a": 1_000, "b": 9_000})
    for evidence in (court.double_vote("a"), court.fork("a"), court.lie("a")):
        assert not worth(court, evidence, court.account("a"))  # type: ignore[arg-type]


def test_votes_of_an_epoch_that_has_not_begun_are_not_said_before_it_has() -> None:
    court = Court(stakes={"a": 1_000, "b": 9_000})
    for epoch in (0, 1):
        assert court.epoch == epoch
        assert worth(court, court.double_vote("a", epoch=epoch))
        assert not worth(court, court.double_vote("a", epoch=epoch + 1))
        court.close_epoch()


def test_two_proofs_of_one_offence_have_one_name() -> None:
    court = Court(stakes={"a": 1_000})
    now = view(court)
    assert offence_of(court.fork("a"), now) == offence_of(court.fork("a", seq=9), now)
    assert offence_of(court.double_vote("a"), now) == offence_of(court.double_vote("a", slot=7), now)
    others = {
        offence_of(evidence, now)
        for evidence in (
            court.fork("a"),
            court.fork("a", lane=2),
            court.double_vote("a"),
            court.double_vote("a", epoch=1),
            court.double_vote("b"),
            court.lie("a"),
            court.lie("a", seq=7),
        )
    }
    assert len(others) == 7


# -- saying it ----------------------------------------------------------------------------------------------


class Desk:
    """An accuser over a real replica of a network whose validators are a, b, c and d.

    What it says comes out of `heard`; `waits` counts how often it was patient.
    """

    def __init__(self) -> None:
        validators = sorted((key_of(name).public, 1_000) for name in "abcd")
        self.genesis = Genesis(
            1, "test", 0, 7, tuple(Validator(*row) for row in validators), (Allocation(US, 5),), {}
        )
        self.store = Store.create("sqlite://", self.genesis)
        self.replica = Replica.open(self.store, FogRules(), key_of("us"), validator=False)
        self.says, self.heard = trio.open_memory_channel[Payload](10)
        self.waits = 0
        self.closed = False
        self.is_head_unknown = False
        self.accuser = self.new()

    def new(self) -> Accuser:
        return Accuser(ReplicaThread(self.replica, lambda: 1_000), US, self.say, self.patience)

    def patience(self) -> float:
        self.waits += 1
        return 0

    async def say(self, payload: Payload) -> Event:
        await self.says.send(payload)
        if self.closed:
            raise UsageError("our lane is closed", code="lane_closed")
        if self.is_head_unknown:
            raise UsageError("our last event is not here", code="head_unknown")
        return self.replica.append(*kind_of(payload), payload, now=1_000)

    @asynccontextmanager
    async def sitting(self, accuser: Accuser) -> AsyncIterator[None]:
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(accuser.run)
                yield
                nursery.cancel_scope.cancel()

    def event(self, name: str, **fields: object) -> Event:
        usual: dict[str, object] = {
            "net": self.genesis.net,
            "lane": 0,
            "seq": 0,
            "prev": None,
            "parents": (),
            "lc": 1,
            "ts": 5,
            "kind": "transfer",
            "body": b"\xa0",
        }
        return events.make(key_of(name), **(usual | fields))  # type: ignore[arg-type]

    def rivals(self, name: str) -> tuple[Event, Event]:
        return self.event(name), self.event(name, ts=6)

    def fork(self, name: str) -> ForkProof:
        return ForkProof.of(*self.rivals(name))


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.store.close()


@pytest.mark.trio
async def test_a_fork_is_said_once_after_a_while(desk: Desk) -> None:
    """However often it is found; another one is said after it."""
    async with desk.sitting(desk.accuser):
        for _ in range(3):
            desk.accuser.forks([desk.fork("a")])
        desk.accuser.forks([desk.fork("b")])
        assert await desk.heard.receive() == EvidenceFork(desk.fork("a"))
        assert await desk.heard.receive() == EvidenceFork(desk.fork("b"))
        desk.accuser.forks([desk.fork("a"), desk.fork("c")])
        assert await desk.heard.receive() == EvidenceFork(desk.fork("c"))
    assert desk.waits == 3


@pytest.mark.trio
async def test_faults_and_lies_are_said_as_well(desk: Desk) -> None:
    votes = Court(stakes={"a": 1}).double_vote("a")
    first = desk.event("b")
    warrant = Warrant.of(desk.event("b", seq=1, prev=first.id, lc=7), [first])
    async with desk.sitting(desk.accuser):
        desk.accuser.faults([VoteFault(votes.one, votes.other)])
        desk.accuser.warrants([warrant])
        assert await desk.heard.receive() == votes
        assert await desk.heard.receive() == EvidenceWarrant(warrant)


@pytest.mark.trio
async def test_what_an_earlier_run_saw_is_said_on_the_next_start(desk: Desk) -> None:
    """The proof is in the store; the node had no time to say it."""
    for event in desk.rivals("a"):
        desk.replica.ingest([event.wire], peer="p", now=1_000)
    async with desk.sitting(desk.new()):
        assert await desk.heard.receive() == EvidenceFork(desk.fork("a"))


@pytest.mark.trio
async def test_a_flood_of_faults_is_bounded_and_counted(desk: Desk) -> None:
    for number in range(WAITING_MAX + 5):
        desk.accuser.forks([desk.fork(f"stranger {number}")])
    assert desk.accuser.counts == {"dropped": 5}


@pytest.mark.trio
async def test_what_costs_a_bond_is_said_before_any_number_of_forks_that_cost_nothing(desk: Desk) -> None:
    """A voter tells of a fault once: with no place for it, a free flood would have hidden it for good."""
    votes = Court(stakes={"a": 1}).double_vote("a")
    for number in range(WAITING_MAX + 1):
        desk.accuser.forks([desk.fork(f"stranger {number}")])
    desk.accuser.forks([desk.fork("b")])
    desk.accuser.faults([VoteFault(votes.one, votes.other)])
    async with desk.sitting(desk.accuser):
        assert await desk.heard.receive() == votes
        assert await desk.heard.receive() == EvidenceFork(desk.fork("b"))
        assert await desk.heard.receive() == EvidenceFork(desk.fork("stranger 0"))
    assert desk.accuser.counts["dropped"] == 1


@pytest.mark.trio
async def test_votes_of_those_who_have_nothing_take_no_place_of_those_who_have(desk: Desk) -> None:
    court = Court(stakes={"a": 1})
    for number in range(GRAVE_MAX):
        votes = court.double_vote(f"stranger {number}")
        desk.accuser.faults([VoteFault(votes.one, votes.other)])
    assert desk.accuser.counts["dropped"] == GRAVE_MAX - WAITING_MAX
    votes = court.double_vote("a")
    desk.accuser.faults([VoteFault(votes.one, votes.other)])
    async with desk.sitting(desk.accuser):
        assert await desk.heard.receive() == votes


@pytest.mark.trio
async def test_one_liar_with_a_bond_leaves_places_to_others(desk: Desk) -> None:
    """It may lie about any number of places."""

    def lie(name: str, seq: int) -> Warrant:
        before = desk.event(name, seq=seq, prev=Cid.of(b"before"), lc=seq + 1)
        return Warrant.of(desk.event(name, seq=seq + 1, prev=before.id, lc=99), [before])

    desk.accuser.warrants([lie("a", seq) for seq in range(1, GRAVE_MAX + 1)])
    assert desk.accuser.counts["dropped"] == GRAVE_MAX - OF_ONE_AUTHOR_MAX
    desk.accuser.warrants([lie("b", 1)])
    assert desk.accuser.counts["dropped"] == GRAVE_MAX - OF_ONE_AUTHOR_MAX
    desk.closed = True  # else the ninth would wait until the others are final
    async with desk.sitting(desk.accuser):
        said = [await desk.heard.receive() for _ in range(OF_ONE_AUTHOR_MAX + 1)]
    assert said[-1] == EvidenceWarrant(lie("b", 1))


@pytest.mark.trio
async def test_a_node_that_cannot_speak_goes_on(desk: Desk) -> None:
    desk.closed = True
    async with desk.sitting(desk.accuser):
        desk.accuser.forks([desk.fork(name) for name in "abc"])
        for _ in range(3):
            await desk.heard.receive()
    assert desk.accuser.counts["unsaid"] >= 2


@pytest.mark.trio
async def test_what_cannot_be_said_before_our_last_event_is_here_is_said_then(desk: Desk) -> None:
    """A fault of votes is told of once. It waits for longer than it would be said in vain."""
    votes = Court(stakes={"a": 1}).double_vote("a")
    desk.is_head_unknown = True
    async with desk.sitting(desk.accuser):
        desk.accuser.faults([VoteFault(votes.one, votes.other)])
        for _ in range(TRIES_MAX + 1):
            assert await desk.heard.receive() == votes
        desk.is_head_unknown = False
        while not desk.accuser.counts["said"]:
            with suppress(trio.WouldBlock):  # some may be on their way
                desk.heard.receive_nowait()
            await trio.lowlevel.checkpoint()
    assert desk.accuser.counts == {"said": 1}
