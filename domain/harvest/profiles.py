"""The limits of four classes of machine, and which of them a machine is.

    phone     lives from its battery: only on a charger, well charged and cool. Nothing tells when it is
              touched, so the time on the charger counts as time without input. Unplugged: runs are ended at
              once.
    laptop    on mains power, after minutes without input, cool, on a network known to be free
    desktop   as a laptop; heat and network may be unknown, because few desktops tell and most have fans and a
              line
    server    nobody sits at it. Whatever it does not tell sets no limit; what it tells does

What a limit is about (`Subject`) and does not say is unknown. Unknown stops the work, unless the profile
names the subject in `may_be_unknown`. `user` can not be named there: unknown is always "somebody is here",
and the only way around it is to say that nobody ever is (`idle_s` = 0, as servers do).

Knows numbers and their reasons. Decides nothing.

What must always hold: work stops at one value and goes on at a better one (or, for input, after a time).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from domain.harvest.readings import Readings
from domain.harvest.reasons import Subject

DAY_S: Final = 86_400
NEVER_HOT_C: Final = 150  # no sensor says more, so this is no limit

Name = Literal["phone", "laptop", "desktop", "server"]
Seconds = Annotated[int, Meta(ge=0, le=DAY_S)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Celsius = Annotated[int, Meta(ge=0, le=NEVER_HOT_C)]
Mebibytes = Annotated[int, Meta(ge=0, le=2**24)]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine must be like while it works (`stop`) and before it starts again (`resume`)."""

    idle_s: Seconds  # without input before work; 0: this machine has no user
    locked_idle_s: Seconds  # the same while every screen is locked
    charger_is_idle: bool = False  # if nothing tells of input, time on mains counts as time without
    mains_only: bool = True
    battery_stop_percent: Percent
    battery_resume_percent: Percent
    battery_stop_c: Celsius
    battery_resume_c: Celsius
    cpu_stop_c: Celsius
    cpu_resume_c: Celsius
    critical_margin_c: Celsius = 10  # and never nearer than this to where the system switches itself off
    unmetered_only: bool = True
    cpu_stop_percent: Percent  # used by others
    cpu_resume_percent: Percent
    stall_stop_percent: Percent  # of the time, some program waits for a core
    stall_resume_percent: Percent
    memory_stop_mib: Mebibytes  # available
    memory_resume_mib: Mebibytes
    calm_s: Seconds = 300  # after heat or battery
    short_calm_s: Seconds = 60  # after anything else that comes and goes
    suspend_s: Seconds = 600  # stopped runs keep their memory for so long, then they are given up
    evict_unplugged: bool = False  # give runs up at once when the power goes
    may_be_unknown: frozenset[Subject] = frozenset()

    def __post_init__(self) -> None:
        assert "user" not in self.may_be_unknown, "unknown is always: somebody is here"


PROFILES: Final[dict[Name, Limits]] = {
    "phone": Limits(
        idle_s=600,
        locked_idle_s=600,
        charger_is_idle=True,
        battery_stop_percent=60,
        battery_resume_percent=80,  # charging comes first
        battery_stop_c=40,  # above, lithium cells age quickly
        battery_resume_c=36,
        cpu_stop_c=70,
        cpu_resume_c=60,
        cpu_stop_percent=40,
        cpu_resume_percent=20,
        stall_stop_percent=40,
        stall_resume_percent=10,
        memory_stop_mib=512,
        memory_resume_mib=1_024,
        evict_unplugged=True,
        may_be_unknown=frozenset({"cpu"}),  # Android shows programs only themselves
    ),
    "laptop": Limits(
        idle_s=300,
        locked_idle_s=60,
        battery_stop_percent=30,
        battery_resume_percent=40,
        battery_stop_c=45,
        battery_resume_c=40,
        cpu_stop_c=85,
        cpu_resume_c=70,
        cpu_stop_percent=40,
        cpu_resume_percent=20,
        stall_stop_percent=40,
        stall_resume_percent=10,
        memory_stop_mib=1_024,
        memory_resume_mib=2_048,
    ),
    "desktop": Limits(
        idle_s=300,
        locked_idle_s=60,
        battery_stop_percent=50,  # of a UPS
        battery_resume_percent=80,
        battery_stop_c=45,
        battery_resume_c=40,
        cpu_stop_c=85,
        cpu_resume_c=75,
        cpu_stop_percent=40,
        cpu_resume_percent=20,
        stall_stop_percent=40,
        stall_resume_percent=10,
        memory_stop_mib=1_024,
        memory_resume_mib=2_048,
        may_be_unknown=frozenset({"heat", "metered"}),
    ),
    "server": Limits(
        idle_s=0,
        locked_idle_s=0,
        battery_stop_percent=50,
        battery_resume_percent=80,
        battery_stop_c=45,
        battery_resume_c=40,
        cpu_stop_c=90,
        cpu_resume_c=80,
        cpu_stop_percent=60,
        cpu_resume_percent=40,
        stall_stop_percent=60,
        stall_resume_percent=20,
        memory_stop_mib=512,
        memory_resume_mib=1_024,
        may_be_unknown=frozenset(set(get_args(Subject)) - {"user"}),
    ),
}


def fitting(
    readings: Readings, *, phone: bool = False, chassis: int | None = None, seat: bool = True
) -> Name:
    """The profile of a machine whose owner named none. One that has a user, and the stricter one in doubt.

    `seat` false: it has neither a screen nor anything to touch, so nobody can sit at it.
    """
    if phone:
        return "phone"
    if chassis in SERVER_CASES or (not seat and readings.has_battery is False):
        return "server"
    if readings.has_battery is not False or chassis in PORTABLE_CASES:
        return "laptop"
    return "desktop"


SERVER_CASES: Final = frozenset({17, 23, 25, 28, 29})
"""SMBIOS 3.7, 7.4.1: main server, rack mount, multi-system, blade, blade enclosure."""

PORTABLE_CASES: Final = frozenset({8, 9, 10, 11, 14, 30, 31, 32})
"""SMBIOS 3.7, 7.4.1: portable, laptop, notebook, hand held, sub notebook, tablet, convertible, detachable."""
