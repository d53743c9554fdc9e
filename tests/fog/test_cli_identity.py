"""`fog identity`, and a machine that joins as a device of somebody's account."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fog import config, invite, keys
from fog.cli import run
from fog.exits import Exit
from fog.identity_methods import Ask, Identity, Recovery
from fog.methods import Recorded
from fog.paths import DataDir
from tests.fog.test_cli_node import CID, ME, node
from tests.fog.test_cli_node import socket as socket
from tests.fog.test_invite import network

Capture = pytest.CaptureFixture[str]

PHONE, GINA, GUS = "11" * 32, "aa" * 32, "bb" * 32
DONE = Recorded(event=CID, standing="final", height=3, code="ok")
IDENTITY = Identity(
    account=ME,
    devices=[PHONE],
    guardians=[GINA, GUS],
    threshold=2,
    retired=False,
    recovery=None,
    device=PHONE,
    acts=True,
    height=9,
)


def test_an_identity_is_shown_with_who_may_act_and_who_may_help(socket: Path, capsys: Capture) -> None:
    with node(socket, "identity.show", IDENTITY) as asked:
        assert run(["identity", "show", "--account", ME.upper()]) == Exit.OK
    assert asked == [{"account": ME}]
    said = capsys.readouterr().out
    assert f"{PHONE} acts for it" in said
    assert "2 of them may recover it" in said
    assert "retired" not in said


def test_a_recovery_that_waits_says_from_when_and_how_to_stop_it(socket: Path, capsys: Capture) -> None:
    asks = [Ask(guardian=GINA, device="22" * 32), Ask(guardian=GUS, device="22" * 32)]
    waits = Recovery(asked=asks, device="22" * 32, height=700, time=1_795_000_000_000)
    told = json.loads(json.dumps(plain_of(IDENTITY))) | {"retired": True, "acts": False}
    shown = Identity(**(told | {"recovery": waits}))
    with node(socket, "identity.show", shown):
        assert run(["identity", "show"]) == Exit.OK
    said = capsys.readouterr().out
    assert "its own key is retired" in said
    assert "does not act for it" in said
    assert "after height 700 and from 2026-11-18 11:06:40 UTC on" in said
    assert "fog identity cancel" in said


def plain_of(shown: Identity) -> dict[str, object]:
    return {name: getattr(shown, name) for name in shown.__struct_fields__}


@pytest.mark.parametrize(
    ("words", "method", "asked"),
    [
        (["delegate", PHONE], "identity.delegate", {"device": PHONE}),
        (["revoke", PHONE], "identity.revoke", {"device": PHONE}),
        (["guard", "2", GUS, GINA.upper()], "identity.guard", {"guardians": [GINA, GUS], "threshold": 2}),
        (["guard", "0"], "identity.guard", {"guardians": [], "threshold": 0}),
        (["recover", ME, PHONE], "identity.recover", {"account": ME, "device": PHONE}),
        (["cancel"], "identity.cancel", {}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_asked_of_the_node(
    socket: Path, capsys: Capture, words: list[str], method: str, asked: dict[str, object]
) -> None:
    with node(socket, method, DONE) as got:
        assert run(["identity", *words]) == Exit.OK
    assert got == [asked]
    assert "final: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["guard", "3", GINA, GUS],
        ["guard", "0", GINA],
        ["guard", "1"],
        ["guard", "2", GINA, GINA],
        ["delegate", "phone"],
        ["recover", ME, "phone"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_not_even_asked(socket: Path, words: list[str]) -> None:
    assert run(["identity", *words]) == Exit.USAGE


def test_a_machine_joins_as_a_device_of_an_account(socket: Path, capsys: Capture) -> None:
    """The setting is written, and the key that the account must delegate to is said."""
    home = DataDir(socket.parent)
    line = invite.make(network(), [])
    assert run(["join", line, "--account", ME.upper(), "--json"]) == Exit.OK
    said = json.loads(capsys.readouterr().out)
    assert (said["account"], said["device"]) == (ME, keys.load(home.key).public.hex())
    assert config.load(home.config, {}).settings.identity.account == ME


def test_settings_that_are_there_already_are_kept_and_the_missing_one_is_said(
    socket: Path, capsys: Capture
) -> None:
    home = DataDir(socket.parent)
    home.config.write_text(config.template())
    assert run(["join", invite.make(network(), []), "--account", ME]) == Exit.OK
    said = capsys.readouterr()
    assert f'identity.account = "{ME}"' in said.err
    assert "fog identity delegate" in said.out


def test_an_account_that_is_none_joins_nothing(socket: Path) -> None:
    assert run(["join", invite.make(network(), []), "--account", "me"]) == Exit.USAGE
    assert not DataDir(socket.parent).genesis.exists()
