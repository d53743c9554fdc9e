"""Real nodes: a bond becomes a vote, and a vote that is missed holds everything up until it is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nodes.cluster import BUYS, CREDIT, Cluster, Node, eventually, set_up
from tests.nodes.jobs import assert_conserved

pytestmark = pytest.mark.slow

SOMEBODY = "0b" * 32
STAKE = 60_000


def pass_time(node: Node, epochs: int) -> None:
    """Payments, until so many epochs more have begun."""
    aim = node.ask("stake.show")["epoch"] + epochs
    while node.ask("stake.show")["epoch"] < aim:
        node.ask("wallet.send", to=SOMEBODY, amount=1)


def test_a_newcomer_bonds_votes_and_is_missed(tmp_path: Path) -> None:
    """By the commands that people type. With 60,000 beside 100,000 bonded it is needed for everything."""
    with Cluster(tmp_path) as cluster:
        anchor = cluster.place("anchor", BUYS)
        set_up(anchor, "init", "--name", "test", "--param", "epoch_checkpoints=2")
        anchor.start()
        [bob] = cluster.join(bob=BUYS)
        anchor.ask("wallet.send", to=bob.account, amount=70_000 * CREDIT)
        eventually(lambda: bob.ask("wallet.balance")["free"], "bob was paid")
        bonded = bob.command("stake", "bond", str(STAKE))
        assert bonded.exit == 0, bonded
        pass_time(anchor, 2)
        early = bob.item(f"/v1/validators/{bob.account}")
        assert 0 < int(early["votes_next"]) < STAKE * CREDIT, "all at once"
        for _ in range(6):  # epochs of two heights pass sooner than a newcomer hears that it never voted
            pass_time(anchor, 1)
            eventually(lambda: bob.status()["finality"]["abstains"] != "asking", "bob was answered")
        cluster.settle()
        shown = bob.command("stake", "show").json
        assert (shown["bonded"], shown["votes"]) == (STAKE * CREDIT, STAKE * CREDIT)
        seats = {seat["account"]: seat["stake"] for seat in anchor.status()["finality"]["validators"]}
        assert seats == {anchor.account: 100_000 * CREDIT, bob.account: STAKE * CREDIT}
        assert sorted(anchor.status()["finality"]["needed"]) == sorted(seats)
        bob.stop()
        waiting = anchor.ask("wallet.send", to=SOMEBODY, amount=1, wait=False)["event"]
        alone = anchor.status()
        assert alone["unordered"], "final without bob"
        bob.start()
        eventually(
            lambda: anchor.item(f"/v1/events/{waiting}")["status"] == "final",
            "what waited for bob is final",
        )
        assert anchor.item(f"/v1/events/{waiting}")["height"] > alone["height"]
        assert_conserved(bob)
