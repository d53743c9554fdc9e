"""How many leases a worker holds beyond those that it runs.

Between two leases lie a commitment, two checkpoints and a fetch: half a second, more in a busy network, in
which a core that held one lease alone would be idle. So as many are held ahead as bridge it, and their inputs
fetched meanwhile. Of long ones none: there is little to gain, and whoever waits behind one could run
elsewhere.

Knows durations. What must always hold: nothing is held ahead before a run was seen, while runs are long, or
when what was held did not get its turn; at most AHEAD_MAX a slot.
"""

from __future__ import annotations

import math
from typing import Final

AHEAD_MAX: Final = 64
"""For each slot: more would keep work from idle others, for the sake of runs that are all overhead."""

RUN_S_MAX: Final = 5.0
"""Longer runs wait for their next lease: a second is then little, and others would wait long behind one."""

SPARE: Final = 2.5
"""Times the usual way from a commitment to what it made room for, since that varies."""

TURN_S_MIN: Final = 0.6
"""Less is not believed: it was seen when little ran, and checkpoints come more rarely when more does."""

QUEUE_S_MAX: Final = 10.0
"""A lease that was not begun by then goes back: the run before it is a long one after all. Time in which work
stands still for the machine's owner does not count."""


class Ahead:
    """`count` for all slots together."""

    def __init__(self, slots: int) -> None:
        self.count = 0
        self._slots = slots
        self.patience_s = QUEUE_S_MAX
        """For how long a lease of the present ones may wait for its turn."""
        self._run_s: float | None = None
        self._turn_s: float | None = None

    def ran(self, seconds: float) -> None:
        """A run took so long, from its start to its result, without the time in which it stood still."""
        self._run_s = _mixed(self._run_s, seconds)
        self._settle()

    def late(self) -> None:
        """A lease went back, because those before it took too long: as after a long run, nothing is held."""
        self.ran(max(4 * RUN_S_MAX, 4 * (self._run_s or 0)))

    def turned(self, seconds: float) -> None:
        """So long after a commitment the ledger showed its slot free."""
        self._turn_s = _mixed(self._turn_s, seconds)
        self._settle()

    def _settle(self) -> None:
        """Up at once; down when it is half, because each change is an event that everybody keeps."""
        wanted = self._wanted()
        if wanted > self.count or 2 * wanted <= self.count:
            self.count = wanted

    def _wanted(self) -> int:
        if self._run_s is None or self._turn_s is None or self._run_s > RUN_S_MAX:
            return 0
        run_s = max(self._run_s, 1e-3)
        bridging = math.ceil(SPARE * self._slots * max(self._turn_s, TURN_S_MIN) / run_s)
        patient = int(self.patience_s / 2 / run_s) * self._slots  # when runs take twice as long as usual
        return min(self._slots * AHEAD_MAX, bridging, patient)

    def __repr__(self) -> str:
        return f"<Ahead {self.count}, slots={self._slots}>"


def _mixed(usual: float | None, seconds: float) -> float:
    """Smoothed; a run that is far longer than usual counts at once."""
    if usual is None or seconds > 4 * usual:
        return seconds
    return (3 * usual + seconds) / 4
