"""Whole nights and days of five devices: every change of the answer, when, and for which reason."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import pytest

from domain.harvest.history import action_of
from domain.harvest.policy import Answer, Policy
from domain.harvest.profiles import PROFILES, Name
from domain.harvest.trace import Sample, changes, held, read, replay
from tests.domain.harvest.devices import FIXTURES
from tests.domain.harvest.oracle import out_of_bounds

PHONE_NIGHT = """
    22:00:00  evict    unplugged
    22:10:00  evict    battery_low     charging comes first
    22:28:00  evict    settling        80 % are there, for five minutes
    22:33:00  run      idle
    23:30:00  suspend  battery_hot     under a pillow
    23:40:00  evict    battery_hot     for ten minutes now
    23:41:00  evict    settling        36 degrees, not only below 40
    23:46:00  run      idle
    03:00:00  suspend  metered         no Wi-Fi
    03:01:30  suspend  settling
    03:02:30  run      idle
    06:55:00  evict    unplugged       at once
"""

LAPTOP_DAY = """
    12:00:00  suspend  user_active
    12:10:00  run      idle            five minutes after the last key
    12:40:00  suspend  cpu_hot
    12:44:00  suspend  settling
    12:49:00  run      idle
    13:00:00  suspend  user_active
    13:10:00  evict    user_active
    13:31:10  run      idle            locked for a minute, so a minute is enough
    14:00:00  suspend  unplugged
    14:10:00  evict    unplugged
    15:20:00  evict    user_active     plugged in
    15:25:00  evict    settling
    15:26:00  evict    user_active
    15:35:00  evict    settling        the calm begins anew
    15:40:00  run      idle
    16:00:00  suspend  metered
"""

SERVER = """
    10:00:00  run      idle
    10:05:00  suspend  cpu_busy
    10:08:00  suspend  settling
    10:09:00  run      idle
    10:20:00  evict    memory_low      a stopped run would keep its memory
    10:21:00  evict    settling
    10:22:00  run      idle            and goes on when nothing can be read any more
"""

BOARD = """
    14:00:00  run      idle
    14:09:00  suspend  cpu_hot
    14:13:00  suspend  settling
    14:18:00  run      idle
    14:26:00  suspend  cpu_hot
    14:30:00  suspend  settling
    14:35:00  run      idle
    14:38:00  suspend  cpu_hot         after three minutes: it waits ten
    14:42:00  suspend  settling
    14:48:00  evict    settling
    14:52:00  run      idle
"""

DESKTOP = """
    09:00:00  suspend  user_active
    09:10:00  evict    user_active     reading is no absence
    10:05:00  run      idle
    10:12:00  suspend  user_unknown
    10:12:20  suspend  settling
    10:13:20  run      idle
    10:20:00  suspend  user_active
    10:27:00  suspend  cpu_busy        away, but the machine is at work
    10:30:00  evict    settling
    10:31:00  run      idle
"""

DEVICES: list[tuple[str, Name, str]] = [
    ("phone_night", "phone", PHONE_NIGHT),
    ("laptop_day", "laptop", LAPTOP_DAY),
    ("server_without_sensors", "server", SERVER),
    ("fanless_board", "server", BOARD),
    ("desktop_typing", "desktop", DESKTOP),
]


def recorded(name: str) -> list[Sample]:
    """One reading a second."""
    lines = (FIXTURES / "traces" / f"{name}.jsonl").read_text().splitlines()
    return list(held(read(lines), every_ms=1_000))


@cache
def decided(name: str, profile: Name) -> list[tuple[Sample, Answer]]:
    return list(replay(Policy(limits=PROFILES[profile]), recorded(name)))


def clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%H:%M:%S")


@pytest.mark.parametrize(("name", "profile", "expected"), DEVICES, ids=[name for name, *_ in DEVICES])
def test_every_change_has_the_right_reason_at_the_right_second(
    name: str, profile: Name, expected: str
) -> None:
    found = [
        (clock(sample.at_ms), action_of(answer), answer.reason.code)
        for sample, answer in changes(decided(name, profile))
    ]
    assert found == [tuple(line.split()[:3]) for line in expected.strip().splitlines()]


@pytest.mark.parametrize(("name", "profile", "_"), DEVICES, ids=[name for name, *_ in DEVICES])
def test_no_second_of_work_is_outside_the_limits(name: str, profile: Name, _: str) -> None:
    assert list(out_of_bounds(PROFILES[profile], decided(name, profile))) == []
