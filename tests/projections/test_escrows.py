"""Escrows as readers see them: what was set aside, how much of it went over, how it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from domain.effects import EscrowIs, EscrowState
from domain.payloads import EscrowClose, EscrowOpen, EscrowRedeem
from domain.rules.records import ESCROW
from domain.vouchers import SignedVoucher, Voucher
from projections import escrows
from projections.runner import Runner
from tests.projections.history import ALICE, BOB, CAROL
from tests.projections.node import Node, asking
from tests.projections.test_real_rules import Network
from tests.projections.world import World, account, cid, key

FIRST, SECOND = cid("first"), cid("second")


def escrow(
    id: Any, redeemed: int, state: EscrowState = "open", payer: bytes = ALICE, payee: bytes = BOB
) -> EscrowIs:
    return EscrowIs(id, payer, payee, payer, 60, redeemed, 10, 13, 5_000, 6_000, state)


@pytest.fixture
def told(world: World) -> Node:
    """Alice's for bob is redeemed twice and closed; bob's for carol stays open."""
    world.say("alice", escrow(FIRST, 0), kind="escrow.open")
    world.finalize()  # 1
    world.say("bob", escrow(SECOND, 0, payer=BOB, payee=CAROL), kind="escrow.open")
    world.say("bob", escrow(FIRST, 25), kind="escrow.redeem")
    world.finalize()  # 2
    world.say("bob", escrow(FIRST, 40), kind="escrow.redeem")
    world.say("bob", escrow(FIRST, 40, "closed"), kind="escrow.close")
    world.finalize()  # 3
    return Node(world)


async def get(node: Node, path: str, status: int = 200) -> Any:
    async with asking(node) as client:
        answer = await client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.trio
async def test_an_escrow_says_how_much_was_redeemed_and_since_when_it_is_so(told: Node) -> None:
    assert (await get(told, f"escrows/{FIRST}"))["item"] == {
        "status": "final",
        "height": 3,
        "escrow": str(FIRST),
        "payer": ALICE.hex(),
        "payee": BOB.hex(),
        "key": ALICE.hex(),
        "state": "closed",
        "amount": "60",
        "redeemed": "40",
        "opened": 1,
        "expiry": 10,
        "until": 13,
        "expiry_time": 5_000,
        "until_time": 6_000,
    }
    assert (await get(told, f"escrows/{cid('nothing')}", 404))["code"] == "not_found"


@pytest.mark.trio
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [SECOND, FIRST]),
        (f"?account={ALICE.hex()}", [FIRST]),
        (f"?account={BOB.hex()}", [SECOND, FIRST]),
        (f"?account={CAROL.hex()}&state=open", [SECOND]),
        (f"?account={BOB.hex()}&state=closed", [FIRST]),
        ("?state=expired", []),
    ],
)
async def test_an_accounts_escrows_are_those_it_pays_from_or_is_paid_from(
    told: Node, query: str, found: list[Any]
) -> None:
    answer = await get(told, f"escrows{query}")
    assert [item["escrow"] for item in answer["items"]] == [str(id) for id in found]


@pytest.mark.trio
async def test_pages_of_escrows_show_each_once(told: Node) -> None:
    first = await get(told, "escrows?limit=1")
    second = await get(told, f"escrows?limit=1&after={first['next']}")
    assert [page["items"][0]["escrow"] for page in (first, second)] == [str(SECOND), str(FIRST)]
    assert second["next"] is None


def test_batches_of_any_size_leave_the_same_rows(told: Node) -> None:
    """When an escrow was opened is not forgotten by what is folded later."""
    runner = Runner(told.world.store, batch_max=3)
    assert runner.rebuild() == 3
    reader = told.world.store.engine
    with reader.connect() as conn:
        rows = escrows.page(conn, None, None, None, 10).rows
    assert [(row["opened"], row["height"], row["redeemed"]) for row in rows] == [(2, 2, 0), (1, 3, 40)]


def test_tables_say_what_the_state_says(tmp_path: Path) -> None:
    """Over the real rules and a real replica: opened, redeemed, closed, and one that stays."""
    network = Network(tmp_path)
    alice, bob = key("alice"), account("bob")
    ids = [network.say("alice", EscrowOpen(bob, amount, 1_000, network.now + 60_000)) for amount in (600, 70)]
    network.finalize()
    voucher = SignedVoucher.make(alice, Voucher(network.store.net, ids[0], 250))
    network.say("bob", EscrowRedeem(ids[0], 250, voucher.sig))
    network.say("bob", EscrowClose(ids[1]))
    network.finalize()
    rows = {row["escrow"]: row for row in network.ask(escrows.page, alice.public, None, None, 10).rows}
    assert {row["state"] for row in rows.values()} == {"open", "closed"}
    in_state = {bytes(id): ESCROW.decode(row) for id, row in network.replica.state.items(ESCROW.name)}
    assert in_state.keys() == {id for id, row in rows.items() if row["state"] == "open"} == {ids[0]}
    assert (rows[ids[0]]["redeemed"], rows[ids[0]]["until"]) == (250, in_state[ids[0]].until)
    assert rows[ids[0]]["until_time"] == in_state[ids[0]].until_time > rows[ids[0]]["expiry_time"]
    assert network.balances() == network.state_balances()
    network.store.close()
