"""Who asks a machine what it is like: one small adapter a source.

    sysfs             Linux: batteries, chargers, temperatures (files)
    kernel            Linux: memory, pressure on the processor and how much of it was used (files)
    processor         how much of it others than our jobs use
    bus               D-Bus: one call with an answer
    logind            Linux: when somebody last touched it (system bus)
    networkmanager    Linux: whether the network costs by volume (system bus)
    portable          anywhere: memory, who uses the processor, battery (psutil)
    programs          runs one of the system's programs, within a deadline
    termux            Android: battery and Wi-Fi (programs that print JSON)
    macos             macOS: power, heat, input (programs that print text)
    windows           Windows: power, input, speed of the processor (calls that fill structs)

A probe tells what it can and leaves the rest None. Where a whole source is missing it raises ProbeFailed with
what was missing. Roots, runners, addresses and clocks are arguments, so that a test hands in what a real
device said.

Knows formats. Does not merge, wait or judge: `domain.harvest.machine` and `policy` do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import trio

from domain.harvest.readings import Readings
from ledger.errors import RemoteError

_run_sync: Final[Any] = trio.to_thread.run_sync  # the installed stubs do not know abandon_on_cancel


PROMPT_S: Final = 0.2
"""How long a look waits for a source whose last word still holds."""


class ProbeFailed(RemoteError):
    """A source did not answer, or not in its format; the message is for the machine's owner."""

    code = "probe_failed"


class Probe(Protocol):
    """One source of readings."""

    @property
    def name(self) -> str:
        """For people: what is asked."""

    async def read(self) -> Readings:
        """What it says now. Raises ProbeFailed or OSError."""


class Source(Protocol):
    """One that blocks its thread while it reads."""

    @property
    def name(self) -> str:
        """As a probe's."""

    def read(self) -> Readings:
        """As a probe's."""


class Blocking:
    """A source as a probe, asked at most once in `every_s`; in between it says what it said.

    If it hangs, it holds one thread and is not asked again before that is back; what it then says still
    counts, for `every_s` from when it was asked. While it is asked for longer than PROMPT_S, what it said
    before holds, up to an age of `holds_s`.
    """

    def __init__(
        self,
        source: Source,
        every_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        *,
        holds_s: float = 0.0,
    ) -> None:
        self._source = source
        self._every_s = every_s
        self._holds_s = holds_s
        self._clock = clock
        self._thread = trio.CapacityLimiter(1)
        self._last: tuple[float, Readings] | None = None

    @property
    def name(self) -> str:
        return self._source.name

    async def read(self) -> Readings:
        if (told := self._told(self._every_s)) is not None:
            return told
        if self._thread.available_tokens:
            with trio.move_on_after(PROMPT_S if self._told(self._holds_s) else math.inf):
                readings: Readings = await _run_sync(self._ask, abandon_on_cancel=True, limiter=self._thread)
                return readings
        if (told := self._told(self._holds_s)) is not None:
            return told
        raise ProbeFailed("it has not answered the question before this one")

    def _told(self, age_s: float) -> Readings | None:
        """What it said last, if it was asked less than `age_s` ago."""
        return self._last[1] if self._last is not None and self._clock() - self._last[0] < age_s else None

    def _ask(self) -> Readings:
        """In a thread, which may outlive whoever waits for it."""
        asked = self._clock()
        try:
            readings = self._source.read()
        except BaseException:
            self._last = None
            raise
        self._last = (asked, readings)
        return readings
