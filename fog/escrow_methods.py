"""What a running node can be asked about escrows, beside what is in `fog.methods`, and in the same forms.

    method          parameters       reply
    escrow.open     EscrowOpen       Opened
    escrow.redeem   EscrowRedeem     Recorded
    escrow.close    EscrowName       Recorded
    escrow.list     EscrowList       Escrows

Vouchers are written and checked without a node: `fog.voucher_line`.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from domain.effects import EscrowState
from domain.rules.escrows import AHEAD_MS_MAX
from fog.methods import Account, CidText, Message, Standing
from fog.voucher_line import LINE_SIZE_MAX
from ledger.types import Micro, Millis, Positive, Uint

MINUTE_MS: Final = 60_000
MINUTES_MAX: Final = AHEAD_MS_MAX // MINUTE_MS
ESCROWS_LISTED_MAX: Final = 200  # a page of the read model


class EscrowOpen(Message, frozen=True, kw_only=True):
    """`minutes` and as many checkpoints to the expiry, which comes when both are over; null: 30 days."""

    payee: Account
    amount: Positive
    minutes: Annotated[int, Meta(ge=1, le=MINUTES_MAX)] | None = None
    wait: bool = True


class Opened(Message, frozen=True, kw_only=True):
    """`escrow` is the id that vouchers name. `expiry` is a height, `expiry_time` a ledger time (unix ms);
    `height` once it is final."""

    escrow: CidText
    standing: Standing
    expiry: Uint
    expiry_time: Millis
    height: Uint | None = None


class EscrowRedeem(Message, frozen=True, kw_only=True):
    """`voucher` is the line that `fog voucher write` printed."""

    voucher: Annotated[str, Meta(max_length=LINE_SIZE_MAX)]
    wait: bool = True


class EscrowName(Message, frozen=True, kw_only=True):
    escrow: CidText


class EscrowList(Message, frozen=True, kw_only=True):
    """Newest first. `account` null: this node's own;  `everyone`: of all accounts."""

    account: Account | None = None
    everyone: bool = False
    state: EscrowState | None = None
    limit: Annotated[int, Meta(ge=1, le=ESCROWS_LISTED_MAX)] = 50


class EscrowLine(Message, frozen=True, kw_only=True):
    """One escrow, as `domain.effects.EscrowIs` tells it."""

    escrow: CidText
    payer: Account
    payee: Account
    key: Account
    amount: Micro
    redeemed: Micro
    opened: Uint
    expiry: Uint
    until: Uint
    expiry_time: Millis
    until_time: Millis
    state: EscrowState


class Escrows(Message, frozen=True, kw_only=True):
    """`height` and `time` of the last final checkpoint, to compare with `expiry` and `until`."""

    escrows: list[EscrowLine]
    height: Uint
    time: Millis


PARAMS: Final[dict[str, type[Message]]] = {
    "escrow.open": EscrowOpen,
    "escrow.redeem": EscrowRedeem,
    "escrow.close": EscrowName,
    "escrow.list": EscrowList,
}
