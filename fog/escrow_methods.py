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
from domain.rules.escrows import AHEAD_MAX
from fog.methods import Account, CidText, Message, Standing
from fog.voucher_line import LINE_SIZE_MAX
from ledger.types import Micro, Positive, Uint

ESCROWS_LISTED_MAX: Final = 200  # a page of the read model


class EscrowOpen(Message, frozen=True, kw_only=True):
    """`heights`: checkpoints from now to the expiry; null: 30 days at the network's present pace."""

    payee: Account
    amount: Positive
    heights: Annotated[int, Meta(ge=1, le=AHEAD_MAX)] | None = None
    wait: bool = True


class Opened(Message, frozen=True, kw_only=True):
    """`escrow` is the id that vouchers name. `expiry` is a height; `height` once it is final."""

    escrow: CidText
    standing: Standing
    expiry: Uint
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
    state: EscrowState


class Escrows(Message, frozen=True, kw_only=True):
    """`height` of the last final checkpoint, to compare with `expiry` and `until`."""

    escrows: list[EscrowLine]
    height: Uint


PARAMS: Final[dict[str, type[Message]]] = {
    "escrow.open": EscrowOpen,
    "escrow.redeem": EscrowRedeem,
    "escrow.close": EscrowName,
    "escrow.list": EscrowList,
}
