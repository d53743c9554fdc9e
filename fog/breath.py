"""Breath: what several leases have to say at nearly the same time is said in one go.

Each message of a worker is written, told to everybody and read by everybody: about as much work for one run
as for ten. So between two breaths there is a pause, in which whoever has something to say waits for the
others; a long one while more is on its way, a short one when nothing is. A first word after a silence waits
for nobody.

What must always hold: words that belong together are said together and in their order; `say` returns only
when they were said, though somebody else who was about to say them gave up. (They may then be said twice, and
the second time be refused.)
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import trio

from domain.payloads import Payload
from ledger.event import Event

PAUSE_S: Final = 0.1
"""From the beginning of one breath to the next, when nothing is known to come: ten runs of 10 ms."""

PAUSE_S_MAX: Final = 0.4
"""And while more is on its way: half of what a busy validator leaves between two checkpoints (`fog.tempo`),
so that it costs a word one of them at most."""


class SayTogether(Protocol):
    """Sign, store and announce several in this order, in one message; the last one's event."""

    def __call__(self, *payloads: Payload) -> Awaitable[Event]: ...


class Breath:
    def __init__(self, say: SayTogether) -> None:
        self._say = say
        self._waiting: dict[object, tuple[Payload, ...]] = {}
        self._one = trio.Lock()
        self._last = -math.inf  # trio's clock
        self._on_its_way = 0
        self._all_came = trio.Event()

    @contextmanager
    def on_its_way(self) -> Iterator[None]:
        """Inside, there will soon be something to say, which is worth waiting for. Whoever leaves speaks at
        once, or has nothing to say."""
        self._on_its_way += 1
        try:
            yield
        finally:
            self._on_its_way -= 1
            if not self._on_its_way:
                self._all_came.set()
                self._all_came = trio.Event()

    async def say(self, *payloads: Payload) -> None:
        """Returns when it is said."""
        mine = object()
        self._waiting[mine] = payloads
        try:
            async with self._one:
                if mine not in self._waiting:  # whoever spoke before us has said it
                    return
                await self._pause()
                self._last = trio.current_time()
                words = dict(self._waiting)
                await self._say(*(payload for some in words.values() for payload in some))
                for said in words:
                    self._waiting.pop(said, None)
        finally:
            self._waiting.pop(mine, None)

    async def _pause(self) -> None:
        await trio.sleep_until(self._last + PAUSE_S)
        with trio.move_on_at(self._last + PAUSE_S_MAX):
            while self._on_its_way:
                await self._all_came.wait()
