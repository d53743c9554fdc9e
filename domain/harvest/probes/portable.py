"""psutil: what every system tells in its own way and psutil in one.

Knows memory, times of the processor and the battery. Used where this program has no closer source.
"""

from __future__ import annotations

import psutil

from domain.harvest.probes import ProbeFailed
from domain.harvest.readings import Readings


class Memory:
    """Memory that could be had without swapping."""

    name = "memory"

    def read(self) -> Readings:
        return Readings(memory_available_bytes=psutil.virtual_memory().available)


class Battery:
    """Charge and mains power. A machine without a battery runs on mains power."""

    name = "battery"

    def read(self) -> Readings:
        battery = psutil.sensors_battery()
        if battery is None:
            raise ProbeFailed("psutil finds no battery, and does not tell whether there is one")
        return Readings(has_battery=True, on_mains=battery.power_plugged, charge_percent=int(battery.percent))


def times() -> tuple[int, int]:
    """Nanoseconds that all cores were busy, and that there were."""
    parts = psutil.cpu_times()
    guests = getattr(parts, "guest", 0.0) + getattr(parts, "guest_nice", 0.0)  # in `user` already
    total = sum(parts) - guests
    idle = parts.idle + getattr(parts, "iowait", 0.0)
    return int((total - idle) * 1e9), int(total * 1e9)
