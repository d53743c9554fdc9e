"""A token bucket: how many bytes may pass, and when. Pure; `now` is any clock in seconds.

What must always hold: over any time t no more than `rate * t + burst` bytes pass, and one unit more: whoever
finds the bucket not in debt may take all it needs at once, and the next one waits until that is paid back.
(So a unit may be larger than the burst, and nothing waits for ever.)
"""

from __future__ import annotations

from typing import Final

BURST_S: Final = 1.0  # what was not used is saved up for so long; more would be felt by others on the line


class Bucket:
    """`rate` in bytes a second."""

    def __init__(self, rate: int, now: float) -> None:
        assert rate > 0, "a bucket that never fills"
        self.rate = rate
        self._level = self.burst = rate * BURST_S
        self._at = now

    def _fill(self, now: float) -> None:
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now

    def wait(self, now: float) -> float:
        """Seconds until something may be taken; 0: now."""
        self._fill(now)
        return 0.0 if self._level > -1 else -self._level / self.rate  # a byte's part is rounding

    def take(self, size: int, now: float) -> None:
        """`size` bytes pass now, in debt if need be. Negative: so many of those taken before did not."""
        self._fill(now)
        self._level = min(self.burst, self._level - size)

    def __repr__(self) -> str:
        return f"<Bucket {self._level:.0f} of {self.burst:.0f} bytes, {self.rate} a second>"
