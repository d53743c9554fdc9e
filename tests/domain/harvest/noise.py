"""A day of readings as sensors give them: drifting, shaking, sometimes absent. Seeded; one each `every_s`
seconds.

Most of the time all is well. In episodes, of each kind a few a day and up to an hour long, a reading hovers
around the very value at which work must stop, a plug has a loose contact, somebody is at the keyboard, a
screen says that it is locked and that it is not, the Wi-Fi comes and goes. That is as bad for a policy as
honest sensors are.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from domain.harvest.profiles import Limits
from domain.harvest.readings import Readings
from domain.harvest.trace import Sample

DAY_S = 86_400
MIDNIGHT = 1_700_006_400_000
MIB = 1 << 20


class Episodes:
    """When it is bad: `a_day` times, at random, for 5 to 60 minutes."""

    def __init__(self, random: Random, a_day: int) -> None:
        self._spans = []
        for _ in range(a_day):
            begin = random.randrange(DAY_S)
            self._spans.append((begin, begin + random.randrange(300, 3_600)))

    def at(self, second: int) -> bool:
        return any(begin <= second < end for begin, end in self._spans)


class Sensor:
    """Drawn to `well`, or in an episode to `bad`; what it says shakes by `jitter`."""

    def __init__(self, random: Random, well: float, bad: float, jitter: float, a_day: int = 3) -> None:
        self._random, self._well, self._bad, self._jitter = random, well, bad, jitter
        self._episodes = Episodes(random, a_day)
        self._at = well

    def says(self, second: int, every_s: int) -> float:
        goal = self._bad if self._episodes.at(second) else self._well
        self._at += (goal - self._at) * min(1.0, every_s / 60)
        return self._at + self._random.gauss(0, self._jitter)


def day(seed: int, limits: Limits, *, every_s: int = 5, dropout: float = 0.000_2) -> Iterator[Sample]:
    """A machine that is at its limits again and again. `dropout` is the chance that a reading is absent."""
    random = Random(seed)
    cpu = Sensor(random, limits.cpu_resume_c - 6, limits.cpu_stop_c, 1.5)
    battery = Sensor(random, limits.battery_resume_c - 2, limits.battery_stop_c, 0.4)
    charge = Sensor(random, min(97, limits.battery_resume_percent + 9), limits.battery_stop_percent, 1.0, 2)
    others = Sensor(random, limits.cpu_resume_percent - 12, limits.cpu_stop_percent, 5.0)
    stall = Sensor(random, 3, limits.stall_stop_percent, 5.0)
    memory = Sensor(random, limits.memory_resume_mib * 2, limits.memory_stop_mib, 80)
    contact, keyboard, wifi = Episodes(random, 2), Episodes(random, 5), Episodes(random, 1)
    fumbling = Random(f"lock {seed}")
    lock = Episodes(fumbling, 2)
    touched = -3_600
    for second in range(0, DAY_S, every_s):
        if keyboard.at(second) and random.random() < every_s / 40:
            touched = second
        mains = not (contact.at(second) and random.random() < 0.4)
        known = {
            "has_battery": True,
            "on_mains": mains,
            "charging": mains,
            "charge_percent": min(100, max(0, round(charge.says(second, every_s)))),
            "battery_mc": round(battery.says(second, every_s) * 1_000),
            "cpu_mc": round(cpu.says(second, every_s) * 1_000),
            "user_idle_ms": (second - touched) * 1_000,
            "locked": lock.at(second) and fumbling.random() < 0.5,
            "metered": wifi.at(second) and random.random() < 0.4,
            "cpu_others_ppm": min(1_000_000, max(0, round(others.says(second, every_s) * 10_000))),
            "cpu_stall_ppm": min(1_000_000, max(0, round(stall.says(second, every_s) * 10_000))),
            "memory_available_bytes": max(0, round(memory.says(second, every_s) * MIB)),
        }
        told = {name: value for name, value in known.items() if random.random() >= dropout}
        yield Sample(MIDNIGHT + second * 1_000, Readings(**told))
