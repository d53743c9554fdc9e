"""A lane that forks more than once: what a node says of it, from the first event to the bond that pays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from itertools import combinations, count, islice
from typing import ClassVar

import pytest
import trio

from domain.payloads import (
    EvidenceFork,
    EvidenceVotes,
    IdentityDelegate,
    IdentityRevoke,
    Payload,
    StakeBond,
    Transfer,
    kind_of,
)
from domain.rules import FogRules, checks
from domain.rules.bonds import bond_in
from domain.rules.evidence import is_closed
from domain.rules.execute import VERSION
from fog.accuser import OF_ONE_AUTHOR_MAX, READ_MAX, TRIES_MAX, WAITING_MAX, Accuser, View, is_worth_saying
from fog.replica_thread import ReplicaThread
from ledger import event as events
from ledger.admission import RIVALS_PER_LANE_MAX
from ledger.cid import Cid
from ledger.cut import lane_head
from ledger.event import LANE_LEDGER, Event
from ledger.evidence import VoteFault
from ledger.forks import ForkProof
from ledger.genesis import Allocation, Genesis, Validator
from ledger.reactions import Ingested
from ledger.replica import Replica
from ledger.store import Store
from ledger.validators import epoch_of
from ledger.votes import Phase, SignedVote, Vote
from tests.domain.rules.world import key_of

START = 1_700_000_000_000
DEADLINE_S = 10
BOND = 1_000
DAY_MS = 86_400_000
US, ALICE, OLGA, PHONE = (key_of(name).public for name in ("us", "alice", "olga", "phone"))

SOCKS = ("sock1", "sock2", "sock3", "sock4")
"""Accounts of one cheat, with the least that a bond may be."""


class Village:
    """We alone decide what is final. Others act through one phone; alice has a bond, or who `bonds` says."""

    PARAMS: ClassVar[dict[str, int]] = {"bond_min": 100}

    def __init__(self, **bonds: int) -> None:
        bonds = bonds or {"alice": BOND}
        accounts = sorted((key, 10 * BOND) for key in (US, *(key_of(name).public for name in bonds)))
        self.genesis = Genesis(
            v=1,
            name="village",
            created=START,
            rules=VERSION,
            validators=(Validator(US, 9 * BOND),),
            accounts=tuple(Allocation(*row) for row in accounts),
            params=self.PARAMS,
        )
        self.store = Store.create("sqlite://", self.genesis)
        self.replica = Replica.open(self.store, FogRules(), key_of("us"), validator=True)
        self.now = START
        assert self.replica.rejoin({}, now=self.now)
        self.ledger = ReplicaThread(self.replica, lambda: self.now)
        self.accuser = self.started()
        self.delegations = {name: self.event(name, 0, IdentityDelegate(PHONE)) for name in bonds}
        for name, amount in bonds.items():
            self.hear(self.delegations[name])
            if amount:
                self.hear(self.bond(name, amount))
        self.finalize()
        assert {name: self.held(key_of(name).public) for name in bonds} == bonds

    def started(self) -> Accuser:
        return Accuser(self.ledger, US, self.say, lambda: 0)

    def held(self, account: bytes) -> int:
        return bond_in(self.replica.state, account).at_stake

    @property
    def at_stake(self) -> int:
        return self.held(ALICE)

    def finalize(self) -> None:
        """Until nothing waits for an order."""
        for _ in range(20):
            if not self.replica.not_final:
                self.ledger.advanced.advance()
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

    def bond(self, name: str, amount: int) -> Event:
        return self.event(name, 1, StakeBond(amount), after=self.delegations[name])

    def fork_of(self, name: str) -> ForkProof:
        """A stranger's. The events are not here, so its lane does not close by itself."""
        return ForkProof.of(*(self.event(name, 0, Transfer(US, amount)) for amount in (1, 2)))

    def double_vote(self, name: str, epoch: int) -> VoteFault:
        said = (
            Vote(self.genesis.net, epoch, 1, Phase.NOTARIZE, Cid.of(what), START) for what in (b"a", b"b")
        )
        return VoteFault.of(*(SignedVote.make(key_of(name), vote) for vote in said))

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
            is_worth_saying(EvidenceFork(proof), View.of(village.replica), US) for proof in more.forks
        )
        village.accuser.forks(more.forks)
        stranger = [village.event("stranger", 0, Transfer(US, amount)) for amount in (1, 2)]
        village.accuser.forks(village.hear(*stranger).forks)  # after it, so those had their turn
        await village.said(3)
    village.finalize()
    assert is_closed(village.replica.state, key_of("stranger").public, LANE_LEDGER)
    assert village.at_stake == left


