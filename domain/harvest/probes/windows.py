"""Windows: power, input and the speed of the processor, by calls that fill structs.

    GetSystemPowerStatus      SYSTEM_POWER_STATUS: mains, battery, charge
    GetLastInputInfo          LASTINPUTINFO.dwTime, against GetTickCount; both wrap after 49.7 days
    CallNtPowerInformation    PROCESSOR_POWER_INFORMATION of each processor: MhzLimit against MaxMhz

The structs are read from their bytes, so that this is the same code everywhere; the calls are only on
Windows. No call tells an unprivileged program how hot the processor is: that it is held back is what is known
of heat.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Any, Final, Protocol

from domain.harvest.probes import ProbeFailed
from domain.harvest.readings import Readings

SLOW_PERCENT: Final = 90  # of full speed; below, the processor is held back
UNKNOWN: Final = 255
NO_BATTERY: Final = 128
CHARGING: Final = 8
PROCESSOR_INFORMATION: Final = 11  # POWER_INFORMATION_LEVEL

_POWER: Final = struct.Struct("<BBBBII")  # SYSTEM_POWER_STATUS
_INPUT: Final = struct.Struct("<II")  # LASTINPUTINFO
_PROCESSOR: Final = struct.Struct("<6I")  # PROCESSOR_POWER_INFORMATION


class Calls(Protocol):
    """What Windows is asked; each gives the bytes of a struct. Raises ProbeFailed."""

    def power_status(self) -> bytes: ...

    def last_input(self) -> bytes: ...

    def tick_count(self) -> int: ...

    def processors(self) -> bytes: ...


class Power:
    """GetSystemPowerStatus."""

    name = "GetSystemPowerStatus"

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def read(self) -> Readings:
        line, flag, percent, *_ = _unpack(_POWER, self._calls.power_status())
        without = flag != UNKNOWN and bool(flag & NO_BATTERY)
        mains = {0: False, 1: True}.get(line)
        return Readings(
            has_battery=None if flag == UNKNOWN else not without,
            on_mains=True if without and mains is None else mains,
            charging=None if flag == UNKNOWN or without else bool(flag & CHARGING),
            charge_percent=None if percent == UNKNOWN or without else percent,
        )


class Input:
    """GetLastInputInfo: of the session that this program runs in."""

    name = "GetLastInputInfo"

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def read(self) -> Readings:
        _, then = _unpack(_INPUT, self._calls.last_input())
        return Readings(user_idle_ms=(self._calls.tick_count() - then) % 2**32)


class Heat:
    """CallNtPowerInformation."""

    name = "CallNtPowerInformation"

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def read(self) -> Readings:
        data = self._calls.processors()
        if not data or len(data) % _PROCESSOR.size:
            raise ProbeFailed(f"{len(data)} bytes are no list of processors")
        limits = [(most, limit) for _, most, _, limit, _, _ in _PROCESSOR.iter_unpack(data) if most]
        if not limits:
            raise ProbeFailed("no processor says how fast it may be")
        return Readings(throttled=any(limit * 100 < most * SLOW_PERCENT for most, limit in limits))


def _unpack(layout: struct.Struct, data: bytes) -> tuple[int, ...]:
    if len(data) != layout.size:
        raise ProbeFailed(f"{len(data)} bytes where a struct has {layout.size}")
    return layout.unpack(data)


class System:
    """The calls themselves."""

    def __init__(self) -> None:
        library: Any = getattr(ctypes, "WinDLL", None)
        if library is None:
            raise ProbeFailed("this is not Windows")
        self._kernel, self._user, self._power = library("kernel32"), library("user32"), library("powrprof")

    def power_status(self) -> bytes:
        buffer = ctypes.create_string_buffer(_POWER.size)
        if not self._kernel.GetSystemPowerStatus(buffer):
            raise ProbeFailed("GetSystemPowerStatus fails")
        return buffer.raw

    def last_input(self) -> bytes:
        buffer = ctypes.create_string_buffer(_INPUT.pack(_INPUT.size, 0), _INPUT.size)
        if not self._user.GetLastInputInfo(buffer):
            raise ProbeFailed("GetLastInputInfo fails")
        return buffer.raw

    def tick_count(self) -> int:
        return int(self._kernel.GetTickCount()) % 2**32

    def processors(self) -> bytes:
        buffer = ctypes.create_string_buffer(_PROCESSOR.size * (os.cpu_count() or 1))
        if self._power.CallNtPowerInformation(PROCESSOR_INFORMATION, None, 0, buffer, len(buffer)) != 0:
            raise ProbeFailed("CallNtPowerInformation fails")
        return buffer.raw
