"""Breath: what several leases have to say at nearly the same time is said in one go.

Each message of a worker is written, told to everybody and read by everybody: about as much work for one run
as for ten. So between two breaths there is a pause, in which whoever has something to say waits for the
others. A first word after a silence waits for nobody.

What must always hold: words that belong together are said together and in their order; `say` returns only
when they were said, though somebody else who was about to say them gave up. (They may then be said twice, and
the second time be refused.)
"""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import Final, Protocol

import trio

from domain.payloads import Payload
from ledger.event import Event

PAUSE_S: Final = 0.1
"""From the beginning of one breath to the next: little beside a checkpoint, and ten runs of 10 ms."""


class SayTogether(Protocol):
    """Sign, store and announce several in this order, in one message; the last one's event."""

    def __call__(self, *payloads: Payload) -> Awaitable[Event]: ...


class Breath:
    def __init__(self, say: SayTogether) -> None:
        self._say = say
        self._waiting: dict[object, tuple[Payload, ...]] = {}
        self._one = trio.Lock()
        self._next = -math.inf  # trio's clock

    async def say(self, *payloads: Payload) -> None:
        """Returns when it is said."""
        mine = object()
        self._waiting[mine] = payloads
        try:
            async with self._one:
                if mine not in self._waiting:  # whoever spoke before us has said it
                    return
                await trio.sleep_until(self._next)
                self._next = trio.current_time() + PAUSE_S
                words = dict(self._waiting)
                await self._say(*(payload for some in words.values() for payload in some))
                for said in words:
                    self._waiting.pop(said, None)
        finally:
            self._waiting.pop(mine, None)
