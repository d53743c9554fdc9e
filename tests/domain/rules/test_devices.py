"""Machines of one account: each lends what it has; what they earn, risk and may not do is the account's."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from domain.effects import Contribution
from domain.payloads import (
    BondedOffer,
    IdentityDelegate,
    IdentityRevoke,
    LeaseCommit,
    LeaseReveal,
    Offer,
    Transfer,
)
from domain.rules.records import OFFER
from domain.rules.settlement import commitment
from ledger.cid import Cid
from tests.domain.rules.world import ENGINE, World

RESULT = Cid.of(b"result")
SALT = bytes(32)


def lends(world: World, device: str, account: str, *, slots: int = 1, price: int = 1) -> str:
    payload = Offer(slots, price, world.time + 3_600_000, ENGINE)
    return world.order(world.event(device, payload, acct=None if device == account else account))


def owner(world: World, *devices: str) -> None:
    for device in devices:
        assert world.do("olga", IdentityDelegate(world.account(device))) == "ok"


def leases(world: World, job: str = "J") -> Counter[str]:
    """How many runs of a job each device was leased."""
    return Counter(
        world.name(run.device) for run in world.history.runs.values() if run.job == world.jobs[job]
    )


def test_several_machines_of_an_account_lend_at_once_and_the_account_is_paid() -> None:
    world = World(alice=10_000, olga=100)
    owner(world, "laptop", "phone")
    assert lends(world, "olga", "olga") == lends(world, "laptop", "olga", slots=2) == "ok"
    assert lends(world, "phone", "olga") == "ok"
    world.check("""
        submit  alice J shards=4 checks=0  ok
        place
    """)
    assert leases(world) == {"olga": 1, "laptop": 2, "phone": 1}
    assert {run.worker for run in world.history.runs.values()} == {world.account("olga")}
    run = next(run for run in world.history.runs.values() if run.device == world.account("phone"))
    place = run.job, run.shard, run.attempt
    said = LeaseCommit(*place, commitment(RESULT, 1_000_000_000, SALT))
    assert world.order(world.event("phone", said, acct="olga")) == "ok"
    opened = LeaseReveal(*place, RESULT, 1_000_000_000, SALT)
    assert world.order(world.event("phone", opened, acct="olga")) == "ok"
    (paid,) = world.history.paid.values()
    assert isinstance(paid, Contribution)
    assert (paid.account, paid.device) == (world.account("olga"), world.account("phone"))


def test_no_shard_is_leased_twice_to_one_account_however_many_machines_it_has() -> None:
    world = World(alice=10_000, olga=100)
    owner(world, "laptop", "phone")
    for device in ("olga", "laptop", "phone"):
        assert lends(world, device, "olga") == "ok"
    world.check("""
        submit  alice J shards=1 checks=1  ok
        place
        commit  olga J 0 0 A 10                 ok
        place
        run     J 0 1 none
        offer   carol                      ok
        place
        place
        run     J 0 1 carol check leased
    """)


@pytest.mark.parametrize("machines", [1, 8])
def test_more_machines_are_not_drawn_more_often(machines: int) -> None:
    """Of two accounts that may check, each is drawn about as often, whatever stands behind it."""
    drawn: Counter[str] = Counter()
    for turn in range(60):
        world = World(alice=10_000, olga=100)
        names = [f"machine{number}" for number in range(machines)]
        owner(world, *names)
        world.height += turn  # another beacon
        assert lends(world, "worker", "worker") == lends(world, "carol", "carol") == "ok"
        for name in names:
            assert lends(world, name, "olga", price=2) == "ok"
        world.check("""
            submit  alice J shards=1 checks=1 price=5  ok
            place
        """)
        (first,) = world.history.runs.values()
        others = {"worker", "carol"} - {world.name(first.worker)}
        world.check(f"""
            commit  {world.name(first.worker)} J 0 0 A 10  ok
            place
            place
        """)
        second = world.history.runs[world.jobs["J"], 0, 1]
        drawn[world.name(second.worker)] += 1
        assert world.name(second.worker) in {"olga", *others}
    assert 15 <= drawn["olga"] <= 45, "half of 60, within four standard deviations"


def test_the_cheapest_machine_of_the_drawn_account_checks() -> None:
    world = World(alice=10_000, olga=100)
    owner(world, "dear", "cheap")
    assert lends(world, "worker", "worker", price=1) == "ok"
    assert lends(world, "dear", "olga", price=4) == lends(world, "cheap", "olga", price=3) == "ok"
    world.check("""
        submit  alice J shards=1 checks=1 price=5  ok
        place
        run     J 0 0 worker work leased
        commit  worker J 0 0 A 10                  ok
        place
        place
        run     J 0 1 olga check leased
    """)
    assert leases(world) == {"worker": 1, "cheap": 1}


def test_a_machine_that_may_not_act_any_more_is_leased_nothing() -> None:
    world = World(alice=10_000, olga=100)
    owner(world, "laptop")
    assert lends(world, "laptop", "olga") == "ok"
    assert world.offer_is[world.account("laptop")].slots == 1
    assert world.do("olga", IdentityRevoke(world.account("laptop"))) == "ok"
    assert world.offer_is[world.account("laptop")].slots == 0
    world.check("""
        submit  alice J shards=1 checks=0  ok
        place
        run     J 0 0 none
    """)


def test_a_delegation_that_ended_just_before_offers_nothing() -> None:
    world = World(alice=10_000, olga=100)
    owner(world, "laptop")
    assert world.do("olga", IdentityRevoke(world.account("laptop"))) == "ok"
    assert lends(world, "laptop", "olga") == "not_delegated"


def test_a_delegation_that_ended_just_before_does_nothing_at_all() -> None:
    """Whatever the event says, and also where the ledger let it through."""
    world = World(alice=10_000, olga=100)
    owner(world, "laptop", "phone")
    assert world.do("olga", IdentityRevoke(world.account("laptop"))) == "ok"
    for payload in (
        Transfer(world.account("alice"), 5),
        IdentityRevoke(world.account("phone")),
        IdentityDelegate(world.account("tablet")),
    ):
        assert world.order(world.event("laptop", payload, acct="olga")) == "not_delegated"
    assert world.order(world.event("phone", Transfer(world.account("alice"), 5), acct="olga")) == "ok"


def test_whoever_asks_less_than_before_is_drawn_only_from_the_next_beacon_on() -> None:
    """Else an offer that nobody takes could be made one that is drawn, by who knows the draw."""
    world = World(alice=10_000)
    assert lends(world, "carol", "carol", price=9) == "ok"
    since = OFFER.decode(world.state.get("offer", world.account("carol"))).since  # type: ignore[arg-type]
    world.close()
    assert lends(world, "carol", "carol", price=9, slots=2) == "ok"
    assert OFFER.decode(world.state.get("offer", world.account("carol"))).since == since  # type: ignore[arg-type]
    assert lends(world, "carol", "carol", price=8) == "ok"
    assert OFFER.decode(world.state.get("offer", world.account("carol"))).since == since + 1  # type: ignore[arg-type]


def test_an_offer_for_another_account_is_a_new_one() -> None:
    """Else a machine that two accounts share would carry one's place in the draw over to the other."""
    world = World(alice=10_000, olga=100, otto=100)
    owner(world, "shared")
    assert world.do("otto", IdentityDelegate(world.account("shared"))) == "ok"
    assert lends(world, "shared", "olga") == "ok"
    world.close()
    assert lends(world, "shared", "otto") == "ok"
    stands = world.offer_is[world.account("shared")]
    assert (stands.account, stands.slots) == (world.account("otto"), 1)
    assert len(world.offer_is) == 1