@pytest.mark.trio
async def test_rivals_that_cost_nothing_leave_room_for_the_one_that_costs_a_bond(village: Village) -> None:
    """As many as are kept of a lane, and some more, before the other spend is shown."""
    spent = village.phone(0, 5, acct=ALICE)
    village.hear(spent)
    village.finalize()
    async with village.accusing():
        worthless = [village.phone(1, amount, after=spent) for amount in range(RIVALS_PER_LANE_MAX + 5)]
        village.accuser.forks(village.hear(*worthless).forks)
        await village.said(1)
        village.finalize()
        assert village.at_stake == BOND
        found = village.hear(village.phone(0, 6, acct=ALICE))
        assert found.admitted == []
        village.accuser.forks(found.forks)
        await village.said(2)
    village.finalize()
    assert village.at_stake < BOND


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


@pytest.mark.trio
@pytest.mark.parametrize("forked", ["phone", "olga"])
async def test_who_forked_before_it_had_a_bond_does_not_pay_later_though_the_lane_closed_by_itself(
    forked: str,
) -> None:
    """She lost a disk, and both branches are ordered before we speak. Later she has a bond, by the key that
    is left to her, and we start again."""
    village = Village(olga=0)
    with closing(village.store):
        if forked == "phone":
            rivals = [village.phone(0, amount, acct=OLGA) for amount in (5, 6)]
            bond = village.bond("olga", BOND)
        else:
            before = village.delegations["olga"]
            rivals = [village.event("olga", 1, Transfer(US, amount), after=before) for amount in (5, 6)]
            bond = village.event("phone", 0, StakeBond(BOND), acct=OLGA)
        found = village.hear(*rivals)
        village.finalize()
        head = lane_head(village.replica.state, key_of(forked).public, LANE_LEDGER)
        assert head is not None
        assert head.closed
        async with village.accusing():
            village.accuser.forks(found.forks)
            await village.said(1)
        village.finalize()
        assert is_closed(village.replica.state, key_of(forked).public, LANE_LEDGER)
        village.hear(bond)
        village.finalize()
        assert village.held(OLGA) == BOND

        village.accuser = village.started()
        stranger = [village.event("stranger", 0, Transfer(US, amount)) for amount in (1, 2)]
        village.accuser.forks(village.hear(*stranger).forks)  # after it, so that had its turn
        async with village.accusing():
            await village.said(1)
        village.finalize()
        assert is_closed(village.replica.state, key_of("stranger").public, LANE_LEDGER)
        assert village.held(OLGA) == BOND


@pytest.mark.trio
async def test_of_an_open_lane_one_fork_is_said_whomever_it_names(village: Village) -> None:
    """Nothing is final meanwhile. Nobody has to pay, and one closes the lane; what costs a bond is more."""
    async with village.accusing():
        village.hear(village.event("stranger", 0, Transfer(US, 1)))
        for number in range(60):
            named = Cid.of(bytes((number,)))[-32:]
            rival = village.event("stranger", 0, Transfer(US, number + 2), acct=named)
            village.accuser.forks(village.hear(rival).forks)
            await village.said(1)
        village.hear(village.phone(0, 5))
        village.accuser.forks(village.hear(village.phone(0, 6)).forks)
        await village.said(2)
        village.accuser.forks(village.hear(village.phone(0, 7, acct=ALICE)).forks)
        await village.said(3)
        last = (village.event("last", 0, Transfer(US, amount)) for amount in (1, 2))
        village.accuser.forks([ForkProof.of(*last)])  # after all of them, so those had their turn
        await village.said(4)
    assert village.accuser.counts == {"said": 4}


def crowded(village: Village) -> None:
    """The phone forks its lane at ten places, each for one or two of the socks; and then for alice."""
    before = village.phone(0, 1)
    village.hear(before)
    found: list[ForkProof] = []
    pairs = [*((one, one) for one in SOCKS), *combinations(SOCKS, 2)]
    for seq, names in enumerate(pairs, start=1):
        one, other = (
            village.phone(seq, amount, after=before, acct=key_of(name).public)
            for amount, name in enumerate(names, start=1)
        )
        found += village.hear(one, other).forks
        before = one
    assert len(found) == len(pairs)
    village.accuser.forks([*found, *village.hear(village.phone(0, 2, acct=ALICE)).forks])
    assert village.accuser.counts["dropped"] == len(pairs) + 1 - OF_ONE_AUTHOR_MAX


