"""`fog escrow` and `fog voucher`: what they ask of a node, and what they do without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from domain.vouchers import SignedVoucher, Voucher
from fog import keys, voucher_line
from fog.cli import run
from fog.escrow_methods import EscrowLine, EscrowOpen, EscrowRedeem, Escrows, Opened
from fog.exits import Exit, Refused
from fog.methods import Recorded, shape
from fog.paths import DataDir
from ledger.cid import Cid
from tests.fog.test_cli_node import CID, ME, node
from tests.fog.test_cli_node import socket as socket

Capture = pytest.CaptureFixture[str]

ESCROW = str(Cid.of(b"escrow"))
LINE = EscrowLine(
    escrow=ESCROW,
    payer=ME,
    payee="cd" * 32,
    key=ME,
    amount=50_000_000,
    redeemed=12_500_000,
    opened=3,
    expiry=43_203,
    until=43_803,
    expiry_time=1_797_592_000_000,
    until_time=1_797_628_000_000,
    state="open",
)


@pytest.fixture
def home(socket: Path, capsys: Capture) -> DataDir:
    """A directory that is set up, and whose node does not run."""
    assert run(["init"]) == Exit.OK
    capsys.readouterr()
    return DataDir(socket.parent)


# -- with a node --------------------------------------------------------------------------------------------


def test_an_escrow_is_opened_in_micro_credits_and_prints_its_id(socket: Path, capsys: Capture) -> None:
    """The id alone on standard output, so that it can be piped."""
    opened = Opened(escrow=ESCROW, standing="final", expiry=43_203, expiry_time=1_797_592_000_000, height=3)
    with node(socket, "escrow.open", opened) as asked:
        assert run(["escrow", "open", "CD" * 32, "50"]) == Exit.OK
    assert shape(EscrowOpen, asked[0]) == EscrowOpen(payee="cd" * 32, amount=50_000_000)
    said = capsys.readouterr()
    assert said.out == f"{ESCROW}\n"
    assert "and height 43203" in said.err
    assert f"fog voucher write {ESCROW}" in said.err
    with node(socket, "escrow.open", opened) as asked:
        assert run(["escrow", "open", "cd" * 32, "0.5", "--expires", "99", "--no-wait"]) == Exit.OK
    assert (asked[0]["minutes"], asked[0]["wait"]) == (99, False)


@pytest.mark.parametrize(
    "words",
    [["cd" * 32, "0"], ["cd", "5"], ["cd" * 32, "0.0000001"], ["cd" * 32, "5", "--expires", "0"]],
    ids=" ".join,
)
def test_an_escrow_of_nothing_or_for_nobody_is_not_even_asked_for(socket: Path, words: list[str]) -> None:
    assert run(["escrow", "open", *words]) == Exit.USAGE


def test_a_voucher_is_redeemed_by_its_line(home: DataDir, capsys: Capture) -> None:
    signed = SignedVoucher.make(keys.load(home.key), Voucher(home.read_genesis().net, Cid.of(b"e"), 7))
    line = voucher_line.write(signed)
    with node(
        home.control, "escrow.redeem", Recorded(event=CID, standing="final", height=9, code="ok")
    ) as asked:
        assert run(["escrow", "redeem", line.upper()]) == Exit.OK
    assert shape(EscrowRedeem, asked[0]) == EscrowRedeem(voucher=line)
    assert "final: 0.000007 credits in all" in capsys.readouterr().out
    refusal = Refused("12.5 credits were redeemed already", code="nothing_new")
    with node(home.control, "escrow.redeem", refusal):
        assert run(["escrow", "redeem", line]) == Exit.REFUSED
    assert "nothing_new" in capsys.readouterr().err


def test_a_voucher_that_was_cut_off_is_not_even_sent(socket: Path, capsys: Capture) -> None:
    assert run(["escrow", "redeem", "fogv1abcdefgh"]) == Exit.USAGE
    assert "bad_voucher_line" in capsys.readouterr().err


def test_escrows_are_listed_with_what_was_redeemed(socket: Path, capsys: Capture) -> None:
    with node(socket, "escrow.list", Escrows(escrows=[LINE], height=7, time=1_795_000_000_000)) as asked:
        assert run(["escrow", "list", "--state", "open", "--everyone"]) == Exit.OK
    assert asked == [{"account": None, "everyone": True, "state": "open", "limit": 50}]
    said = capsys.readouterr().out
    assert ESCROW in said
    assert "50.00" in said
    assert "12.50" in said
    with node(socket, "escrow.list", Escrows(escrows=[], height=7, time=1_795_000_000_000)):
        assert run(["escrow", "list"]) == Exit.OK
    assert "No escrows" in capsys.readouterr().out
    assert run(["escrow", "list", "--state", "shut"]) == Exit.USAGE


def test_a_payee_closes_an_escrow_by_its_id(socket: Path, capsys: Capture) -> None:
    with node(socket, "escrow.close", Recorded(event=CID, standing="final", height=3, code="ok")) as asked:
        assert run(["escrow", "close", ESCROW]) == Exit.OK
    assert asked == [{"escrow": ESCROW}]
    assert "final: closed" in capsys.readouterr().out
    assert run(["escrow", "close", "bafy"]) == Exit.USAGE


# -- without one --------------------------------------------------------------------------------------------


def test_a_voucher_is_written_with_the_key_alone(home: DataDir, capsys: Capture) -> None:
    """The line alone on standard output; what it says can be read back by anybody."""
    assert run(["voucher", "write", ESCROW, "12.5"]) == Exit.OK
    said = capsys.readouterr()
    signed = voucher_line.read(said.out)
    assert said.out.count("\n") == 1
    assert "12.50 credits in all" in said.err
    assert signed.voucher == Voucher(home.read_genesis().net, Cid.parse(ESCROW), 12_500_000)
    assert signed.by == keys.load(home.key).public


def test_a_voucher_is_checked_without_a_node(home: DataDir, capsys: Capture) -> None:
    assert run(["voucher", "write", ESCROW, "12.5", "--json"]) == Exit.OK
    written = json.loads(capsys.readouterr().out)
    line = written.pop("voucher")
    assert run(["voucher", "check", line, "--by", written["by"], "--escrow", ESCROW, "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == written
    assert run(["voucher", "check", line]) == Exit.OK
    assert "12.50 credits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "code"),
    [(["--by", "cd" * 32], "wrong_signer"), (["--escrow", str(Cid.of(b"another"))], "wrong_escrow")],
)
def test_a_voucher_that_is_not_the_one_expected_is_no_voucher(
    home: DataDir, capsys: Capture, more: list[str], code: str
) -> None:
    assert run(["voucher", "write", ESCROW, "12.5"]) == Exit.OK
    line = capsys.readouterr().out.strip()
    assert run(["voucher", "check", line, *more]) == Exit.REMOTE
    assert code in capsys.readouterr().err


def test_a_voucher_of_another_network_is_noticed(home: DataDir, capsys: Capture) -> None:
    foreign = SignedVoucher.make(keys.load(home.key), Voucher(Cid.of(b"elsewhere"), Cid.of(b"e"), 7))
    assert run(["voucher", "check", voucher_line.write(foreign)]) == Exit.REMOTE
    assert "wrong_network" in capsys.readouterr().err


def test_who_has_no_node_at_all_can_check_a_voucher(socket: Path, capsys: Capture) -> None:
    """Then any network will do, and it is named."""
    key = keys.create(socket.parent / "elsewhere.pem")
    foreign = SignedVoucher.make(key, Voucher(Cid.of(b"elsewhere"), Cid.of(b"e"), 7))
    assert run(["voucher", "check", voucher_line.write(foreign)]) == Exit.OK
    assert str(Cid.of(b"elsewhere")) in capsys.readouterr().out


def test_a_forged_voucher_ends_with_the_exit_code_for_others_faults(home: DataDir, capsys: Capture) -> None:
    key = keys.load(home.key)
    good = SignedVoucher.make(key, Voucher(home.read_genesis().net, Cid.of(b"e"), 7))
    forged = SignedVoucher(Voucher(good.voucher.net, good.voucher.escrow, 8), good.by, good.sig)
    assert run(["voucher", "check", voucher_line.write(forged)]) == Exit.REMOTE
    assert "bad_signature" in capsys.readouterr().err


def test_a_voucher_needs_a_key_to_sign_it(socket: Path) -> None:
    assert run(["voucher", "write", ESCROW, "12.5"]) == Exit.USAGE
