"""How much of the processor others use: what was used between two looks, less what our own jobs used.

Knows shares. Where the times are from is the caller's: `kernel`, or `portable`.

What must always hold: neither our jobs nor what the node does for them counts as somebody who needs the
processor. A machine that yields to its own work would never do any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from domain.harvest.probes import ProbeFailed
from domain.harvest.readings import Readings

WINDOW_NS_MIN: Final = 200_000_000
"""Of all cores together. Shorter than some ticks of the clock, a share is noise."""


class Used(NamedTuple):
    """Nanoseconds of processor time since the start; neither ever decreases."""

    jobs: int  # all our jobs
    node: int = 0  # the node itself: what it fetches and verifies for them


OwnUse = Callable[[], Used]

Times = Callable[[], tuple[int, int]]
"""Nanoseconds that all cores were busy, and that there were."""

Pressure = Callable[[], int | None]
"""Millionths of the last seconds in which some program, ours among them, waited for a core."""


def nothing_used() -> Used:
    return Used(0)


def no_pressure() -> None:
    return None


class Processor:
    """Keeps the last look, to tell what was used since."""

    name = "processor"

    def __init__(self, times: Times, own: OwnUse = nothing_used, pressure: Pressure = no_pressure) -> None:
        self._times = times
        self._pressure = pressure
        self._own = own
        self._then: tuple[int, int, Used] | None = None  # busy, all, ours
        self._others: int | None = None
        self._alone = True  # our jobs used nothing in the last window

    def read(self) -> Readings:
        """`cpu_others_ppm` from the second look on.

        Pressure is told only while our jobs stand still: they wait for cores too, and more patiently.
        """
        try:
            busy, total = self._times()
        except ProbeFailed:
            self._then, self._others = None, None
            stall = self._pressure()
            if stall is None:
                raise
            return Readings(cpu_stall_ppm=stall)
        own = self._own()
        if self._then is None or total < self._then[1]:
            self._then, self._others, self._alone = (busy, total, own), None, own.jobs == 0
        elif total - self._then[1] >= WINDOW_NS_MIN:
            used, there = busy - self._then[0], total - self._then[1]
            jobs, node = own.jobs - self._then[2].jobs, own.node - self._then[2].node
            self._others = min(max(0, used - jobs - node) * 1_000_000 // there, 1_000_000)
            self._then, self._alone = (busy, total, own), jobs == 0
        return Readings(cpu_others_ppm=self._others, cpu_stall_ppm=self._pressure() if self._alone else None)
