"""A voucher as one printable line: what a payer's machine prints, and a payee's reads, with no network.

    fogv1…      body of the line (`fog.lines`): a `domain.vouchers.SignedVoucher`

A voucher is money to its payee and to nobody else, so who else reads the line gains nothing.
"""

from __future__ import annotations

from typing import Final

from domain import vouchers
from domain.vouchers import VOUCHER_SIZE_MAX, SignedVoucher
from fog import lines
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError

PREFIX: Final = "fogv1"
LINE_SIZE_MAX: Final = lines.size_max(PREFIX, VOUCHER_SIZE_MAX)


def write(signed: SignedVoucher) -> str:
    return lines.write(PREFIX, signed.encode())


def read(line: str) -> SignedVoucher:
    """A voucher with a good signature, whosoever.

    Raises UsageError (`bad_voucher_line`) for what was not copied whole, RemoteError (`bad_signature`) for
    what was written to deceive.
    """
    body = lines.read(line, PREFIX, "a voucher", VOUCHER_SIZE_MAX, _bad)
    try:
        return vouchers.parse(body)
    except RemoteError as error:
        if error.code == "bad_signature":
            raise
        raise _bad(f"made by another version or by something else: {error}") from error


def _bad(message: str) -> UsageError:
    return UsageError(
        f"not a usable voucher: {message}",
        code="bad_voucher_line",
        next_step="copy the whole line again from `fog voucher write` on the payer's machine",
    )


def require_net(signed: SignedVoucher, net: Cid) -> None:
    """Raises UsageError (`other_network`)."""
    if signed.voucher.net != net:
        raise UsageError(
            f"the voucher is of network {signed.voucher.net}, this node of {net}",
            code="other_network",
            next_step="use the data directory of that network",
        )
