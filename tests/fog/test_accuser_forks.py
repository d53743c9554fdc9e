"""A lane that forks more than once: what a node says of it, from the first event to the bond that pays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from domain.payloads import EvidenceFork, IdentityDelegate, Payload, StakeBond, Transfer, kind_of
from domain.rules import FogRules
from domain.rules.bonds import bond_in
from domain.rules.evidence import is_closed
from domain.rules.execute import VERSION
from fog.accuser import OF_ONE_MAX, Accuser, is_worth_saying
from fog.replica_thread import ReplicaThread
from ledger import event as events
from ledger.cid import Cid
from ledger.event import LANE_LEDGER, Event
from ledger.forks import ForkProof
from ledger.genesis import Allocation, Genesis, Validator
from ledger.reactions import Ingested
from ledger.replica import Replica
from ledger.store import Store
from tests.domain.rules.world import key_of

START = 1_700_000_000_000
DEADLINE_S = 10
BOND = 1_000
US, ALICE, PHONE = (key_of(name).public for name in ("us", "alice", "phone"))


class Village:
    """We alone decide what is final. Alice has a bond, and acts through a phone."""

    def __init__(self) -> None:
        accounts = sorted((key, 10 * BOND) for key in (US, ALICE))
        self.genesis = Genesis(
            v=1,
            name="village",
            created=START,
            rules=VERSION,
            validators=(Validator(US, 9 * BOND),),
            accounts=tuple(Allocation(*row) for row in accounts),
            params={"bond_min": 100},
        )
        self.store = Store.create("sqlite://", self.genesis)
        self.replica = Replica.open(self.store, FogRules(), key_of("us"), validator=True)
        self.now = START
        assert self.replica.rejoin({}, now=self.now)
        self.accuser = Accuser(ReplicaThread(self.replica, lambda: self.now), US, self.say, lambda: 0)
        bond = self.event("alice", 0, StakeBond(BOND))
        self.hear(bond, self.event("alice", 1, IdentityDelegate(PHONE), after=bond))
        self.finalize()
        assert self.at_stake == BOND

    @property
    def at_stake(self) -> int:
        return bond_in(self.replica.state, ALICE).at_stake

    def finalize(self) -> None:
        """Until nothing waits for an order."""
        for _ in range(20):
            if not self.replica.unordered():
                return
            self.now += 1_000
            self.replica.step(self.now)
        raise AssertionError("nothing becomes final")

    def hear(self, *given: Event) -> Ingested:
        return self.replica.ingest([event.wire for event in given], peer="p", now=self.now)

    async def say(self, payload: Payload) -> Event:
        return self.replica.append(*kind_of(payload), payload, now=self.now)

    def event(
        self, name: str, seq: int, payload: Payload, *, after: Event | None = None, acct: bytes | None = None
    ) -> Event:
        kind, version = kind_of(payload)
        return events.make(
            key_of(name),
            net=self.genesis.net,
            lane=LANE_LEDGER,
            seq=seq,
            prev=None if after is None else after.id,
            parents=(),
            lc=seq + 1,
            ts=START,
            kind=kind,
            version=version,
            body=payload,
            acct=acct,
        )

    def phone(self, seq: int, amount: int, *, after: Event | None = None, acct: bytes | None = None) -> Event:
        return self.event("phone", seq, Transfer(US, amount), after=after, acct=acct)

    @asynccontextmanager
    async def accusing(self) -> AsyncIterator[None]:
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.accuser.run)
                yield
                nursery.cancel_scope.cancel()

    async def said(self, count: int) -> None:
        while self.accuser.counts["said"] < count:
            await trio.lowlevel.checkpoint()


@pytest.fixture
def village() -> Iterator[Village]:
    village = Village()
    yield village
    village.store.close()


@pytest.mark.trio
async def test_a_bond_pays_for_the_fork_that_mattered_though_its_lane_was_closed_for_another(
    village: Village,
) -> None:
    """The phone spends; forks its lane for nobody, which closes it; and only then shows the other spend."""
    spent = village.phone(0, 5, acct=ALICE)
    village.hear(spent)
    village.finalize()
    async with village.accusing():
        worthless = [village.phone(1, amount, after=spent) for amount in (1, 2)]
        village.accuser.forks(village.hear(*worthless).forks)
        await village.said(1)
        village.finalize()
        assert is_closed(village.replica.state, PHONE, LANE_LEDGER)
        assert village.at_stake == BOND

        found = village.hear(village.phone(0, 6, acct=ALICE))
        assert len(found.forks) == 1
        village.accuser.forks(found.forks)
        await village.said(2)
        village.finalize()
        left = village.at_stake
        assert 0 < left < BOND

        more = village.hear(village.phone(0, 7, acct=ALICE), village.phone(1, 3, after=spent, acct=ALICE))
        assert len(more.forks) == 2
        assert not any(
            is_worth_saying(EvidenceFork(proof), village.replica.state, village.genesis.net, US)
            for proof in more.forks
        )
        village.accuser.forks(more.forks)
        stranger = [village.event("stranger", 0, Transfer(US, amount)) for amount in (1, 2)]
        village.accuser.forks(village.hear(*stranger).forks)  # after it, so those had their turn
        await village.said(3)
    village.finalize()
    assert is_closed(village.replica.state, key_of("stranger").public, LANE_LEDGER)
    assert village.at_stake == left


@pytest.mark.trio
async def test_it_is_said_on_the_next_start_if_there_was_no_time_before(village: Village) -> None:
    """Both are in the store. Of the one that costs nobody anything nothing is said: the lane is closed."""
    spent = village.phone(0, 5, acct=ALICE)
    village.hear(spent)
    village.hear(*[village.phone(1, amount, after=spent) for amount in (1, 2)])
    village.finalize()
    village.hear(village.phone(0, 6, acct=ALICE))
    async with village.accusing():
        await village.said(1)
    village.finalize()
    assert village.at_stake < BOND


def test_one_key_that_names_many_leaves_places_to_others(village: Village) -> None:
    """A fork for each of them costs it nothing."""

    def fork(name: str, acct: bytes) -> ForkProof:
        return ForkProof.of(*(village.event(name, 0, Transfer(US, n), acct=acct) for n in (1, 2)))

    named = [Cid.of(bytes((number,)))[-32:] for number in range(3 * OF_ONE_MAX)]
    village.accuser.forks([fork("liar", acct) for acct in named])
    assert village.accuser.counts["dropped"] == 2 * OF_ONE_MAX
    village.accuser.forks([fork("phone", ALICE), fork("other", named[0])])
    assert village.accuser.counts["dropped"] == 2 * OF_ONE_MAX
