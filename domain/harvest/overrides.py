"""What the owner of a machine may change: the settings `harvest.*`, each of them one limit of the profile.

A number that is AS_PROFILE, and a choice that is `profile`, leaves the limit as the profile has it. Of a stop
and a resume value, changing one moves the other along, at the distance that the profile keeps.

Knows the settings' ranges and words. Does not know files or variables; `fog.settings` takes this struct as it
is.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from domain.harvest import schedule
from domain.harvest.profiles import DAY_S, NEVER_HOT_C, PROFILES, Limits, Name
from domain.harvest.reasons import Subject
from ledger.errors import UsageError

AS_PROFILE: Final = -1

Hours = Annotated[str, Meta(max_length=64)]
Choice = Literal["profile", "yes", "no"]
Seconds = Annotated[int, Meta(ge=AS_PROFILE, le=DAY_S)]
Percent = Annotated[int, Meta(ge=AS_PROFILE, le=100)]
Celsius = Annotated[int, Meta(ge=AS_PROFILE, le=NEVER_HOT_C)]
Mebibytes = Annotated[int, Meta(ge=AS_PROFILE, le=2**24)]

PAIRS: Final = (
    ("battery_stop_percent", "battery_resume_percent", +1),
    ("battery_stop_c", "battery_resume_c", -1),
    ("cpu_stop_c", "cpu_resume_c", -1),
    ("cpu_stop_percent", "cpu_resume_percent", -1),
    ("stall_stop_percent", "stall_resume_percent", -1),
    ("memory_stop_mib", "memory_resume_mib", +1),
)
"""Stop, resume, and on which side of stop resume is the better value."""

MOST: Final = {"percent": 100, "c": NEVER_HOT_C, "mib": 2**24}


class Overrides(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When this machine works for others."""

    profile: Annotated[
        Literal["auto", "phone", "laptop", "desktop", "server"],
        Meta(description="What kind of machine this is; auto: by its case, battery and system."),
    ] = "auto"
    hours: Annotated[
        Annotated[tuple[Hours, ...], Meta(max_length=schedule.WINDOWS_MAX)],
        Meta(description="When work is allowed, like `22:00-07:00` or `mon-fri 18:00-08:00`; empty: always."),
    ] = ()
    zone: Annotated[
        Annotated[str, Meta(max_length=64)],
        Meta(description="Time zone of the hours, like `Europe/Berlin`; empty: the machine's."),
    ] = ""
    idle_s: Annotated[
        Seconds,
        Meta(
            description="Seconds without input before work; 0: nobody uses this machine; -1: as the profile."
        ),
    ] = AS_PROFILE
    locked_idle_s: Annotated[
        Seconds,
        Meta(description="The same while every screen is locked, for so long; -1: as the profile."),
    ] = AS_PROFILE
    charger_is_idle: Annotated[
        Choice,
        Meta(
            description="Whether time on mains counts as time without input if nothing tells; "
            "profile: as the profile."
        ),
    ] = "profile"
    mains_only: Annotated[
        Choice, Meta(description="Whether to work on mains power only; profile: as the profile.")
    ] = "profile"
    battery_stop_percent: Annotated[
        Percent,
        Meta(description="Stop when the battery has less than this, on mains power too; -1: as the profile."),
    ] = AS_PROFILE
    battery_resume_percent: Annotated[
        Percent, Meta(description="Work again from this charge on; -1: as the profile.")
    ] = AS_PROFILE
    battery_stop_c: Annotated[
        Celsius, Meta(description="Stop when a battery is hotter, in degrees Celsius; -1: as the profile.")
    ] = AS_PROFILE
    battery_resume_c: Annotated[
        Celsius, Meta(description="Work again when it is no hotter; -1: as the profile.")
    ] = AS_PROFILE
    cpu_stop_c: Annotated[
        Celsius,
        Meta(description="Stop when the processor is hotter, in degrees Celsius; -1: as the profile."),
    ] = AS_PROFILE
    cpu_resume_c: Annotated[
        Celsius, Meta(description="Work again when it is no hotter; -1: as the profile.")
    ] = AS_PROFILE
    critical_margin_c: Annotated[
        Celsius,
        Meta(description="Degrees to stay below where the system switches itself off; -1: as the profile."),
    ] = AS_PROFILE
    unmetered_only: Annotated[
        Choice,
        Meta(
            description="Whether to work only on a network that is known not to cost by volume; "
            "profile: as the profile."
        ),
    ] = "profile"
    cpu_stop_percent: Annotated[
        Percent, Meta(description="Stop when other programs use more of the processor; -1: as the profile.")
    ] = AS_PROFILE
    cpu_resume_percent: Annotated[
        Percent, Meta(description="Work again when they use no more; -1: as the profile.")
    ] = AS_PROFILE
    stall_stop_percent: Annotated[
        Percent,
        Meta(description="Stop when programs wait for a core more of the time (PSI); -1: as the profile."),
    ] = AS_PROFILE
    stall_resume_percent: Annotated[
        Percent, Meta(description="Work again when they wait no more; -1: as the profile.")
    ] = AS_PROFILE
    memory_stop_mib: Annotated[
        Mebibytes, Meta(description="Give work up when less memory is available; -1: as the profile.")
    ] = AS_PROFILE
    memory_resume_mib: Annotated[
        Mebibytes, Meta(description="Work again from this much memory on; -1: as the profile.")
    ] = AS_PROFILE
    calm_s: Annotated[
        Seconds, Meta(description="Seconds all must be well again after heat or battery; -1: as the profile.")
    ] = AS_PROFILE
    short_calm_s: Annotated[
        Seconds, Meta(description="Seconds all must be well again after anything else; -1: as the profile.")
    ] = AS_PROFILE
    suspend_s: Annotated[
        Seconds,
        Meta(description="Seconds that stopped work is kept before it is given up; -1: as the profile."),
    ] = AS_PROFILE
    evict_unplugged: Annotated[
        Choice,
        Meta(description="Whether to give work up at once without mains power; profile: as the profile."),
    ] = "profile"
    may_be_unknown: Annotated[
        Annotated[
            tuple[Literal["profile", "power", "charge", "heat", "metered", "cpu", "memory"], ...],
            Meta(max_length=8),
        ],
        Meta(description="What this machine need not tell; `profile` stands for what the profile lists."),
    ] = ("profile",)

    def limits(self, name: Name) -> Limits:
        """Those of profile `name`, changed. Raises UsageError (`bad_limits`) if resume is worse than stop."""
        before = PROFILES[name]
        changes: dict[str, Any] = {}
        for field in Limits.__struct_fields__:
            value = getattr(self, field, AS_PROFILE)
            if field == "may_be_unknown":
                changes[field] = self._may_be_unknown(before)
            elif value in ("yes", "no"):
                changes[field] = value == "yes"
            elif value not in (AS_PROFILE, "profile"):
                changes[field] = value
        for stop, resume, better in PAIRS:
            _keep_distance(changes, before, stop, resume, better)
        return replace(before, **changes)

    def _may_be_unknown(self, before: Limits) -> frozenset[Subject]:
        named: set[Subject] = {name for name in self.may_be_unknown if name != "profile"}
        return frozenset(named | (before.may_be_unknown if "profile" in self.may_be_unknown else set()))


def _keep_distance(changes: dict[str, Any], before: Limits, stop: str, resume: str, better: int) -> None:
    distance = getattr(before, resume) - getattr(before, stop)
    most = MOST[stop.rsplit("_", 1)[1]]
    if stop in changes and resume not in changes:
        changes[resume] = min(most, max(0, changes[stop] + distance))
    elif resume in changes and stop not in changes:
        changes[stop] = min(most, max(0, changes[resume] - distance))
    elif stop in changes and (changes[resume] - changes[stop]) * better < 0:
        raise UsageError(
            f"harvest.{resume} = {changes[resume]} would go on where harvest.{stop} = {changes[stop]} stops",
            code="bad_limits",
            next_step=f"set harvest.{resume} {'above' if better > 0 else 'below'} harvest.{stop}, or neither",
        )