def test_a_bond_is_pledged_once_though_machines_of_two_engines_are_drawn_in_one_close() -> None:
    """Olga has credits for one bond, and a machine for each of two kinds of job that wait for checkers.

    A close that looked at her credits once for each engine would pledge them twice, and stop every node.
    """
    for height in range(16):
        world = World(alice=100_000, olga=100, **dict.fromkeys(("bob", "carol", "dave", "erin"), 10_000))
        world.height += 100 * height  # another beacon
        owner(world, "laptop")
        other = hashlib.sha256(b"other").digest()
        until = world.time + 3_600_000
        assert world.do("olga", BondedOffer(9, 3, until, ENGINE, 100)) == "ok"
        offer = BondedOffer(9, 3, until, other, 100)
        assert world.order(world.event("laptop", offer, acct="olga")) == "ok"
        world.check("""
            offer   bob slots=9 price=1 bond=100                        ok
            submit  alice J shards=3 bond=100 checks=1                  ok
            offer   dave slots=9 price=3 bond=100                       ok
            offer   carol slots=9 price=1 bond=100 engine=other         ok
            offer   erin slots=9 price=3 bond=100 engine=other          ok
            submit  alice K shards=3 bond=100 checks=1 engine=other     ok
            place
        """)
        for job, worker in (("J", "bob"), ("K", "carol")):
            for shard in range(3):
                world.check(f"seal {worker} {job} {shard} 0 right 5     ok")
        world.place()
        drawn = sum(run.worker == world.account("olga") for run in world.history.runs.values())
        assert world.balances[world.account("olga")] == (100 - 100 * drawn, 0, 100 * drawn)
