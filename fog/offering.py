"""The offer: what this node tells the market that it takes, and for how long.

It follows settings, gate, and what the worker learns: leases held ahead (`fog.ahead`), and how many runs fit
(`fog.share`). Every change is an event that the whole network keeps, so a stop of seconds changes nothing.

What must always hold: once work is evicted, or has stood still for HOLD_S, nothing is offered; an offer that
shall stand is renewed when half of its time is over, counted from when it was said.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from domain.compute.engine import ENGINE
from domain.payloads import SLOTS_MAX, BondedOffer
from fog import agenda
from fog.agenda import Agenda
from fog.ahead import Ahead
from fog.gate import HOLD_S, Gate
from fog.pulse import Pulse
from fog.settings import Worker as Settings
from fog.share import Share
from ledger.event import Event
from projections.model import Row

Say = Callable[[BondedOffer], Awaitable[Event]]


class Offering:
    def __init__(
        self,
        device: bytes,
        settings: Settings,
        agenda: Agenda,
        gate: Gate,
        share: Share,
        ahead: Ahead,
        looked: Pulse,
        say: Say,
        clock: Callable[[], int],
    ) -> None:
        """`looked` beats when `ahead` or `share` may have changed; `clock` gives unix ms."""
        self._device = device
        self._settings = settings
        self._agenda = agenda
        self._gate = gate
        self._share = share
        self._ahead = ahead
        self._looked = looked
        self._say = say
        self._clock = clock
        self._is_leaving = False

    async def run(self) -> None:
        """Until cancelled."""
        await self._gate.turned.wait()
        seen = self._gate.changed.beat
        said: int | None = None  # what stands may not be final yet
        while True:
            held_s = HOLD_S - self._gate.closed_s  # left of a stop that is not worth telling
            slots = self._slots() if held_s > 0 else 0
            standing = await self._agenda.ask(agenda.offer_of, self._device)
            until = 0 if standing is None else standing["until"]
            if said not in (None, slots) or not self._stands(standing, slots):
                until = await self._offer(slots)
                said = slots
            waits = [self._settings.offer_ms / 2000]
            if slots:
                left_ms = until - self._clock()
                waits.append(renewal_in_s(left_ms, self._settings.offer_ms) if self._gate.is_open else held_s)
            if self._share.crowded_s:
                waits.append(self._share.crowded_s)
            with trio.move_on_after(min(waits)):
                seen = await self._turned(seen, slots)

    async def withdraw(self) -> Event:
        """Before leaving: from now on nothing is offered."""
        self._is_leaving = True
        return await self._say(BondedOffer(0, self._settings.price, self._clock(), ENGINE, 0))

    async def _offer(self, slots: int) -> int:
        """Until when it stands, unix ms."""
        until = self._clock() + self._settings.offer_ms
        await self._say(BondedOffer(slots, self._settings.price, until, ENGINE, self._settings.bond))
        return until

    def _slots(self) -> int:
        """Leases to hold at once; none any more while leaving."""
        if self._is_leaving:
            return 0
        return min(self._share.fitting(self._settings.slots + self._ahead.count), SLOTS_MAX)

    async def _turned(self, seen: int, slots: int) -> int:
        """Wait for the gate, or for another number of slots to tell."""
        looked = self._looked.beat
        async with trio.open_nursery() as nursery:

            async def on_look() -> None:
                beat = looked
                while not slots or self._slots() == slots:
                    beat = await self._looked.after(beat)
                nursery.cancel_scope.cancel()

            nursery.start_soon(on_look)
            seen = await self._gate.changed.after(seen)
            nursery.cancel_scope.cancel()
        return seen

    def _stands(self, standing: Row | None, slots: int) -> bool:
        if standing is None or not standing["slots"]:
            return not slots
        left = standing["until"] - self._clock()
        wanted = (slots, self._settings.price, ENGINE, self._settings.bond)
        return left > self._settings.offer_ms // 2 and wanted == tuple(
            standing[name] for name in ("slots", "price", "engine", "bond")
        )


def renewal_in_s(left_ms: int, offer_ms: int) -> float:
    """When half of an offer's time is over, whenever it was said; now, if that is past."""
    return max(0.0, (left_ms - offer_ms // 2) / 1000)
