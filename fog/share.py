"""The share: what of this machine all runs together may take, and what is left of it.

    memory   no more than `worker.memory_mib` in all, and never what would push the machine below the floor at
             which harvesting gives work up
    disk     no more than `worker.scratch_mib` in all, and never more than is free where runs have their files
    cores    of each second, `worker.cpu_percent`; the rest of it every child stands still (`throttle`)

Counted is what a run may come to need, not what it uses now: a lease that does not fit is given back before
it is begun, so that another machine gets it. Then no more are offered for a while than fitted: the next one
would come back as well.

Knows sizes. Does not know why the gate is open.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
import trio

from domain.compute.sandbox import Sandbox, memory_of
from domain.compute.spec import JobSpec
from fog.gate import Gate
from fog.settings import Worker as Settings
from ledger.errors import FogError

CHILD_SIZE: Final = 128 << 20  # bytes: interpreter, engine, and what compiling takes beside the module
CROWDED_S_MIN: Final = 30.0  # after a lease did not fit; twice as long each time, until one does
CROWDED_S_MAX: Final = 120.0  # so long a stranger's job that fits nowhere may keep others' away
THROTTLE_S: Final = 1.0  # one turn of working and standing still: fans do not follow it, people do not wait


class NoRoom(FogError):
    """The run would take more than this machine gives. The code says of what, and is public."""

    code = "no_memory"


class Share:
    """`memory` and `disk` are taken by the runs at work now, in bytes."""

    def __init__(
        self,
        settings: Settings,
        scratch: Path,
        floor: Callable[[], int],
        free: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`floor`: bytes of memory that stay available whatever runs; `free`: how many are available;
        `clock`: seconds."""
        self.memory = 0
        self.disk = 0
        self._memory_max = settings.memory_mib << 20
        self._disk_max = settings.scratch_mib << 20
        self._scratch = scratch
        self._floor = floor
        self._free = free or _memory_available
        self._clock = clock
        self._runs = 0
        self._fitted = 0  # runs that had room when another one had not
        self._crowded_s = 0.0
        self._crowded_until = -math.inf

    @property
    def crowded_s(self) -> float:
        """For how long no more runs are to be offered than fitted; 0: as many as there are slots."""
        return max(0.0, self._crowded_until - self._clock())

    def fitting(self, slots: int) -> int:
        """As many of these as seem to fit now."""
        return min(slots, self._fitted) if self.crowded_s else slots

    def require(self, spec: JobSpec, shard: int) -> None:
        """Before anything is fetched: raises NoRoom for what would not fit if nothing else ran."""
        self._check(*_needs(spec, shard), alone=True)

    @contextmanager
    def taken(self, spec: JobSpec, shard: int) -> Iterator[None]:
        """What a shard may need is its own for the time of the block. Raises NoRoom."""
        memory, disk = _needs(spec, shard)
        self._check(memory, disk, alone=False)
        if not self.crowded_s:
            self._crowded_s = 0.0
        self.memory += memory
        self.disk += disk
        self._runs += 1
        try:
            yield
        finally:
            self.memory -= memory
            self.disk -= disk
            self._runs -= 1

    def _check(self, memory: int, disk: int, *, alone: bool) -> None:
        """`alone`: as if those that run now had given back what they took."""
        try:
            self._fits(memory, disk, alone=alone)
        except NoRoom:
            if not self.crowded_s:  # not for each of several that were leased together
                self._crowded_s = min(max(CROWDED_S_MIN, 2 * self._crowded_s), CROWDED_S_MAX)
                self._crowded_until = self._clock() + self._crowded_s
            self._fitted = self._runs
            raise

    def _fits(self, memory: int, disk: int, *, alone: bool) -> None:
        taken, given = (0, self.memory) if alone else (self.memory, -self.memory)
        left = self._free() - self._floor() + given
        if self._memory_max:
            left = min(left, self._memory_max - taken)
        if memory > left:
            raise NoRoom(f"the run may need {memory >> 20} MiB of memory, and {max(0, left) >> 20} are left")
        taken, given = (0, self.disk) if alone else (self.disk, -self.disk)
        left = shutil.disk_usage(self._scratch).free + given
        if self._disk_max:
            left = min(left, self._disk_max - taken)
        if disk > left:
            raise NoRoom(
                f"the run may need {disk >> 20} MiB of disk, and {max(0, left) >> 20} are left",
                code="no_disk",
            )

    def __repr__(self) -> str:
        return f"<Share memory={self.memory >> 20} MiB disk={self.disk >> 20} MiB>"


async def throttle(gate: Gate, sandbox: Sandbox, percent: int) -> None:
    """Let children work for so much of every second. Until cancelled; the gate's word is above this one."""
    assert 0 < percent < 100
    while True:
        await trio.sleep(THROTTLE_S * percent / 100)
        sandbox.suspend()
        await trio.sleep(THROTTLE_S * (100 - percent) / 100)
        if gate.is_open and not gate.has_flinched:
            await sandbox.resume()


def _needs(spec: JobSpec, shard: int) -> tuple[int, int]:
    """Bytes of memory and of disk. The sizes are the spec's word, which `fog.provisions` holds it to."""
    inputs = sum(entry.size for entry in spec.shards[shard])
    return memory_of(spec, inputs) + CHILD_SIZE, inputs + spec.output


def _memory_available() -> int:
    available: int = psutil.virtual_memory().available
    return available
