"""Allowance: room for what a leader would have ordered, beyond the limits that keep strangers out.

Nodes that are full hold different events. If those limits held for what a leader proposes as well, who forks
a lane often enough and tells each half of the network of other rivals would halt it: every leader orders what
it holds, and the others would never take it. But a leader may lie too. So each slot gives room once, for as
much as two cuts hold: for what is proposed there, and for what that builds on. Who lacks more takes it in the
slots that follow.

Knows the ids that were asked for, and sizes. Does not know why an event found no room.

What must always hold: for one slot at most EVENTS_MAX events, BYTES_MAX bytes, come in beyond the limits. Of
those that wait for others only the number counts here, and the bounds of all in `ledger.pending`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ledger.checkpoint import DELTA_BYTES_MAX, DELTA_EVENTS_MAX
from ledger.cid import Cid
from ledger.event import Event

EVENTS_MAX: Final = 2 * DELTA_EVENTS_MAX
BYTES_MAX: Final = 2 * DELTA_BYTES_MAX


class Allowance:
    def __init__(self) -> None:
        self._slot = (0, 0)  # (epoch, slot)
        self._ids: set[Cid] = set()
        self._size = 0

    def __contains__(self, id: object) -> bool:
        return id in self._ids

    def begin(self, slot: tuple[int, int]) -> None:
        """What is allowed from here on is of this (epoch, slot)."""
        if slot != self._slot:
            self._slot, self._ids, self._size = slot, set(), 0

    def allow(self, ids: Iterable[Cid]) -> None:
        """These, as far as there is room."""
        for id in ids:
            if len(self._ids) < EVENTS_MAX:
                self._ids.add(id)

    def takes(self, event: Event) -> bool:
        """Whether this one comes in though a limit is reached: then its room is used up."""
        if event.id not in self._ids or self._size + len(event.wire) > BYTES_MAX:
            return False
        self._size += len(event.wire)
        return True

    def __repr__(self) -> str:
        return f"<Allowance {len(self._ids)} ids, {self._size} bytes>"
