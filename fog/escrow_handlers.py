"""What the control socket answers about escrows: opening, redeeming, closing, listing.

Holds no state and repeats no rule. What it adds is a guess of its own: how many checkpoints 30 days are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import sqlalchemy as sa

from domain import payloads
from domain.payloads import Payload
from domain.rules.escrows import AHEAD_MAX
from fog import escrow_methods as methods
from fog import voucher_line
from fog.agenda import Agenda
from fog.control import Emit
from fog.methods import Message, Recorded
from fog.replica_thread import ReplicaThread
from ledger.cid import Cid
from projections import escrows, log
from projections.model import Row

DAY_MS: Final = 86_400_000
DAYS: Final = 30

QUIET_DAY: Final = 1_440
"""Checkpoints that there are in a day when nothing happens: one a minute."""

LOOK_BACK_MS: Final = DAY_MS
LOOK_BACK_LEAST_MS: Final = 3_600_000
"""A younger network is taken for an hour old: its first minutes say nothing about its days."""


class Record(Protocol):
    """`fog.handlers`: sign a payload, and wait for its receipt if that is wanted."""

    def __call__(self, payload: Payload, *, wait: bool) -> Awaitable[Recorded]: ...


class EscrowHandlers:
    def __init__(self, ledger: ReplicaThread, agenda: Agenda, record: Record) -> None:
        self._ledger = ledger
        self._agenda = agenda
        self._record = record

    def table(self) -> dict[str, Callable[[Any, Emit], Awaitable[Message]]]:
        """Method -> handler."""
        return {
            "escrow.open": self.open,
            "escrow.redeem": self.redeem,
            "escrow.close": self.close,
            "escrow.list": self.list,
        }

    async def open(self, request: methods.EscrowOpen, emit: Emit) -> methods.Opened:
        ahead = request.heights
        if ahead is None:
            ahead = await self._agenda.ask(thirty_days)
        expiry = self._ledger.replica.height + ahead
        payload = payloads.EscrowOpen(bytes.fromhex(request.payee), request.amount, expiry)
        recorded = await self._record(payload, wait=request.wait)
        return methods.Opened(
            escrow=recorded.event, standing=recorded.standing, expiry=expiry, height=recorded.height
        )

    async def redeem(self, request: methods.EscrowRedeem, emit: Emit) -> Recorded:
        signed = voucher_line.read(request.voucher)
        voucher_line.require_net(signed, self._ledger.replica.net)
        payload = payloads.EscrowRedeem(signed.voucher.escrow, signed.voucher.total, signed.sig)
        return await self._record(payload, wait=request.wait)

    async def close(self, request: methods.EscrowName, emit: Emit) -> Recorded:
        return await self._record(payloads.EscrowClose(Cid.parse(request.escrow)), wait=True)

    async def list(self, request: methods.EscrowList, emit: Emit) -> methods.Escrows:
        account = None
        if not request.everyone:
            account = self._ledger.account if request.account is None else bytes.fromhex(request.account)
        page = await self._agenda.ask(escrows.page, account, request.state, None, request.limit)
        height, _, _ = await self._agenda.ask(log.last)
        return methods.Escrows(escrows=[_line(row) for row in page.rows], height=height)


def thirty_days(conn: sa.Connection) -> int:
    """How many checkpoints 30 days take, at the pace of the last day and never slower than a quiet one.

    Checkpoints come one a minute when nothing happens and up to twenty a second when much does, so no fixed
    number would do. Too many cost the payer patience at most, since a payee can close at any time.
    """
    height, time, _ = log.last(conn)
    first = log.checkpoint(conn, 1)
    if first is None:
        return DAYS * QUIET_DAY
    since = max(time - LOOK_BACK_MS, int(first["time"]))
    before = _height_at(conn, since, height)
    looked_back = max(time - since, LOOK_BACK_LEAST_MS)
    heights = (height - before) * DAYS * DAY_MS // looked_back
    return min(max(heights, DAYS * QUIET_DAY), AHEAD_MAX)


def _height_at(conn: sa.Connection, time: int, last: int) -> int:
    """The first height whose ledger time is not below `time`; times rise with heights."""
    low, high = 1, last
    while low < high:
        middle = (low + high) // 2
        row = log.checkpoint(conn, middle)
        assert row is not None, f"no checkpoint {middle} below {last}"
        if row["time"] < time:
            low = middle + 1
        else:
            high = middle
    return low


def _line(row: Row) -> methods.EscrowLine:
    return methods.EscrowLine(
        escrow=str(Cid(row["escrow"])),
        payer=row["payer"].hex(),
        payee=row["payee"].hex(),
        key=row["key"].hex(),
        amount=row["amount"],
        redeemed=row["redeemed"],
        opened=row["opened"],
        expiry=row["expiry"],
        until=row["until"],
        state=row["state"],
    )
