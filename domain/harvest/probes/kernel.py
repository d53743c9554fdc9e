"""Linux `/proc`: memory that could be had, pressure on the processor, and how much of it others use.

Formats: the kernel's Documentation/filesystems/proc.rst (`meminfo` in KiB, `stat` in ticks) and
Documentation/accounting/psi.rst (`some avg10=` in percent with two decimals).

What must always hold: our own jobs never count as somebody who needs the processor; a machine that yields to
its own work would never do any.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from domain.harvest.probes import ProbeFailed
from domain.harvest.readings import Readings

FILE_SIZE_MAX: Final = 1 << 20

_AVAILABLE: Final = re.compile(rb"^MemAvailable:\s+(\d{1,15}) kB$", re.MULTILINE)
_SOME: Final = re.compile(rb"^some avg10=(\d{1,3})\.(\d\d) ", re.MULTILINE)
_CPU: Final = re.compile(rb"^cpu +((?:\d{1,19} ?){5,12})$", re.MULTILINE)

OwnUse = Callable[[], int]
"""Nanoseconds of processor time that all our jobs have used since the start; never decreases."""


class Memory:
    """`/proc/meminfo`."""

    name = "memory"

    def __init__(self, root: Path) -> None:
        self._path = root / "meminfo"

    def read(self) -> Readings:
        match = _AVAILABLE.search(_content(self._path))
        if match is None:
            raise ProbeFailed(f"{self._path} does not say what memory is available")
        return Readings(memory_available_bytes=int(match[1]) << 10)


class Processor:
    """`/proc/stat` and `/proc/pressure/cpu`: what others need of the processor, between two looks."""

    name = "processor"

    def __init__(self, root: Path, own: OwnUse, tick_ns: int | None = None) -> None:
        self._stat = root / "stat"
        self._pressure = root / "pressure" / "cpu"
        self._own = own
        self._tick_ns = tick_ns or 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        self._last: tuple[int, int, int] | None = None  # busy ns, all ns, our ns

    def read(self) -> Readings:
        """`cpu_others_ppm` from the second look on. Pressure is told only while our jobs are still: they wait
        too.
        """
        busy, total = self._ticks()
        own = self._own()
        last, self._last = self._last, (busy, total, own)
        if last is None or total <= last[1]:
            return Readings(cpu_stall_ppm=self._stall() if own == 0 else None)
        used, ours = busy - last[0], own - last[2]
        share = max(0, used - ours) * 1_000_000 // (total - last[1])
        return Readings(
            cpu_others_ppm=min(share, 1_000_000), cpu_stall_ppm=self._stall() if ours == 0 else None
        )

    def _ticks(self) -> tuple[int, int]:
        match = _CPU.search(_content(self._stat))
        if match is None:
            raise ProbeFailed(f"{self._stat} does not say how the processor was used")
        ticks = [int(part) for part in match[1].split()]
        total = sum(ticks[:8])  # guests are counted in user time already
        idle = ticks[3] + ticks[4]
        return (total - idle) * self._tick_ns, total * self._tick_ns

    def _stall(self) -> int | None:
        try:
            match = _SOME.search(_content(self._pressure))
        except ProbeFailed:
            return None  # a kernel without PSI
        return None if match is None else int(match[1]) * 10_000 + int(match[2]) * 100


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_SIZE_MAX)
    except OSError as error:
        raise ProbeFailed(f"cannot read {path}: {error.strerror}") from error
