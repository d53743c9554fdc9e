"""A pulse: tell any number of tasks that something moved on, without a queue that could grow.

Readers remember the beat they have seen and wait for a later one; beats that come while a reader is busy
melt into one. So a reader must look at the whole of what it watches after every beat (level, not edge).
"""

from __future__ import annotations

import trio


class Pulse:
    def __init__(self) -> None:
        self.beat = 0
        self._next = trio.Event()

    def advance(self) -> None:
        self.beat += 1
        self._next.set()
        self._next = trio.Event()

    async def after(self, seen: int) -> int:
        """Wait until there is a beat later than `seen`; returns the newest. Start with `seen = -1`
        to get the present one at once."""
        while self.beat <= seen:
            await self._next.wait()
        await trio.lowlevel.checkpoint()
        return self.beat

    def __repr__(self) -> str:
        return f"<Pulse beat={self.beat}>"
