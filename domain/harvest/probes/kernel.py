"""Linux `/proc`: memory that could be had, pressure on the processor, and how much of it was used.

Formats: the kernel's Documentation/filesystems/proc.rst (`meminfo` in KiB, `stat` in ticks) and
Documentation/accounting/psi.rst (`some avg10=` in percent with two decimals).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from domain.harvest.probes import ProbeFailed
from domain.harvest.readings import Readings

FILE_SIZE_MAX: Final = 1 << 20

_AVAILABLE: Final = re.compile(rb"^MemAvailable:\s+(\d{1,15}) kB$", re.MULTILINE)
_SOME: Final = re.compile(rb"^some avg10=(\d{1,3})\.(\d\d) ", re.MULTILINE)
_CPU: Final = re.compile(rb"^cpu +((?:\d{1,19} ?){5,12})$", re.MULTILINE)


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


class Times:
    """`/proc/stat`: nanoseconds that all cores were busy, and that there were, since the system started."""

    def __init__(self, root: Path, ticks_per_second: int | None = None) -> None:
        self._path = root / "stat"
        self._tick_ns = 1_000_000_000 // (ticks_per_second or os.sysconf("SC_CLK_TCK"))

    def __call__(self) -> tuple[int, int]:
        """Raises ProbeFailed: Android, for one, shows it to nobody."""
        match = _CPU.search(_content(self._path))
        if match is None:
            raise ProbeFailed(f"{self._path} does not say how the processor was used")
        ticks = [int(part) for part in match[1].split()]
        total = sum(ticks[:8])  # what guests used is in `user` already
        idle = ticks[3] + ticks[4]
        return (total - idle) * self._tick_ns, total * self._tick_ns


class Pressure:
    """`/proc/pressure/cpu`: the part of the last ten seconds in which some program waited for a core."""

    def __init__(self, root: Path) -> None:
        self._path = root / "pressure" / "cpu"

    def __call__(self) -> int | None:
        """In millionths. None: a kernel that does not say."""
        try:
            match = _SOME.search(_content(self._path))
        except ProbeFailed:
            return None
        return None if match is None else int(match[1]) * 10_000 + int(match[2]) * 100


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_SIZE_MAX)
    except OSError as error:
        raise ProbeFailed(f"cannot read {path}: {error.strerror}") from error
