"""Rivals: the events of forked lanes that came lately, by their places.

A lane that forked may fork again, where its chain has not come to yet. So what came to stand at a place first
is kept here, to be proven against whatever comes there after it.

Knows places. Does not know what a fork costs, or which of two events is effective.

What must always hold: what is kept is bounded; of one place it is one event, and never its own rival.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ledger.event import Event, without_body

KEPT_MAX: Final = 4_096
"""Places: as many as 64 lanes may have rivals. Some 5 MB, if all headers are as large as they may be."""


class Rivals:
    def __init__(self) -> None:
        self._at: OrderedDict[tuple[bytes, int, int], Event] = OrderedDict()

    def keep(self, event: Event) -> None:
        """Unless one is here for its place; the oldest makes room."""
        self._at.setdefault(place_key(event), without_body(event))
        if len(self._at) > KEPT_MAX:
            self._at.popitem(last=False)

    def at(self, event: Event) -> Event | None:
        """Another event at its place."""
        other = self._at.get(place_key(event))
        return None if other is None or other.id == event.id else other


def place_key(event: Event) -> tuple[bytes, int, int]:
    return *event.lane, event.header.seq
