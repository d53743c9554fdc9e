"""What a child used, measured by its parent: processor time, memory, wall clock.

For people (counters, `fog status`, the price of a shard in joules), never for results: two machines use
different amounts for the same run. The child is not asked, because a guest that broke out would answer.

    linux   the process's own clock, in nanoseconds and exact until it is reaped, also when it is dead; the
            peak of its resident memory since it began to be the sandbox
    others  what psutil sees at each look
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import psutil
import trio

_PROCESS_CLOCK: Final = 2  # CPUCLOCK_SCHED of linux/include/linux/posix-timers.h


class Usage(msgspec.Struct, frozen=True):
    """Of one shard: milliseconds of processor time and of wall clock, bytes of memory at the peak."""

    cpu_ms: int
    wall_ms: int
    memory_peak: int


class Meter:
    """Watches one process. `begin` when its shard does; `look` now and then while it lives."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu_begin = self._cpu = 0
        self._memory_peak = 0
        self._wall_begin = trio.current_time()

    def begin(self) -> None:
        self.look()
        self._cpu_begin = self._cpu
        self._wall_begin = trio.current_time()

    def look(self) -> None:
        """What the process used so far; if it is gone, what was seen last stays."""
        with suppress(OSError, psutil.Error):
            self._cpu = _cpu_ns(self._pid)
            self._memory_peak = max(self._memory_peak, _memory_peak(self._pid))

    @property
    def usage(self) -> Usage:
        wall = trio.current_time() - self._wall_begin
        return Usage((self._cpu - self._cpu_begin) // 1_000_000, int(wall * 1000), self._memory_peak)


def _cpu_ns(pid: int) -> int:
    if sys.platform == "linux":
        return time.clock_gettime_ns(~pid << 3 | _PROCESS_CLOCK)
    times = psutil.Process(pid).cpu_times()
    return int((times.user + times.system) * 1e9)


def _memory_peak(pid: int) -> int:
    if sys.platform == "linux":
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0  # a process that ended has none
    return int(psutil.Process(pid).memory_info().rss)
