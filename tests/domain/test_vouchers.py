"""Vouchers as bytes: what one machine signs offline, another judges offline."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import vouchers
from domain.vouchers import VOUCHER_SIZE_MAX, SignedVoucher, Voucher
from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.signing import Domain, SigningKey
from ledger.types import INT63_MAX

NET, ESCROW = Cid.of(b"net"), Cid.of(b"escrow")
PAYER, OTHER = SigningKey(bytes(32)), SigningKey(bytes(31) + b"\x01")

totals = st.integers(1, INT63_MAX)


@given(totals)
def test_what_was_signed_is_what_is_read(total: int) -> None:
    signed = SignedVoucher.make(PAYER, Voucher(NET, ESCROW, total))
    assert vouchers.parse(signed.encode()) == signed
    assert len(signed.encode()) <= VOUCHER_SIZE_MAX
    vouchers.check(signed, net=NET, by=PAYER.public, escrow=ESCROW)


@given(totals, totals)
def test_a_total_cannot_be_changed(total: int, other: int) -> None:
    signed = SignedVoucher.make(PAYER, Voucher(NET, ESCROW, total))
    forged = SignedVoucher(Voucher(NET, ESCROW, other), signed.by, signed.sig)
    if other != total:
        with pytest.raises(RemoteError) as caught:
            vouchers.parse(forged.encode())
        assert caught.value.code == "bad_signature"


def test_a_signature_made_for_something_else_is_none_of_a_voucher() -> None:
    voucher = Voucher(NET, ESCROW, 5)
    as_event = SignedVoucher(voucher, PAYER.public, PAYER.sign(Domain.EVENT, voucher.encode()))
    with pytest.raises(RemoteError, match="not signed by"):
        vouchers.parse(as_event.encode())


@pytest.mark.parametrize(
    ("expected", "code"),
    [
        ({"net": Cid.of(b"elsewhere")}, "wrong_network"),
        ({"net": NET, "by": OTHER.public}, "wrong_signer"),
        ({"net": NET, "escrow": Cid.of(b"another")}, "wrong_escrow"),
    ],
)
def test_a_voucher_is_for_one_network_one_signer_and_one_escrow(expected: dict[str, Any], code: str) -> None:
    signed = SignedVoucher.make(PAYER, Voucher(NET, ESCROW, 5))
    with pytest.raises(RemoteError) as caught:
        vouchers.check(signed, **expected)
    assert caught.value.code == code


@pytest.mark.parametrize("total", [0, INT63_MAX + 1])
def test_totals_have_a_range(total: int) -> None:
    """Signed or not: the schema refuses it before anybody looks at the signature."""
    body = {"net": NET, "escrow": ESCROW, "total": total}
    data = canonical.encode({"voucher": body, "by": PAYER.public, "sig": bytes(64)})
    with pytest.raises(RemoteError):
        vouchers.parse(data)


@given(st.binary(max_size=2 * VOUCHER_SIZE_MAX))
def test_garbage_is_a_remote_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(RemoteError):
        vouchers.parse(data)


@given(st.data())
def test_a_changed_byte_is_a_remote_error_or_the_same_voucher(data: st.DataObject) -> None:
    """Under ZIP215 a signature may have other spellings; what they sign is the same."""
    signed = SignedVoucher.make(PAYER, Voucher(NET, ESCROW, 500))
    good = bytearray(signed.encode())
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] ^= data.draw(st.integers(1, 255))
    try:
        read = vouchers.parse(bytes(good))
    except RemoteError:
        return
    assert read.voucher == signed.voucher
