"""Vouchers: money that is spent without a network, from an escrow that was final before it was gone.

A payer opens an escrow for one payee while there is a network (`escrow.open`). Then it signs vouchers, each
for all that the payee may have in total; the payee keeps the highest and redeems it when there is a network
again. An older voucher is worth nothing beside a newer one, so no order and no copy matters; and because an
escrow has one payee, nothing can be spent twice.

    Voucher        {net, escrow, total}       what is signed, with a prefix of its own (`Domain.VOUCHER`)
    SignedVoucher  {voucher, by, sig}         what the payee keeps

Knows bytes and signatures. Does not know whether there is such an escrow, who may sign for it, or how much
is in it: the ledger does, and a payee that was online when it was opened.

What must always hold: `parse` gives a voucher whose signature is good, or raises RemoteError.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.signing import Domain, SigningKey, verify
from ledger.types import Key, Positive, Signature

VOUCHER_SIZE_MAX: Final = 320
"""Bytes of a signed voucher. Two Cids, a key, a signature and a number take 240."""


class Voucher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of this escrow the payee may have `total` micro-credits, all earlier vouchers included."""

    net: Cid
    escrow: Cid
    total: Positive

    def encode(self) -> bytes:
        """What is signed."""
        return canonical.encode(self)

    def is_signed(self, by: bytes, signature: bytes) -> bool:
        """Under the one signature rule of the network (`ledger.signing`)."""
        return verify(Domain.VOUCHER, by, self.encode(), signature)


class SignedVoucher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`by` is the key that opened the escrow, if the voucher is to be worth anything."""

    voucher: Voucher
    by: Key
    sig: Signature

    @classmethod
    def make(cls, key: SigningKey, voucher: Voucher) -> SignedVoucher:
        return cls(voucher, key.public, key.sign(Domain.VOUCHER, voucher.encode()))

    def encode(self) -> bytes:
        return canonical.encode(self)


def parse(data: bytes) -> SignedVoucher:
    """Bytes from anywhere -> a voucher with a good signature.

    Raises RemoteError with the codes of `canonical`, or `bad_signature`.
    """
    signed = canonical.decode_as(SignedVoucher, data, size_max=VOUCHER_SIZE_MAX)
    if not signed.voucher.is_signed(signed.by, signed.sig):
        raise RemoteError(f"not signed by {signed.by.hex()}", code="bad_signature")
    return signed


def check(signed: SignedVoucher, *, net: Cid, by: bytes | None = None, escrow: Cid | None = None) -> None:
    """Raises RemoteError when a voucher is of another network (`wrong_network`), signed by another key
    (`wrong_signer`) or for another escrow (`wrong_escrow`) than the one expected."""
    if signed.voucher.net != net:
        raise RemoteError(f"of network {signed.voucher.net}, this is {net}", code="wrong_network")
    if by is not None and signed.by != by:
        raise RemoteError(f"signed by {signed.by.hex()}, not by {by.hex()}", code="wrong_signer")
    if escrow is not None and signed.voucher.escrow != escrow:
        raise RemoteError(f"for escrow {signed.voucher.escrow}, not {escrow}", code="wrong_escrow")
