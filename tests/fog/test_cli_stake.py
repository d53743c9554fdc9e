"""`fog stake`: what it asks of a node, and how it says the answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fog.cli import run
from fog.exits import Exit, Refused
from fog.methods import Nothing, Recorded, shape
from fog.stake_methods import Leaving, StakeMove, StakeShow, StakeState, Wait
from tests.fog.test_cli_node import CID, ME, node
from tests.fog.test_cli_node import socket as socket

Capture = pytest.CaptureFixture[str]

STATE = StakeState(
    account=ME,
    bonded=5_000_000_000,
    leaving=[Leaving(time=1_795_000_000_000, amount=250_000_000)],
    jailed=1_795_100_000_000,
    epoch=7,
    votes=4_000_000_000,
    votes_next=0,
    height=4_300,
)
DONE = Recorded(event=CID, standing="final", height=9, code="ok")


def test_it_shows_what_is_at_stake_and_how_it_votes(socket: Path, capsys: Capture) -> None:
    with node(socket, "stake.show", STATE) as asked:
        assert run(["stake", "show"]) == Exit.OK
    assert shape(StakeShow, asked[0]) == StakeShow()
    said = capsys.readouterr().out
    for line in (
        "5000.00 credits, at height 4300",
        "250.00 credits, free 2026-11-18 11:06:40 UTC",
        "4000.00 in epoch 7",
        "until 2026-11-19 14:53:20 UTC, then: fog stake unjail",
    ):
        assert line in said
    with node(socket, "stake.show", STATE) as asked:
        assert run(["stake", "show", "--account", "CD" * 32, "--json"]) == Exit.OK
    assert asked[0] == {"account": "cd" * 32}
    assert json.loads(capsys.readouterr().out)["bonded"] == 5_000_000_000


@pytest.mark.parametrize("word", ["bond", "unbond"])
def test_credits_are_moved_in_micro_credits(socket: Path, capsys: Capture, word: str) -> None:
    with node(socket, f"stake.{word}", DONE) as asked:
        assert run(["stake", word, "2500.5"]) == Exit.OK
    assert shape(StakeMove, asked[0]) == StakeMove(amount=2_500_500_000)
    assert "final at height 9: 2500.50 credits" in capsys.readouterr().out
    with node(socket, f"stake.{word}", Recorded(event=CID, standing="pending")) as asked:
        assert run(["stake", word, "1", "--no-wait"]) == Exit.OK
    assert asked[0]["wait"] is False
    assert capsys.readouterr().out.startswith("pending: ")


@pytest.mark.parametrize("amount", ["0", "x", "0.0000001", "-5"])
def test_what_is_no_amount_is_not_even_asked_for(socket: Path, amount: str) -> None:
    assert run(["stake", "bond", amount]) == Exit.USAGE


def test_leaving_jail_is_one_word_and_may_be_refused(socket: Path, capsys: Capture) -> None:
    with node(socket, "stake.unjail", DONE) as asked:
        assert run(["stake", "unjail"]) == Exit.OK
    assert shape(Wait, asked[0]) == Wait()
    with node(socket, "stake.unjail", Refused("in jail until 5", code="jail_term")):
        assert run(["stake", "unjail"]) == Exit.REFUSED
    assert "jail_term" in capsys.readouterr().err


def test_votes_are_forgotten_only_by_who_says_that_they_know(socket: Path, capsys: Capture) -> None:
    assert run(["stake", "forget"]) == Exit.USAGE
    assert "--i-know" in capsys.readouterr().err
    with node(socket, "stake.forget", Nothing()) as asked:
        assert run(["stake", "forget", "--i-know"]) == Exit.OK
    assert shape(Nothing, asked[0]) == Nothing()
    assert "votes on" in capsys.readouterr().out
