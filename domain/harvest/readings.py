"""What is known of a machine at one moment. None is unknown, and never means that all is well.

Knows units and what is plausible. Does not know where a reading is from, nor what it permits.

What must always hold: integers and truth values only, units in the names (`_mc` thousandths of a degree
Celsius, `_ppm` millionths); a value that no machine can have is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

TEMPERATURE_MC: Final = range(-40_000, 150_001)
"""What sensors of computers measure; broken ones say 0 K, 255 or 65,261.85 degrees."""

DURATION_MS_MAX: Final = 10 * 366 * 86_400_000  # ten years: longer than anything runs
MEMORY_BYTES_MAX: Final = 2**50

PLAUSIBLE: Final = {
    "charge_percent": range(101),
    "battery_mc": TEMPERATURE_MC,
    "cpu_mc": TEMPERATURE_MC,
    "cpu_critical_mc": TEMPERATURE_MC,
    "user_idle_ms": range(DURATION_MS_MAX),
    "cpu_others_ppm": range(1_000_001),
    "cpu_stall_ppm": range(1_000_001),
    "memory_available_bytes": range(MEMORY_BYTES_MAX),
}
"""The values that each number may have."""


class Readings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One look at a machine. Every field is optional."""

    has_battery: bool | None = None  # one that runs the machine, not one of a mouse
    on_mains: bool | None = None  # power comes from outside; a machine without a battery is
    charging: bool | None = None  # the battery gains charge; False when it is full, too
    charge_percent: int | None = None  # 0 to 100, the emptiest battery
    battery_mc: int | None = None  # the hottest battery
    cpu_mc: int | None = None  # the hottest part of the processor
    cpu_critical_mc: int | None = None  # where the system switches itself off
    throttled: bool | None = None  # the system slows its processor down because of heat
    user_idle_ms: int | None = None  # since anybody touched it
    locked: bool | None = None  # every session on a screen is locked
    metered: bool | None = None  # the network costs by volume
    cpu_others_ppm: int | None = None  # of all cores, used by others than our jobs
    cpu_stall_ppm: int | None = None  # of the time, some program waited for a core (PSI `some avg10`)
    memory_available_bytes: int | None = None  # could be had without swapping


FIELDS: Final = Readings.__struct_fields__


def merged(parts: Iterable[Readings]) -> Readings:
    """Field by field the first that is known. Values that cannot be are dropped first."""
    known: dict[str, bool | int] = {}
    for part in parts:
        for name in FIELDS:
            value = getattr(part, name)
            if name not in known and value is not None and plausible(name, value):
                known[name] = value
    return msgspec.convert(known, Readings)


def plausible(name: str, value: bool | int) -> bool:
    """Whether a machine can have this value in this field."""
    return name not in PLAUSIBLE or value in PLAUSIBLE[name]


def unknown(readings: Readings) -> tuple[str, ...]:
    """The names of the fields that are not known."""
    return tuple(name for name in FIELDS if getattr(readings, name) is None)
