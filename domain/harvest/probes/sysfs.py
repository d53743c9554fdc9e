"""Linux sysfs: batteries, chargers and temperatures, as files.

Formats: the kernel's Documentation/ABI/testing/sysfs-class-power (`capacity` in percent, `temp` in tenths of
a degree, `energy_*` and `charge_*` in millionths), Documentation/driver-api/thermal/sysfs-api.rst and
Documentation/hwmon/sysfs-interface.rst (thousandths of a degree).

What must always hold: a file that is missing, unreadable (a driver may answer EIO, EAGAIN or ENODATA) or not
in its format makes its own value unknown and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from domain.harvest.probes import ProbeFailed
from domain.harvest.readings import Readings, plausible

FILE_SIZE_MAX: Final = 4096  # sysfs gives a page at most
ENTRIES_MAX: Final = 256  # supplies, zones or sensors; a large board has some sixty

CPU_DRIVERS: Final = frozenset({"coretemp", "k10temp", "zenpower", "k8temp", "via_cputemp", "cpu_thermal"})
"""hwmon drivers of processors."""

CPU_ZONE: Final = re.compile(r"x86_pkg_temp|cpu|soc|cluster|bcm2835|tcpu", re.IGNORECASE)
"""Types of thermal zones that are a processor's or its chip's."""

BOARD_ZONE: Final = re.compile(r"acpitz", re.IGNORECASE)
"""Where no zone says it is the processor's: the one that firmware gives."""


class PowerSupply:
    """`/sys/class/power_supply`."""

    name = "sysfs power_supply"

    def __init__(self, root: Path) -> None:
        self._folder = root / "class" / "power_supply"

    def read(self) -> Readings:
        batteries, online = [], []
        for entry in _entries(self._folder):
            kind = _text(entry / "type")
            if _text(entry / "scope") == "Device":
                continue  # of a mouse or a headset
            if kind in ("Battery", "UPS"):
                if _number(entry / "present") != 0:
                    batteries.append(_battery(entry))
            elif kind == "Mains" or kind == "Wireless" or kind.startswith("USB") or kind == "BrickID":
                online.append(_number(entry / "online"))
        return Readings(
            has_battery=bool(batteries),
            on_mains=_on_mains(batteries, online),
            charging=_charging(batteries),
            charge_percent=_charge(batteries),
            battery_mc=max((b.mc for b in batteries if b.mc is not None), default=None),
        )


class _Battery(NamedTuple):
    status: str
    percent: int | None
    now: int | None  # µWh, or µAh where energy is not known
    full: int | None
    mc: int | None


def _battery(entry: Path) -> _Battery:
    now, full = _number(entry / "energy_now"), _number(entry / "energy_full")
    tenths = _number(entry / "temp")
    return _Battery(
        _text(entry / "status"),
        _number(entry / "capacity"),
        now,
        full,
        None if tenths is None else tenths * 100,
    )


def _on_mains(batteries: list[_Battery], online: list[int | None]) -> bool | None:
    if not batteries:
        return True  # it runs
    if any(b.status == "Charging" for b in batteries) or any(online):
        return True
    if any(b.status == "Discharging" for b in batteries) or (online and None not in online):
        return False
    if all(b.status in ("Full", "Not charging") for b in batteries) and not online:
        return True  # nothing else could keep it full
    return None


def _charging(batteries: list[_Battery]) -> bool | None:
    states = {b.status for b in batteries}
    if "Charging" in states:
        return True
    return False if states & {"Discharging", "Full", "Not charging"} else None


def _charge(batteries: list[_Battery]) -> int | None:
    """Of all batteries together, in percent, rounded down."""
    energies = [(b.now, b.full) for b in batteries if b.now is not None and b.full]
    if len(batteries) > 1 and len(energies) == len(batteries):
        return min(100, sum(now for now, _ in energies) * 100 // sum(full for _, full in energies))
    percents = [b.percent for b in batteries]
    if any(percent is None for percent in percents):
        return None
    return min((percent for percent in percents if percent is not None), default=None)


class Thermal:
    """`/sys/class/hwmon` and `/sys/class/thermal`: the processor, and where the system gives up."""

    name = "sysfs thermal"

    def __init__(self, root: Path) -> None:
        self._class = root / "class"

    def read(self) -> Readings:
        """The first of: the processor's own sensors, zones of the processor, the zone of the board."""
        sensors = [*self._sensors(), *self._zones(CPU_ZONE)] or [*self._zones(BOARD_ZONE)]
        if not sensors:
            raise ProbeFailed("no sensor says how hot the processor is")
        criticals = [critical for _, critical in sensors if critical is not None]
        return Readings(cpu_mc=max(mc for mc, _ in sensors), cpu_critical_mc=min(criticals, default=None))

    def _sensors(self) -> Iterable[tuple[int, int | None]]:
        for chip in _entries(self._class / "hwmon", missing_ok=True):
            if _text(chip / "name") not in CPU_DRIVERS:
                continue
            for path in sorted(chip.glob("temp*_input"))[:ENTRIES_MAX]:
                mc = _number(path)
                if mc is not None and plausible("cpu_mc", mc):
                    yield mc, _critical(_number(path.with_name(path.name.replace("_input", "_crit"))))

    def _zones(self, wanted: re.Pattern[str]) -> Iterable[tuple[int, int | None]]:
        for zone in _entries(self._class / "thermal", missing_ok=True):
            if not zone.name.startswith("thermal_zone") or not wanted.search(_text(zone / "type")):
                continue
            mc = _number(zone / "temp")
            if mc is None or not plausible("cpu_mc", mc):
                continue
            trips = [
                _critical(_number(path.with_name(path.name.replace("_type", "_temp"))))
                for path in sorted(zone.glob("trip_point_*_type"))[:ENTRIES_MAX]
                if _text(path) == "critical"
            ]
            yield mc, min((trip for trip in trips if trip is not None), default=None)


def chassis(root: Path) -> int | None:
    """The kind of case, as SMBIOS numbers them. None: not told."""
    return _number(root / "class" / "dmi" / "id" / "chassis_type")


def is_wsl(proc: Path) -> bool:
    """Whether this Linux runs inside of Windows, which has the screen and the keyboard and does not tell.

    Its kernels name themselves after who builds them (https://github.com/microsoft/WSL/issues/423).
    """
    return "microsoft" in _text(proc / "sys" / "kernel" / "osrelease").lower()


def has_seat(root: Path) -> bool:
    """Whether there is a screen or anything to touch; also if this system does not tell."""
    if not (root / "class").is_dir():
        return True
    return any(_entries(root / "class" / name, missing_ok=True) for name in ("drm", "graphics", "input"))


def _critical(mc: int | None) -> int | None:
    """Firmware that sets no limit writes 0, 127 or 255 degrees."""
    return mc if mc is not None and 40_000 <= mc <= 125_000 else None


def _entries(folder: Path, *, missing_ok: bool = False) -> list[Path]:
    try:
        return sorted(folder.iterdir())[:ENTRIES_MAX]
    except OSError as error:
        if missing_ok:
            return []
        raise ProbeFailed(f"cannot list {folder}: {error.strerror}") from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(FILE_SIZE_MAX).decode("ascii", "replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else None