@pytest.mark.trio
async def test_what_found_no_place_is_said_when_the_others_were_what_costs_most_first() -> None:
    """Four bonds of the least that may be would otherwise shelter any other until we start again."""
    village = Village(**dict.fromkeys(SOCKS, 100), alice=BOND)
    with closing(village.store):
        crowded(village)
        async with village.accusing():
            await village.said(OF_ONE_AUTHOR_MAX)
            village.finalize()
            await village.said(OF_ONE_AUTHOR_MAX + 1)
            village.finalize()
            assert village.at_stake < BOND


@pytest.mark.trio
async def test_a_flood_of_what_costs_nothing_does_not_put_that_off() -> None:
    """Somebody makes new keys and forks them, as fast as we speak."""
    village = Village(**dict.fromkeys(SOCKS, 100), alice=BOND)

    def flood(number: int) -> None:
        forks = (village.event(f"key {number}", 0, Transfer(US, amount)) for amount in (1, 2))
        village.accuser.forks([ForkProof.of(*forks)])

    with closing(village.store):
        crowded(village)
        async with village.accusing():
            for number in range(OF_ONE_AUTHOR_MAX + 1):
                flood(number)
                await village.said(number + 1)
                village.finalize()
            assert village.at_stake < BOND


@pytest.mark.trio
async def test_a_flood_does_not_hide_who_answers_for_a_fork_only_since_it_was_found(village: Village) -> None:
    """It found no place among strangers: that its device acts for alice was not final yet. And somebody makes
    new keys and forks them, so that there are strangers always."""
    tablet = key_of("tablet").public
    delegation = village.event("alice", 2, IdentityDelegate(tablet), after=village.bond("alice", BOND))
    rivals = (village.event("tablet", 0, Transfer(US, amount), acct=ALICE) for amount in (1, 2))
    fork = ForkProof.of(*rivals)
    keys = (village.fork_of(f"key {number}") for number in count())
    village.accuser.forks(list(islice(keys, WAITING_MAX)))
    village.store.add_fork_proofs([fork])
    async with village.accusing():
        village.accuser.forks([fork])
        assert village.accuser.counts["dropped"] == 1
        village.hear(delegation)
        for number in range(WAITING_MAX + 1):
            await village.said(number + 1)
            village.finalize()
            village.accuser.forks([next(keys)])
    assert village.at_stake < BOND


@pytest.mark.trio
async def test_however_many_proofs_are_in_the_store_what_costs_most_is_found_and_said_first(
    village: Village,
) -> None:
    """They are read in parts, and this one is in the last."""
    strangers = [village.fork_of(f"stranger {number}") for number in range(READ_MAX)]
    village.store.add_fork_proofs(strangers)
    last = max(proof.ids for proof in strangers)
    rivals = (village.phone(0, amount, acct=ALICE) for amount in count(1))
    one, other = islice((event for event in rivals if event.id > last[0]), 2)
    assert len(village.hear(one, other).forks) == 1
    async with village.accusing():
        await village.said(1)
        village.finalize()
        assert village.at_stake < BOND
    assert village.accuser.counts["dropped"] == READ_MAX - WAITING_MAX


def test_one_key_that_names_many_leaves_places_to_others() -> None:
    village = Village(**dict.fromkeys(SOCKS, 100), alice=BOND)
    with closing(village.store):
        crowded(village)
        dropped = village.accuser.counts["dropped"]
        other = [village.event("alice", 0, Transfer(US, amount)) for amount in (1, 2)]
        stranger = [village.event("stranger", 0, Transfer(US, amount)) for amount in (1, 2)]
        village.accuser.forks([ForkProof.of(*other), ForkProof.of(*stranger)])
        assert village.accuser.counts["dropped"] == dropped


# -- what the rules did not look at -------------------------------------------------------------------------


