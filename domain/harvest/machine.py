"""This machine: the probes that fit it, asked together, merged field by field.

The first probe that knows a field decides it. A probe that fails or is slow makes its fields unknown; what it
said is kept for people, never raised.

    Linux      sysfs, logind, NetworkManager, /proc           macOS      pmset, ioreg, psutil
    Android    Termux, /proc, sysfs where it may be read      Windows    its calls, psutil
    others     psutil

Knows which probes there are and how long they may take. Does not judge what they say.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final, NamedTuple

import trio

from domain.harvest.probes import Blocking, Probe, ProbeFailed, macos, portable, sysfs, termux, windows
from domain.harvest.probes.bus import Bus
from domain.harvest.probes.kernel import Memory, Pressure, Times
from domain.harvest.probes.logind import Logind
from domain.harvest.probes.networkmanager import NetworkManager
from domain.harvest.probes.processor import OwnUse, Processor, nothing_used
from domain.harvest.probes.programs import Runner, run
from domain.harvest.profiles import Name, fitting
from domain.harvest.readings import Readings, merged

READ_S_MAX: Final = 2.0
"""For one look. An embedded controller may take tenths of a second; what takes longer says nothing of now."""

TERMUX_EVERY_S: Final = 5.0  # each question starts a process and wakes an app
TERMUX_HOLDS_S: Final = 15.0
"""What it said holds while the next question is out, which may take RUN_S_MAX: so late may show that a
charger was pulled. Were it unknown meanwhile, each slow answer would cost minutes of calm.
"""

MACOS_EVERY_S: Final = 5.0  # each starts a process; input is asked at every look
NETWORK_EVERY_S: Final = 30.0

WATCH_PAUSE_S: Final = 30.0
"""Before logind is asked again to tell of changes, after it went away or was not there."""

Changes = Callable[[], AsyncIterator[None]]


class Look(NamedTuple):
    """What was read, and why what is not known was not: by the name of the probe."""

    readings: Readings
    failures: Mapping[str, str]


class Machine:
    """Probes in the order of their word's weight."""

    def __init__(
        self,
        probes: Sequence[Probe],
        *,
        changes: Changes | None = None,
        phone: bool = False,
        chassis: int | None = None,
        seat: bool = True,
    ) -> None:
        self.probes = tuple(probes)
        self._changes = changes
        self._phone = phone
        self._chassis = chassis
        self._seat = seat

    async def look(self) -> Look:
        """Within READ_S_MAX. Never raises for what a probe does."""
        parts: list[Readings] = [Readings()] * len(self.probes)
        failures: dict[str, str] = {}

        async def ask(place: int, probe: Probe) -> None:
            with trio.move_on_after(READ_S_MAX) as scope:
                try:
                    parts[place] = await probe.read()
                except (ProbeFailed, OSError) as error:
                    failures[probe.name] = str(error)
            if scope.cancelled_caught:
                failures[probe.name] = f"no answer within {READ_S_MAX:.0f} s"

        async with trio.open_nursery() as nursery:
            for place, probe in enumerate(self.probes):
                nursery.start_soon(ask, place, probe)
        return Look(merged(parts), failures)

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever the system says that something is new; until cancelled.

        Where nothing tells, it never does: look every second all the same.
        """
        while self._changes is not None:
            try:
                async with aclosing(self._changes()) as changes:  # type: ignore[type-var]
                    async for _ in changes:
                        changed()
            except ProbeFailed:
                await trio.sleep(WATCH_PAUSE_S)
        await trio.sleep_forever()

    async def aclose(self) -> None:
        """Let go of the bus. The machine may be looked at again."""
        for probe in self.probes:
            if isinstance(probe, Logind | NetworkManager):
                await probe.bus.aclose()

    def profile(self, readings: Readings) -> Name:
        """The one that fits, if its owner names none."""
        return fitting(readings, phone=self._phone, chassis=self._chassis, seat=self._seat)

    def __repr__(self) -> str:
        return f"<Machine {', '.join(probe.name for probe in self.probes)}>"


def this_machine(own: OwnUse = nothing_used) -> Machine:
    """`own` is the processor time that our jobs have used, in ns."""
    if hasattr(sys, "getandroidapilevel"):
        return android(own=own)
    match sys.platform:
        case "linux":
            return linux(own=own)
        case "darwin":
            return mac(own=own)
        case "win32":
            return windows_machine(windows.System(), own=own)
        case _:
            return Machine(
                [
                    Blocking(portable.Battery()),
                    Blocking(portable.Memory()),
                    Blocking(Processor(portable.times, own)),
                ]
            )


def linux(
    sys: Path = Path("/sys"),
    proc: Path = Path("/proc"),
    own: OwnUse = nothing_used,
    bus: str = "SYSTEM",
) -> Machine:
    logind, wsl = Logind(Bus(bus)), sysfs.is_wsl(proc)
    return Machine(
        [
            Blocking(sysfs.PowerSupply(sys)),
            Blocking(sysfs.Thermal(sys)),
            *([] if wsl else [logind]),  # there it would not know of whoever sits at Windows
            NetworkManager(Bus(bus)),
            Blocking(Memory(proc)),
            Blocking(Processor(Times(proc), own, Pressure(proc))),
        ],
        changes=None if wsl else logind.changes,
        chassis=None if wsl else sysfs.chassis(sys),
        seat=wsl or sysfs.has_seat(sys),
    )


def android(
    runner: Runner = run,
    sys: Path = Path("/sys"),
    proc: Path = Path("/proc"),
    own: OwnUse = nothing_used,
) -> Machine:
    return Machine(
        [
            Blocking(termux.Battery(runner), TERMUX_EVERY_S, holds_s=TERMUX_HOLDS_S),
            Blocking(termux.Wifi(runner), NETWORK_EVERY_S, holds_s=NETWORK_EVERY_S + TERMUX_HOLDS_S),
            Blocking(sysfs.Thermal(sys)),
            Blocking(Memory(proc)),
            Blocking(Processor(Times(proc), own, Pressure(proc))),
        ],
        phone=True,
    )


def mac(runner: Runner = run, own: OwnUse = nothing_used) -> Machine:
    return Machine(
        [
            Blocking(macos.Power(runner), MACOS_EVERY_S),
            Blocking(macos.Heat(runner), MACOS_EVERY_S),
            Blocking(macos.Input(runner)),
            Blocking(portable.Memory()),
            Blocking(Processor(portable.times, own)),
        ]
    )


def windows_machine(calls: windows.Calls, own: OwnUse = nothing_used) -> Machine:
    return Machine(
        [
            Blocking(windows.Power(calls)),
            Blocking(windows.Input(calls)),
            Blocking(windows.Heat(calls)),
            Blocking(portable.Memory()),
            Blocking(Processor(portable.times, own)),
        ]
    )
