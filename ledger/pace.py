"""Pace: how long a voter waits for a leader, and for an answer to what it said.

Patience follows what was measured: four times the usual time from the start of a slot to its notarization,
between bounds; twice as long after every slot in a row that ended without one, so that a network that is
slower than we believe is not skipped for ever; and little for a leader who missed its last turn, until so
many in a row did that we may be too quick for them all. A slot that was interrupted, by a partition say,
tells only that one was slow: else its minutes would be the usual time. And one that was told of when it was
over (after a start, say) looks quick: that must not last either.

A slot's clock runs only while something is wanted: a quiet network skips nothing.

Knows moments and slots. Decides nothing about votes: being wrong here costs time, never safety.
"""

from __future__ import annotations

from typing import Final

PATIENCE_FIRST_MS: Final = 1_000
PATIENCE_MIN_MS: Final = 500
PATIENCE_MAX_MS: Final = 10_000
PATIENCE_TIMES: Final = 4
ABSENT_MS: Final = 250
"""For a leader who missed its last turn: enough for one that is back, on a quick network."""

MISSED_MAX: Final = 8
"""Slots in a row without a notarization, from which on nobody is taken for absent: less than a third is, and
so many of those seldom follow each other."""

SETTLING_MIN_MS: Final = 150

DOUBLINGS_MAX: Final = 4
REPEAT_MS: Final = 700
"""Without progress we say our words again: gossip loses some, and a peer may just have come back."""

REPEAT_DOUBLINGS_MAX: Final = 3
"""Each time after twice as long, up to six seconds: a third may be away for the night."""

assert ABSENT_MS < PATIENCE_MIN_MS <= PATIENCE_FIRST_MS <= PATIENCE_MAX_MS


class Pace:
    """One node's clock for the slots of one epoch after another."""

    def __init__(self) -> None:
        self.usual_ms: int | None = None  # smoothed, from wanted to notarized
        self._since: int | None = None  # when the present slot was first wanted
        self._deadline: int | None = None
        self._repeat: int | None = None
        self._repeats = 0  # in the present slot
        self._in_a_row = 0  # slots without a notarization
        self._doublings = 0  # those of them whose leaders were not absent before
        self._absent: set[bytes] = set()
        self._now = 0

    def patience(self, leader: bytes) -> int:
        """Milliseconds that this leader is given."""
        usual = PATIENCE_FIRST_MS if self.usual_ms is None else PATIENCE_TIMES * self.usual_ms
        patience = min(max(usual, PATIENCE_MIN_MS), PATIENCE_MAX_MS)
        if leader in self._absent:
            patience = max(ABSENT_MS, patience // PATIENCE_TIMES)
        return min(patience << min(self._doublings, DOUBLINGS_MAX), PATIENCE_MAX_MS)

    @property
    def settling(self) -> int:
        """Milliseconds that votes to finalize may take after a notarization, before another slot is tried."""
        return min(max(2 * (self.usual_ms or 0), SETTLING_MIN_MS), PATIENCE_MAX_MS)

    def entered(self) -> None:
        """A slot begins."""
        self._since = self._deadline = self._repeat = None
        self._repeats = 0

    def notarized(self, leader: bytes) -> None:
        """A slot of this leader ended well."""
        if self._since is not None:
            usual = self.usual_ms
            longest = PATIENCE_FIRST_MS if usual is None else max(PATIENCE_MIN_MS, PATIENCE_TIMES * usual)
            took = min(max(1, self._now - self._since), longest)
            self.usual_ms = took if usual is None else (3 * usual + took) // 4
        self._in_a_row = self._doublings = 0
        self._absent.discard(leader)

    def skipped(self, leader: bytes) -> None:
        """A slot of this leader ended without a notarization."""
        self._in_a_row += 1
        self._doublings += leader not in self._absent
        self._absent.add(leader)
        if self._in_a_row >= MISSED_MAX:
            self._absent.clear()

    def is_up(self, now: int, leader: bytes, *, wanted: bool) -> bool:
        """Whether patience with the leader of the present slot is at its end."""
        if now < self._now:  # the clock was set back: what was to be reached may now be hours away
            self._since = self._deadline = self._repeat = None
        self._now = now
        if not wanted:
            self._since = self._deadline = None
            return False
        if self._deadline is None:
            self._since = now
            self._deadline = now + self.patience(leader)
        return now >= self._deadline

    def is_silent(self, now: int, *, wanted: bool) -> bool:
        """Whether it is time to say our words again: after REPEAT_MS, then twice as long, and so on."""
        if not wanted:
            self._repeat, self._repeats = None, 0
            return False
        if self._repeat is not None and now < self._repeat:
            return False
        is_first = self._repeat is None
        self._repeat = now + (REPEAT_MS << min(self._repeats, REPEAT_DOUBLINGS_MAX))
        self._repeats += not is_first
        return not is_first

    @property
    def next(self) -> int | None:
        """When to look again (unix ms); None: when something happens."""
        times = [time for time in (self._deadline, self._repeat) if time is not None and time > self._now]
        return min(times, default=None)

    def __repr__(self) -> str:
        return f"<Pace usual={self.usual_ms} ms, {self._in_a_row} skips in a row>"