@pytest.mark.trio
async def test_no_more_of_ours_waits_to_be_final_than_is_looked_at_in_a_checkpoint(village: Village) -> None:
    """A cut: nothing becomes final while strangers fork; then somebody does who has to pay for it."""
    async with village.accusing():
        for number in range(checks.OF_ONE_MAX + 4):
            village.accuser.forks([village.fork_of(f"stranger {number}")])
        await village.said(checks.OF_ONE_MAX)
        for _ in range(20):  # time for more: it takes turns with us
            await village.ledger.call(village.replica.hello)
        assert village.accuser.counts == {"said": checks.OF_ONE_MAX}
        village.hear(village.phone(0, 5, acct=ALICE))
        village.accuser.forks(village.hear(village.phone(0, 6, acct=ALICE)).forks)
        village.finalize()
        await village.said(checks.OF_ONE_MAX + 1)
        village.finalize()
        assert village.at_stake < BOND
        await village.said(checks.OF_ONE_MAX + 1 + 4)
    assert village.accuser.counts == {"said": checks.OF_ONE_MAX + 1 + 4}


@pytest.mark.trio
async def test_what_was_not_looked_at_is_said_again(village: Village) -> None:
    """A cut, and a start in it: what we said before it and after it comes into one checkpoint."""
    async with village.accusing():
        for number in range(checks.OF_ONE_MAX):
            village.accuser.forks([village.fork_of(f"stranger {number}")])
        await village.said(checks.OF_ONE_MAX)
    village.hear(village.phone(0, 5, acct=ALICE))
    village.hear(village.phone(0, 6, acct=ALICE))
    village.accuser = village.started()
    async with village.accusing():
        await village.said(1)
        village.finalize()
        assert village.at_stake == BOND
        await village.said(2)
        village.finalize()
        assert village.at_stake < BOND


@pytest.mark.trio
async def test_what_never_helps_is_not_said_for_ever(village: Village) -> None:
    async def say_something_else(_: Payload) -> Event:
        return await village.say(Transfer(ALICE, 1))

    village.accuser = Accuser(village.ledger, US, say_something_else, lambda: 0)
    async with village.accusing():
        village.accuser.forks([village.fork_of("stranger")])
        for count in range(TRIES_MAX):
            await village.said(count + 1)
            village.finalize()
        while not village.accuser.counts["in_vain"]:
            await trio.lowlevel.checkpoint()
        village.accuser.forks([village.fork_of("another")])
        await village.said(TRIES_MAX + 1)
    assert village.accuser.counts == {"said": TRIES_MAX + 1, "in_vain": 1}


@pytest.mark.trio
async def test_what_is_no_more_answered_for_is_not_said_at_each_start(village: Village) -> None:
    """The device is forgotten only with the bond; what it did costs nothing before that."""
    spent = village.phone(0, 5, acct=ALICE)
    village.hear(spent, village.bond("alice", BOND))
    village.hear(village.event("alice", 2, IdentityRevoke(PHONE), after=village.bond("alice", BOND)))
    village.finalize()
    village.now += 15 * DAY_MS
    village.hear(village.event("tick", 0, Transfer(US, 1)))
    village.finalize()
    village.hear(village.phone(0, 6, acct=ALICE))
    village.finalize()
    for start in range(2):
        village.accuser = village.started()
        stranger = village.fork_of(f"stranger {start}")
        async with village.accusing():
            village.accuser.forks([stranger])  # after what is in the store, so that had its turn
            await village.said(1)
        village.finalize()
        assert is_closed(village.replica.state, key_of(f"stranger {start}").public, LANE_LEDGER)
    assert village.at_stake == BOND


# -- votes of an epoch that begins --------------------------------------------------------------------------


class Hamlet(Village):
    """Where an epoch is a few heights long."""

    PARAMS: ClassVar = Village.PARAMS | {"epoch_checkpoints": 4}


@pytest.mark.trio
async def test_votes_of_an_epoch_are_said_from_when_they_are_cast_and_punished_in_its_first_height() -> None:
    """That is once the epoch before is final. Sooner they would be refused."""
    village = Hamlet()
    with closing(village.store):
        votes = village.double_vote("alice", epoch=1)
        evidence = EvidenceVotes(votes.one, votes.other)

        def is_worth_it() -> bool:
            return is_worth_saying(evidence, View.of(village.replica), US)

        assert village.replica.height < 4
        while village.replica.height < 4:
            assert not is_worth_it()
            village.replica.append(*kind_of(Transfer(ALICE, 1)), Transfer(ALICE, 1), now=village.now)
            village.finalize()
        assert village.replica.height == 4
        assert is_worth_it()
        async with village.accusing():
            village.accuser.faults([votes])
            await village.said(1)
        village.finalize()
        assert (village.replica.height, epoch_of(5, 4)) == (5, 1)
        assert 0 < village.at_stake < BOND
