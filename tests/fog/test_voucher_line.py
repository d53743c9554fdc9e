"""A voucher as a line: what one machine prints, another reads, whatever a chat did to it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.vouchers import SignedVoucher, Voucher
from fog import invite, lines, voucher_line
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError
from ledger.signing import SigningKey
from ledger.types import INT63_MAX
from tests.fog.test_invite import network

NET, ESCROW = Cid.of(b"net"), Cid.of(b"escrow")
PAYER = SigningKey(bytes(32))

totals = st.integers(1, INT63_MAX)


def voucher(total: int = 500) -> SignedVoucher:
    return SignedVoucher.make(PAYER, Voucher(NET, ESCROW, total))


@given(totals, st.data())
def test_what_was_written_is_what_is_read(total: int, data: st.DataObject) -> None:
    """One line of plain characters; white space and capitals are forgiven."""
    line = voucher_line.write(voucher(total))
    assert line.startswith("fogv1")
    assert line.isascii()
    assert line.isalnum()
    assert len(line) <= voucher_line.LINE_SIZE_MAX
    at = data.draw(st.integers(0, len(line)))
    assert voucher_line.read(f" {line[:at].upper()}\n{line[at:]} ") == voucher(total)


@given(st.data())
def test_a_slip_of_one_character_is_noticed(data: st.DataObject) -> None:
    line = voucher_line.write(voucher())
    at = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.sampled_from([c for c in string.ascii_lowercase + string.digits if c != line[at]]))
    for broken in (line[:at] + other + line[at + 1 :], line[:at] + line[at + 1 :]):
        with pytest.raises(UsageError) as caught:
            voucher_line.read(broken)
        assert caught.value.code == "bad_voucher_line"


def test_a_line_that_was_forged_with_care_is_somebody_elses_fault() -> None:
    """The checksum is right and the signature is not: no slip of a keyboard does that."""
    forged = SignedVoucher(Voucher(NET, ESCROW, 501), PAYER.public, voucher(500).sig)
    with pytest.raises(RemoteError) as caught:
        voucher_line.read(voucher_line.write(forged))
    assert caught.value.code == "bad_signature"


@given(st.one_of(st.text(), st.text(alphabet=string.ascii_lowercase + "234567").map("fogv1{}".format)))
def test_garbage_is_a_usage_error_and_nothing_else(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        voucher_line.read(text)
    assert caught.value.code == "bad_voucher_line"


def test_no_line_passes_for_another_kind() -> None:
    """An invite is none, and neither is the body of a voucher behind an invite's prefix."""
    with pytest.raises(UsageError):
        voucher_line.read(invite.make(network(), []))
    with pytest.raises(UsageError):
        voucher_line.read(lines.write("fogv1", b"no voucher at all"))
    with pytest.raises(UsageError):
        invite.read(lines.write("fog1", voucher().encode()))
