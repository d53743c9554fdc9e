"""macOS: what `pmset` and `ioreg` print.

    pmset -g batt           "Now drawing from 'AC Power'", and a line for each battery with its charge
                            and state
    pmset -g therm          CPU_Speed_Limit in percent of full speed, or a note that none has been recorded
    ioreg -c IOHIDSystem    HIDIdleTime: nanoseconds since the last input
    ioreg -n Root -d1       IOConsoleLocked

No program of the system tells an unprivileged user how hot the processor is, or whether a network costs by
volume: that it slows down is what is known of heat.
"""

from __future__ import annotations

import re
from typing import Final

from domain.harvest.probes import ProbeFailed
from domain.harvest.probes.programs import Runner, run
from domain.harvest.readings import Readings

SLOW_PERCENT: Final = 90
"""Of full speed; below, heat holds the processor back. A step or two less than full is ordinary."""

_SOURCE: Final = re.compile(r"Now drawing from '([^']{1,64})'")
_BATTERY: Final = re.compile(r"\t(\d{1,3})%; ([a-zA-Z ]{1,32});")
_LIMIT: Final = re.compile(r"CPU_Speed_Limit\s*=\s*(\d{1,3})\b")
_WARNING: Final = re.compile(r"(?:thermal|performance) warning level\s*=\s*(\d{1,3})\b", re.IGNORECASE)
_NOTE: Final = re.compile(r"No (?:thermal|performance) warning level has been recorded")
_IDLE: Final = re.compile(r'"HIDIdleTime"\s*=\s*(\d{1,20})\b')
_LOCKED: Final = re.compile(r'"IOConsoleLocked"\s*=\s*(Yes|No)\b')


class Power:
    """`pmset -g batt`."""

    name = "pmset -g batt"

    def __init__(self, runner: Runner = run) -> None:
        self._run = runner

    def read(self) -> Readings:
        text = self._run(["pmset", "-g", "batt"]).decode(errors="replace")
        source = _SOURCE.search(text)
        if source is None:
            raise ProbeFailed("pmset does not say what the power is drawn from")
        batteries = [(int(percent), state.strip()) for percent, state in _BATTERY.findall(text)]
        states = {state for _, state in batteries}
        return Readings(
            has_battery=bool(batteries),
            on_mains={"AC Power": True, "Battery Power": False, "UPS Power": False}.get(source[1]),
            charging=bool(states & {"charging", "finishing charge"}) if batteries else None,
            charge_percent=min((percent for percent, _ in batteries), default=None),
        )


class Heat:
    """`pmset -g therm`."""

    name = "pmset -g therm"

    def __init__(self, runner: Runner = run) -> None:
        self._run = runner

    def read(self) -> Readings:
        text = self._run(["pmset", "-g", "therm"]).decode(errors="replace")
        limit, warnings = _LIMIT.search(text), _WARNING.findall(text)
        if limit is None and not warnings and _NOTE.search(text) is None:
            raise ProbeFailed("pmset does not say whether heat slows the processor")
        slow = limit is not None and int(limit[1]) < SLOW_PERCENT
        return Readings(throttled=slow or any(int(level) > 0 for level in warnings))


class Input:
    """`ioreg`: keyboard, mouse, and the lock of the screen."""

    name = "ioreg"

    def __init__(self, runner: Runner = run) -> None:
        self._run = runner

    def read(self) -> Readings:
        text = self._run(["ioreg", "-c", "IOHIDSystem", "-d", "4"]).decode(errors="replace")
        idle = [int(ns) // 1_000_000 for ns in _IDLE.findall(text)]
        if not idle:
            raise ProbeFailed("ioreg does not say when the last input was")
        locked = _LOCKED.search(self._run(["ioreg", "-n", "Root", "-d1"]).decode(errors="replace"))
        return Readings(user_idle_ms=min(idle), locked=None if locked is None else locked[1] == "Yes")
