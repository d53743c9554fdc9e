"""How long something is asked for that nobody gives: tries with growing pauses, and an end.

Only time in which somebody could be asked counts, and only tries that brought nothing: a slow link is not
given up on, nor is a machine that lost its network for an hour. Alone for ALONE_S_MAX, it ends all the same.

Pure: time is an argument.
"""

from __future__ import annotations

from typing import Final

PAUSE_S_MIN: Final = 2.0
"""After the first try: whoever has it may just be restarting."""

PAUSE_S_MAX: Final = 60.0
"""Between the last ones: nobody is asked more often for what was not there."""

ALONE_S_MAX: Final = 86_400.0
"""A day without anybody: the network is gone rather than this machine's link to it."""


class Patience:
    """For one thing. `tries` that brought nothing, `spent_s` on them."""

    def __init__(self, whole_s: float) -> None:
        """`whole_s`: seconds of tries and pauses in which somebody was there and nothing came."""
        self.tries = 0
        self.spent_s = 0.0
        self._whole_s = whole_s
        self._alone_s = 0.0
        self._pause_s = 0.0

    def failed(self, took_s: float, *, brought: bool, alone: bool) -> float | None:
        """A try ended without all of it. How long to pause before the next; None: give up.

        `brought`: something new came; `alone`: nobody was there to be asked.
        """
        took_s += self._pause_s
        if brought:
            self.tries, self.spent_s, self._alone_s, self._pause_s = 0, 0.0, 0.0, 0.0
        elif alone:
            self._alone_s += took_s
        else:
            self._alone_s = 0.0
            self.tries += 1
            self.spent_s += took_s
        left_s = min(self._whole_s - self.spent_s, ALONE_S_MAX - self._alone_s)
        if left_s <= 0:
            return None
        self._pause_s = min(max(PAUSE_S_MIN, 2 * self._pause_s), PAUSE_S_MAX, left_s)
        return self._pause_s

    def __repr__(self) -> str:
        return f"<Patience {self.tries} tries, {self.spent_s:.0f} of {self._whole_s:.0f} s>"
