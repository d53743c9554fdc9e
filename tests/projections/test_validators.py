"""Who votes, who has what at stake and who lost it, as the tables tell it."""

from __future__ import annotations

from typing import Any

import pytest

from domain.effects import Balance, BondIs, Seat, Slashed
from domain.payloads import StakeBond, StakeUnbond, Transfer
from domain.rules import conservation
from domain.rules.bonds import BOND
from domain.rules.records import POTS
from ledger.database import reading
from ledger.validators import validators_of
from projections import validators
from projections.runner import Runner
from tests.projections.history import ALICE, BOB
from tests.projections.test_real_rules import Network, network
from tests.projections.world import VALIDATOR, World, account

__all__ = ["network"]

ANCHOR = VALIDATOR.public


@pytest.fixture
def world(any_world: World) -> World:
    """Everything here holds on both kinds of database."""
    return any_world


def ask(world: World, query: Any, *args: Any) -> Any:
    Runner(world.store).catch_up()
    with reading(world.store.engine) as conn:
        return query(conn, *args)


def votes(world: World) -> dict[bytes, tuple[int, int]]:
    rows = ask(world, validators.page, None, 200).rows
    return {row["account"]: (row["votes"], row["votes_next"]) for row in rows}


def test_the_validators_of_genesis_vote_before_any_receipt_says_so(world: World) -> None:
    assert votes(world) == {ANCHOR: (1, 1)}
    assert ask(world, validators.one, ALICE)["bonded"] == 0
    assert ask(world, validators.supply) == {
        "minted": 1_001,
        "free": 1_000,
        "escrow": 0,
        "pledged": 0,
        "bonded": 1,
        "unbonding": 0,
        "burned": 0,
    }


def test_seats_move_up_by_one_epoch_when_the_next_are_told(world: World) -> None:
    world.say("alice", BondIs(ALICE, 400, 0), Balance(ALICE, 600, 0), kind="stake.bond")
    world.finalize(Seat(2, ANCHOR, 1))
    assert votes(world) == {ANCHOR: (1, 1), ALICE: (0, 0)}
    world.finalize(Seat(3, ALICE, 400))
    assert votes(world) == {ANCHOR: (1, 0), ALICE: (0, 400)}
    world.finalize(Seat(4, ALICE, 400))
    assert votes(world) == {ANCHOR: (0, 0), ALICE: (400, 400)}


def test_what_was_lost_is_listed_and_what_was_burned_is_gone(world: World) -> None:
    world.say("alice", BondIs(ALICE, 400, 0), Balance(ALICE, 600, 0), kind="stake.bond")
    world.say(
        "bob",
        Slashed(ALICE, "fork", BOB, 140, 7, 350_000),
        BondIs(ALICE, 260, 0, 1_795_000_000_000),
        Balance(BOB, 7, 0),
        kind="evidence.fork",
    )
    world.say("bob", Slashed(ANCHOR, "warrant", BOB, 1, 0, 1_000_000), BondIs(ANCHOR, 0, 0))
    world.finalize()
    supply = ask(world, validators.supply)
    assert sum(amount for name, amount in supply.items() if name != "minted") == supply["minted"] == 1_001
    assert (supply["bonded"], supply["burned"]) == (260, 134)
    [row] = ask(world, validators.slashes, ALICE, None, 10).rows
    assert (row["offence"], row["amount"], row["bounty"], row["reporter"]) == ("fork", 140, 7, BOB)
    assert [row["account"] for row in ask(world, validators.slashes, None, None, 10).rows] == [ANCHOR, ALICE]
    assert ask(world, validators.one, ALICE)["slashed"] == 140
    assert ask(world, validators.one, ALICE)["jailed"] == 1_795_000_000_000


def test_tables_agree_with_the_state_over_epochs_of_bonds_and_faults(network: Network) -> None:
    """Real rules: bonds come, go and are slashed; at every height the tables say what the state says."""

    def agree() -> None:
        count = conservation(network.replica.state)
        assert count.holds
        held = {bytes(of): BOND.decode(row) for of, row in network.replica.state.items(BOND.name)}
        rows = {row["account"]: row for row in network.ask(validators.page, None, 200).rows}
        for of, row in rows.items():
            bond = held.get(of)
            expected = (0, 0, 0) if bond is None else (bond.bonded, bond.unbonding, bond.jailed)
            assert (row["bonded"], row["unbonding"], row["jailed"]) == expected
        epoch = network.replica.height // network.epoch
        for name, number in (("votes", epoch), ("votes_next", epoch + 1)):
            seats = {of: row[name] for of, row in rows.items() if row[name]}
            assert seats == validators_of(network.replica.state, number).stakes
        kept = count.kept
        assert network.ask(validators.supply) == {name: getattr(kept, name) for name in ("minted", *POTS)}

    network.say("alice", StakeBond(2_000_000))
    for step in range(12):
        network.say("alice", Transfer(account("bob"), 1))
        network.finalize()
        agree()
        if step == 3:
            network.say("alice", StakeUnbond(500_000))
        if step == 6:
            network.say("bob", network.double_vote("alice"))
    [slash] = network.ask(validators.slashes, account("alice"), None, 10).rows
    assert slash["reporter"] == account("bob")
