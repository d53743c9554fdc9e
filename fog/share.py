"""The share: what of this machine all runs together may take, and what is left of it.

    memory   no more than `worker.memory_mib` in all, and never what would push the machine below the floor at
             which harvesting gives work up
    disk     no more than `worker.scratch_mib` in all, and never more than is free where runs have their files
    cores    of each second, `worker.cpu_percent`; the rest of it every child stands still (`throttle`)

Counted is what a run may come to need, not what it uses now: a lease that does not fit is given back before
it is begun, so that another machine gets it.

Knows sizes. Does not know why the gate is open.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
import trio

from domain.compute.sandbox import Sandbox
from domain.compute.spec import JobSpec
from fog.gate import Gate
from fog.settings import Worker as Settings
from ledger.errors import FogError

CHILD_SIZE: Final = 128 << 20  # bytes: interpreter, engine, and what compiling takes beside the module
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
    ) -> None:
        """`floor`: bytes of memory that stay available whatever runs; `free`: how many are available."""
        self.memory = 0
        self.disk = 0
        self._memory_max = settings.memory_mib << 20
        self._disk_max = settings.scratch_mib << 20
        self._scratch = scratch
        self._floor = floor
        self._free = free or _memory_available

    @contextmanager
    def taken(self, spec: JobSpec, shard: int) -> Iterator[None]:
        """What a shard may need is its own for the time of the block. Raises NoRoom."""
        memory = spec.memory + 2 * spec.output + CHILD_SIZE
        disk = sum(entry.size for entry in spec.shards[shard]) + spec.output
        self._check(memory, disk)
        self.memory += memory
        self.disk += disk
        try:
            yield
        finally:
            self.memory -= memory
            self.disk -= disk

    def _check(self, memory: int, disk: int) -> None:
        left = self._free() - self._floor() - self.memory
        if self._memory_max:
            left = min(left, self._memory_max - self.memory)
        if memory > left:
            raise NoRoom(f"the run may need {memory >> 20} MiB of memory, and {max(0, left) >> 20} are left")
        left = shutil.disk_usage(self._scratch).free - self.disk
        if self._disk_max:
            left = min(left, self._disk_max - self.disk)
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


def _memory_available() -> int:
    available: int = psutil.virtual_memory().available
    return available
