"""The pulse: when a close places work, and with which clock.

Ledger time is the time of the votes before, so after a quiet minute it is a minute late. A lease that began
at such a time would be over before its worker heard of it. So an event that makes work placeable only
*stirs*; the close of its checkpoint, if it did not already have to act, makes itself *ready* one millisecond
later; that asks for another checkpoint at once, and its time is fresh: the time of the votes that just were.
Only a ready close starts leases and windows. In a busy network every close is ready and nothing waits.

For the same reason no checker is drawn in the checkpoint of the commitment it is to check: its beacon was
known to whoever wrote the commitment.

    pulse  `stirred`  (nothing)  something became placeable since the last ready close
           `ready`    time (8)   a close at this ledger time or later shall act
"""

from __future__ import annotations

from typing import Final

from domain.rules.draft import Draft
from domain.rules.records import PULSE
from ledger.state import State

STIRRED: Final = b"stirred"
READY: Final = b"ready"


def stir(draft: Draft) -> None:
    draft.put(PULSE, STIRRED, b"")


def is_stirred(state: State) -> bool:
    return state.get(PULSE.name, STIRRED) is not None


def is_ready(state: State) -> bool:
    """A `ready` row lies one millisecond behind an earlier close, so any later close has reached it."""
    return state.get(PULSE.name, READY) is not None


def ready_at(state: State) -> int | None:
    row = state.get(PULSE.name, READY)
    return None if row is None else int.from_bytes(row, "big")


def settle_down(state: State, again: int | None) -> State:
    """At the end of a close: forget what stirred, and be ready `again` at that time or not at all."""
    state = state.delete(PULSE.name, STIRRED)
    if again is None:
        return state.delete(PULSE.name, READY)
    return state.put(PULSE.name, READY, again.to_bytes(8, "big"))
