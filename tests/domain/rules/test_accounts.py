"""Money moves only as people say it may, and all of it is always there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import effects
from domain.effects import Refusal
from domain.payloads import Transfer
from domain.rules import FogRules, conservation
from domain.rules.accounts import balance, move
from domain.rules.codes import in_credits
from domain.rules.draft import Draft
from domain.rules.records import ACCOUNT, Account
from ledger.types import INT63_MAX
from tests.domain.rules.world import World


def test_a_transfer_moves_what_is_there_and_no_more() -> None:
    world = World(alice=100)
    world.check("""
        balance  alice 100
        pay      alice bob   60   ok
        pay      alice bob   60   insufficient_funds
        pay      alice alice  1   to_self
        pay      carol bob    1   insufficient_funds
        balance  alice 40
        balance  bob   60
        pay      bob   alice 60   ok
        balance  bob   0
    """)


def test_a_refused_payment_says_what_is_there_and_what_is_missing() -> None:
    world = World(alice=12_400_000)
    assert world.do("alice", Transfer(world.account("bob"), 25_000_000)) == "insufficient_funds"
    refusal = effects.decode(world.receipts[-1].effects[0])
    assert isinstance(refusal, Refusal)
    assert refusal.message == "the transfer needs 25 credits; the account holds 12.4 free: 12.6 too few"


def test_what_is_in_escrow_cannot_be_paid_and_is_named_in_the_refusal() -> None:
    world = World(alice=100)
    world.check("""
        submit   alice J shards=2 price=10  ok
        balance  alice 40 60
        pay      alice bob 41               insufficient_funds
        pay      alice bob 40               ok
    """)
    assert world.do("alice", Transfer(world.account("bob"), 1)) == "insufficient_funds"
    assert b"0.00006 in escrow" in world.receipts[-1].effects[0]


def test_the_greatest_amount_there_can_be_moves_whole() -> None:
    world = World(alice=INT63_MAX - 1)  # the validator's stake is the last one
    assert world.do("alice", Transfer(world.account("bob"), INT63_MAX - 1)) == "ok"
    assert balance(world.state, world.account("bob")) == (INT63_MAX - 1, 0)
    assert balance(world.state, world.account("nobody")) == (0, 0)


def test_a_rule_that_made_money_would_stop_the_node() -> None:
    """Conservation is asserted on the totals after every event, whatever the rule did."""
    world = World(alice=100)
    draft = Draft(world.state, world.context)
    move(draft, world.account("alice"), 1, 0)
    with pytest.raises(AssertionError, match="money appeared"):
        draft.finish()
    with pytest.raises(AssertionError, match="would hold -1"):
        move(Draft(world.state, world.context), world.account("alice"), -101, 0)


def test_an_auditor_sees_what_running_totals_cannot() -> None:
    """`conservation` counts every row; a row that was tampered with does not escape it."""
    world = World(alice=100, bob=50)
    assert conservation(world.state).holds
    forged = world.state.put(ACCOUNT.name, world.account("bob"), ACCOUNT.encode(Account(free=51)))
    assert not conservation(forged).holds
    swapped = world.state.put(ACCOUNT.name, world.account("bob"), ACCOUNT.encode(Account(49, 1)))
    assert not conservation(swapped).holds, "an escrow that no job holds"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.integers(1, 120)), max_size=20))
def test_transfers_among_friends_conserve_what_they_began_with(
    transfers: list[tuple[str, str, int]],
) -> None:
    world = World(a=100, b=50)
    for source, to, amount in transfers:
        world.do(source, Transfer(world.account(to), amount))
    assert sum(free for free, _, _ in world.balances.values()) == 150
    assert min(free for free, _, _ in world.balances.values()) >= 0


@pytest.mark.parametrize(
    ("micro", "text"),
    [(0, "0"), (1, "0.000001"), (12_400_000, "12.4"), (1_000_000, "1"), (100_000_000, "100")],
)
def test_amounts_in_messages_are_in_credits(micro: int, text: str) -> None:
    assert in_credits(micro) == text


def test_the_rules_tell_their_version() -> None:
    assert repr(FogRules()) == "<FogRules version=7>"
