"""A bond is free credits set aside for one's own conduct; it comes back, late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.payloads import StakeBond, StakeUnbond
from domain.rules import FogRules, conservation
from domain.rules.bonds import BOND, BONDS_MAX, LEAVING_MAX, Bond, bond_in
from domain.rules.records import ONLY, SUPPLY
from ledger.errors import UsageError
from ledger.genesis import Allocation, Genesis, Validator
from ledger.types import INT63_MAX
from tests.domain.rules.world import World, key_of

MINUTE = 60_000
QUICK = {"bond_min": 100, "unbond_ms": MINUTE}


def test_validators_of_genesis_begin_with_their_stakes_as_bonds() -> None:
    world = World(stakes={"v": 500, "w": 300}, alice=200)
    supply = SUPPLY.decode(world.state.get(SUPPLY.name, ONLY) or b"")
    assert (supply.minted, supply.free, supply.bonded, supply.bonds) == (1_000, 200, 800, 2)
    assert bond_in(world.state, world.account("v")) == Bond(500)
    assert bond_in(world.state, world.account("alice")) == Bond()
    assert conservation(world.state).holds


def test_credits_are_bonded_and_come_back_when_their_time_is_over() -> None:
    world = World(QUICK, alice=1_000)
    world.check("""
        bond     alice 600            ok
        balance  alice 400
        holds    alice 600 0
        pay      alice bob 401        insufficient_funds
        bond     alice 401            insufficient_funds
        unbond   alice 500            ok
        holds    alice 100 500
        balance  alice 400
        due      +60000
        close    59999
        close    1
        holds    alice 100 500
        close
        holds    alice 100 0
        balance  alice 900
        due      never
    """)


def test_a_bond_is_nothing_or_at_least_the_minimum() -> None:
    world = World(QUICK, alice=1_000)
    world.check("""
        bond     alice 99             bond_too_small
        bond     alice 100            ok
        bond     alice 1              ok
        unbond   alice 102            insufficient_bond
        unbond   alice 2              bond_too_small
        unbond   alice 1              ok
        unbond   alice 100            ok
        holds    alice 0 101
        unbond   alice 1              insufficient_bond
        unbond   bob 1                insufficient_bond
    """)


def test_what_leaves_in_one_checkpoint_is_released_together() -> None:
    world = World(QUICK, alice=1_000)
    world.check("""
        bond     alice 600            ok
        unbond   alice 10             ok
        unbond   alice 20             ok
        close    1
        unbond   alice 40             ok
        close    59999
        close    1
        holds    alice 530 40
        balance  alice 430
        close
        balance  alice 470
    """)
    assert bond_in(world.state, world.account("alice")) == Bond(530)


def test_an_account_waits_for_a_bounded_number_of_releases() -> None:
    world = World(QUICK, alice=1_000)
    world.check("bond alice 600 ok")
    for _ in range(LEAVING_MAX):
        world.check("unbond alice 10 ok")
        world.close(1)
    world.check("unbond alice 10 unbonding_full")
    world.time -= 1
    world.check("unbond alice 10 ok")


def test_the_network_keeps_a_bounded_number_of_bonds() -> None:
    """A new one is refused when there are as many as may be; those that are there may grow."""
    world = World(QUICK, alice=1_000, bob=1_000)
    world.check("bond alice 100 ok")
    supply = SUPPLY.decode(world.state.get(SUPPLY.name, ONLY) or b"")
    assert supply.bonds == 2
    full = world.state.put(SUPPLY.name, ONLY, SUPPLY.encode(replace(supply, bonds=BONDS_MAX)))
    for name, code in (("alice", "ok"), ("bob", "bonds_full")):
        _, receipt = world.rules.execute(full, world.event(name, StakeBond(100)), world.context)
        assert receipt.code == code


def test_a_bond_that_holds_nothing_has_no_row() -> None:
    world = World(QUICK, alice=1_000)
    world.check("""
        bond     alice 200            ok
        unbond   alice 200            ok
        bond     alice 100            ok
        unbond   alice 100            ok
        close    60000
        close
        holds    alice 0 0
        balance  alice 1000
    """)
    assert world.state.get(BOND.name, world.account("alice")) is None


def test_whoever_is_not_in_jail_cannot_leave_it() -> None:
    World(QUICK, alice=1_000).check("""
        unjail   alice                not_jailed
        bond     alice 100            ok
        unjail   alice                not_jailed
    """)


def test_more_credits_than_can_be_counted_are_refused_at_genesis() -> None:
    validators = (Validator(key_of("v").public, 1),)
    genesis = Genesis(1, "net", 0, 7, validators, (Allocation(key_of("v").public, INT63_MAX),), {})
    with pytest.raises(UsageError) as caught:
        FogRules().genesis(genesis)
    assert caught.value.code == "too_many_credits"


def test_an_auditor_counts_bonds() -> None:
    world = World(QUICK, alice=1_000)
    world.check("bond alice 600 ok")
    world.check("unbond alice 500 ok")
    bond = bond_in(world.state, world.account("alice"))
    assert conservation(world.state).holds
    for forged in (Bond(bond.bonded + 1, leaving=bond.leaving), Bond(600), Bond(100)):
        state = world.state.put(BOND.name, world.account("alice"), BOND.encode(forged))
        assert not conservation(state).holds


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("alice", "bob")), st.sampled_from((StakeBond, StakeUnbond)), st.integers(1, 400)
        ),
        max_size=30,
    )
)
def test_whatever_is_bonded_and_unbonded_is_all_there_in_the_end(
    orders: list[tuple[str, type[StakeBond | StakeUnbond], int]],
) -> None:
    """`World` checks the whole state after every step."""
    world = World(QUICK, alice=1_000, bob=500)
    for number, (name, kind, amount) in enumerate(orders):
        world.do(name, kind(amount))
        world.close(10_000 if number % 3 else 1)
    for name in ("alice", "bob"):
        held = bond_in(world.state, world.account(name)).bonded
        if held:
            world.do(name, StakeUnbond(held))
    world.close(MINUTE)
    world.close()
    world.check("""
        balance  alice 1000
        balance  bob 500
    """)


def test_the_term_in_jail_ends_with_a_word_of_its_own() -> None:
    world = World(QUICK, alice=1_000)
    world.check("bond alice 200 ok")
    alice = world.account("alice")
    held = bond_in(world.state, alice)
    world.state = world.state.put(BOND.name, alice, BOND.encode(replace(held, jailed=world.time + 10)))
    world.check("""
        unjail   alice                jail_term
        bond     alice 1              ok
        holds    alice 201 0 jailed
        close    10
        unjail   alice                ok
        holds    alice 201 0
    """)
