"""What the control socket answers about the fleet: each device of the account, as the ledger knows it and as
it tells of itself.

What must always hold: one device that does not answer delays the whole by at most `network.fleet.ASK_S`, and
leaves a line that says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
import trio

from domain.rules import identity
from fog.agenda import Agenda
from fog.control import Emit
from fog.fleet_methods import DeviceLine, FleetState
from fog.methods import Message, Nothing
from fog.replica_thread import ReplicaThread
from network.fleet import Report
from projections import reputation
from projections.model import Row
from projections.pages import LIMIT_MAX
from projections.prices import OFFER

DAY_MS: Final = 86_400_000
ASKED_MAX: Final = 32
"""Devices asked at once: more than an account may have (16 and its own key)."""


class Books(NamedTuple):
    """What the read models say of an account's devices, each by its key."""

    offers: dict[bytes, Row]
    earners: dict[bytes, Row]
    today: dict[bytes, int]


class FleetHandlers:
    """What the control socket answers about the fleet."""

    def __init__(
        self,
        ledger: ReplicaThread,
        agenda: Agenda,
        own: Callable[[], Report],
        ask: Callable[[bytes], Awaitable[Report | None]],
        now: Callable[[], int],
    ) -> None:
        """`now` is ledger time."""
        self._ledger = ledger
        self._agenda = agenda
        self._own = own
        self._ask = ask
        self._now = now

    def table(self) -> dict[str, Callable[[Any, Emit], Awaitable[Message]]]:
        """Method -> handler."""
        return {"fleet.show": self.show}

    async def show(self, request: Nothing, emit: Emit) -> FleetState:
        account, here, time = self._ledger.account, self._ledger.device, self._now()
        acting = await self._ledger.call(partial(acting_for, self._ledger, account))
        books = await self._agenda.ask(_books, account, time - DAY_MS)
        devices = sorted({*acting, *books.offers, *books.earners, here}, key=lambda one: (one != here, one))
        told: dict[bytes, Report | None] = {here: self._own()}

        async def ask(device: bytes) -> None:
            told[device] = await self._ask(device)

        async with trio.open_nursery() as nursery:
            for device in [one for one in acting if one != here][:ASKED_MAX]:
                nursery.start_soon(ask, device)
        lines = [
            _line(device, told.get(device), books, here=device == here, acts=device in acting)
            for device in devices
        ]
        return FleetState(account=account.hex(), devices=lines, time=time)


def acting_for(ledger: ReplicaThread, account: bytes) -> set[bytes]:
    """The devices that may act for an account. In the replica's thread."""
    found, _ = identity.look(ledger.replica.state, account)
    devices = set(identity.keys_of(found.devices))
    return devices if found.retired else devices | {account}


def _books(conn: sa.Connection, account: bytes, since: int) -> Books:
    offers = conn.execute(sa.select(OFFER).where(OFFER.c.account == account)).mappings()
    earners = reputation.earners(conn, account, None, LIMIT_MAX).rows
    return Books(
        {bytes(row["device"]): dict(row) for row in offers},
        {bytes(row["device"]): row for row in earners},
        reputation.earned_since(conn, account, since),
    )


def _line(device: bytes, told: Report | None, books: Books, *, here: bool, acts: bool) -> DeviceLine:
    offer, earner = books.offers.get(device), books.earners.get(device)
    ledger: dict[str, Any] = {"earned_day": books.today.get(device, 0)}
    if offer is not None:
        ledger |= {name: offer[name] for name in ("slots", "busy", "price", "until")}
    if earner is not None:
        ledger |= {"earned": earner["amount"], "runs": earner["runs"], "paid": earner["time"]}
    if told is not None:
        ledger |= {
            "name": told.name,
            "labels": dict(told.labels),
            "version": told.version,
            "system": told.system,
            "cores": told.cores,
            "memory": told.memory,
            "profile": told.profile,
            "action": told.action,
            "why": told.why,
            "doing": list(told.doing),
            "started": told.since,
        }
    return DeviceLine(device=device.hex(), here=here, acts=acts, reachable=told is not None, **ledger)
