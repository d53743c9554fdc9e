"""This machine: the probes that fit it, asked together, merged field by field.

The first probe that knows a field decides it. A probe that fails or is slow makes its fields unknown; what it
said is kept for people, never raised. A probe that hangs holds one thread, and is not asked again before that
is back.

Knows which probes there are and how long they may take. Does not judge what they say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import trio

from domain.harvest.probes import Probe, ProbeFailed
from domain.harvest.probes.kernel import Memory, OwnUse, Processor
from domain.harvest.probes.sysfs import PowerSupply, Thermal
from domain.harvest.readings import Readings, merged

READ_S_MAX: Final = 2.0
"""For one look. An embedded controller may take tenths of a second; what takes longer says nothing of now."""


_run_sync: Any = trio.to_thread.run_sync  # the installed stubs do not know abandon_on_cancel


class Look(NamedTuple):
    """What was read, and why what is not known was not: by the name of the probe."""

    readings: Readings
    failures: Mapping[str, str]


class Machine:
    """Probes in the order of their word's weight."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self.probes = tuple(probes)
        self._threads = [trio.CapacityLimiter(1) for _ in probes]

    async def look(self) -> Look:
        """Within READ_S_MAX. Never raises for what a probe does."""
        parts: list[Readings] = [Readings()] * len(self.probes)
        failures: dict[str, str] = {}

        async def ask(place: int, probe: Probe) -> None:
            with trio.move_on_after(READ_S_MAX) as scope:
                try:
                    parts[place] = await _run_sync(
                        probe.read, abandon_on_cancel=True, limiter=self._threads[place]
                    )
                except (ProbeFailed, OSError) as error:
                    failures[probe.name] = str(error)
            if scope.cancelled_caught:
                failures[probe.name] = f"no answer within {READ_S_MAX:.0f} s"

        async with trio.open_nursery() as nursery:
            for place, probe in enumerate(self.probes):
                nursery.start_soon(ask, place, probe)
        return Look(merged(parts), failures)

    def __repr__(self) -> str:
        return f"<Machine {', '.join(probe.name for probe in self.probes)}>"


def nothing_used() -> int:
    return 0


def linux(sys: Path = Path("/sys"), proc: Path = Path("/proc"), own: OwnUse = nothing_used) -> Machine:
    return Machine([PowerSupply(sys), Thermal(sys), Memory(proc), Processor(proc, own)])
