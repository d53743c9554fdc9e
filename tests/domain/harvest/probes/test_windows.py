"""The structs of Windows, byte by byte after its documentation; they are read the same on every system."""

from __future__ import annotations

import struct

import pytest

from domain.harvest.probes import ProbeFailed
from domain.harvest.probes.windows import Heat, Input, Power, System
from domain.harvest.readings import Readings


class Said:
    """What the calls filled in."""

    def __init__(
        self, power: bytes = b"", then: int = 0, now: int = 0, processors: list[tuple[int, int]] | None = None
    ) -> None:
        self._power = power
        self._then = then
        self._now = now
        self._processors = processors or []

    def power_status(self) -> bytes:
        return self._power

    def last_input(self) -> bytes:
        return struct.pack("<II", 8, self._then)

    def tick_count(self) -> int:
        return self._now

    def processors(self) -> bytes:
        rows = enumerate(self._processors)
        return b"".join(
            struct.pack("<6I", number, most, limit, limit, 2, 2) for number, (most, limit) in rows
        )


def power(line: int, flag: int, percent: int) -> Readings:
    """ACLineStatus, BatteryFlag, BatteryLifePercent; seconds left are unknown."""
    return Power(Said(struct.pack("<BBBBII", line, flag, percent, 0, 2**32 - 1, 2**32 - 1))).read()


@pytest.mark.parametrize(
    ("line", "flag", "percent", "readings"),
    [
        (1, 8 | 1, 84, Readings(has_battery=True, on_mains=True, charging=True, charge_percent=84)),
        (0, 1, 71, Readings(has_battery=True, on_mains=False, charging=False, charge_percent=71)),
        (0, 4, 3, Readings(has_battery=True, on_mains=False, charging=False, charge_percent=3)),
        (1, 128, 255, Readings(has_battery=False, on_mains=True)),
        (255, 128, 255, Readings(has_battery=False, on_mains=True)),
        (255, 255, 255, Readings()),
        (1, 0, 255, Readings(has_battery=True, on_mains=True, charging=False)),
    ],
)
def test_mains_and_battery(line: int, flag: int, percent: int, readings: Readings) -> None:
    assert power(line, flag, percent) == readings


def test_input_is_counted_in_ticks_that_begin_anew() -> None:
    assert Input(Said(then=1_000, now=61_000)).read() == Readings(user_idle_ms=60_000)
    assert Input(Said(then=2**32 - 500, now=500)).read() == Readings(user_idle_ms=1_000)


def test_one_processor_that_is_held_back_is_enough() -> None:
    assert Heat(Said(processors=[(2_400, 2_400)] * 4)).read() == Readings(throttled=False)
    assert Heat(Said(processors=[(2_400, 2_400), (2_400, 1_440)])).read() == Readings(throttled=True)
    assert Heat(Said(processors=[(2_400, 2_376)])).read() == Readings(throttled=False), "99 % is ordinary"


@pytest.mark.parametrize("probe", [Power(Said(b"\x01")), Heat(Said()), Heat(Said(processors=[(0, 0)]))])
def test_a_struct_of_another_size_is_a_failure(probe: Power | Heat) -> None:
    with pytest.raises(ProbeFailed):
        probe.read()


def test_elsewhere_there_are_no_calls() -> None:
    with pytest.raises(ProbeFailed, match="not Windows"):
        System()
