"""What the control socket answers about escrows: opening, redeeming, closing, listing.

Holds no state and repeats no rule. What it adds is how long an escrow stands when nobody says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from domain import payloads
from domain.payloads import Payload
from fog import escrow_methods as methods
from fog import voucher_line
from fog.agenda import Agenda
from fog.control import Emit
from fog.methods import Message, Recorded
from fog.replica_thread import ReplicaThread
from ledger.cid import Cid
from projections import escrows, log
from projections.model import Row

THIRTY_DAYS: Final = 30 * 24 * 60
"""In minutes. As many checkpoints take no longer: a network in which nothing happens makes one a minute. A
busy one makes them within an hour, and ledger time is what the escrow waits for there."""


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
        ahead = request.minutes or THIRTY_DAYS
        height, time, _ = await self._agenda.ask(log.last)
        expiry = height + ahead
        # Ledger time stands still while nobody votes: the rest of that is not the payee's to lose.
        expiry_time = max(time, self._ledger.clock()) + ahead * methods.MINUTE_MS
        payload = payloads.EscrowOpen(bytes.fromhex(request.payee), request.amount, expiry, expiry_time)
        recorded = await self._record(payload, wait=request.wait)
        return methods.Opened(
            escrow=recorded.event,
            standing=recorded.standing,
            expiry=expiry,
            expiry_time=expiry_time,
            height=recorded.height,
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
        height, time, _ = await self._agenda.ask(log.last)
        return methods.Escrows(escrows=[_line(row) for row in page.rows], height=height, time=time)


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
        expiry_time=row["expiry_time"],
        until_time=row["until_time"],
        state=row["state"],
    )
