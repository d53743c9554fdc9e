"""Every reason that a decision may have: its code, what it means, how much calm it asks for afterwards.

Codes are public words: the same in the API, in `fog status`, in the log and in docs/harvest.md. A sentence
has the numbers that led to the decision in it. Knows words and units; decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import msgspec

Calm = Literal["none", "short", "long"]
"""How long everything must be well before work goes on: at once; `short_calm_s`; `calm_s`."""

Subject = Literal["power", "charge", "heat", "user", "metered", "cpu", "memory"]
"""What a limit is about. A profile names those that may be unknown (never `user`)."""


def _duration(ms: int) -> str:
    seconds = max(0, ms) // 1_000
    for size, unit, rest, smaller in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if seconds >= size:
            more = seconds % size // rest
            return f"{seconds // size} {unit}" + (f" {more} {smaller}" if more else "")
    return f"{seconds} s"


def _degrees(mc: int) -> str:
    return f"{mc / 1_000:.1f} °C"


def _percent(value: int) -> str:
    return f"{value} %"


def _share(ppm: int) -> str:
    return f"{ppm // 10_000} %"


def _memory(size: int) -> str:
    return f"{size >> 20} MiB"


class Meaning(NamedTuple):
    """`says` is for people; `{seen}` and `{limit}` are the numbers of the reason, in its unit.

    `remedy` is what an owner who wants it otherwise can do, for those who can do something.
    """

    says: str
    unit: Callable[[int], str] = _duration
    calm: Calm = "none"
    remedy: str = ""
    unnumbered: str = ""  # what it says when nothing was seen, where that is not `says`


REASONS: Final[dict[str, Meaning]] = {
    "idle": Meaning(
        "nobody has used this machine for {seen}", unnumbered="nothing stands in the way of work"
    ),
    "paused": Meaning(
        "paused by its owner for {seen} more",
        remedy="fog harvest resume",
        unnumbered="paused by its owner until it is told to go on",
    ),
    "outside_hours": Meaning(
        "outside the hours for work, which begin in {seen}",
        remedy="change harvest.hours",
        unnumbered="outside the hours for work",
    ),
    "unplugged": Meaning(
        "not on mains power", calm="long", remedy='plug it in, or set harvest.mains_only = "no"'
    ),
    "power_unknown": Meaning(
        "nothing tells whether this machine is on mains power",
        calm="long",
        remedy="add power to harvest.may_be_unknown if it always is",
    ),
    "battery_low": Meaning(
        "the battery is at {seen} and work needs {limit}",
        _percent,
        "long",
        "let it charge",
        unnumbered="the battery was too low when it last told how full it is",
    ),
    "charge_unknown": Meaning(
        "nothing tells how full the battery is",
        calm="long",
        remedy="add charge to harvest.may_be_unknown if that does not matter",
    ),
    "battery_hot": Meaning(
        "the battery has {seen} and work needs at most {limit}",
        _degrees,
        "long",
        unnumbered="the battery was too hot when its sensor last told",
    ),
    "cpu_hot": Meaning(
        "the processor has {seen} and work needs at most {limit}",
        _degrees,
        "long",
        unnumbered="the processor was too hot when its sensor last told",
    ),
    "throttled": Meaning("the system slows its processor down because of heat", calm="long"),
    "heat_unknown": Meaning(
        "nothing tells how hot this machine is",
        calm="long",
        remedy="add heat to harvest.may_be_unknown if its fans can cope",
    ),
    "user_active": Meaning("somebody used this machine {seen} ago and work waits for {limit} without input"),
    "user_unknown": Meaning(
        "nothing tells whether somebody uses this machine, so somebody does",
        calm="short",
        remedy="set harvest.idle_s = 0 if nobody ever does",
    ),
    "metered": Meaning(
        "the network costs by volume", calm="short", remedy='set harvest.unmetered_only = "no"'
    ),
    "metered_unknown": Meaning(
        "nothing tells whether the network costs by volume",
        calm="short",
        remedy="add metered to harvest.may_be_unknown if it does not",
    ),
    "cpu_busy": Meaning(
        "other programs use {seen} of the processor and work needs at most {limit}",
        _share,
        "short",
        unnumbered="other programs used too much of the processor when that was last told",
    ),
    "cpu_contended": Meaning(
        "programs wait for the processor {seen} of the time and work needs at most {limit}",
        _share,
        "short",
        unnumbered="too many programs waited for the processor when that was last told",
    ),
    "cpu_unknown": Meaning(
        "nothing tells how busy the processor is",
        calm="short",
        remedy="add cpu to harvest.may_be_unknown if that does not matter",
    ),
    "memory_low": Meaning(
        "{seen} of memory are free and work needs {limit}",
        _memory,
        "short",
        unnumbered="too little memory was free when that was last told",
    ),
    "memory_unknown": Meaning(
        "nothing tells how much memory is free",
        calm="short",
        remedy="add memory to harvest.may_be_unknown if that does not matter",
    ),
    "settling": Meaning("all has been well for {seen}, and work waits for {limit} of that"),
}
"""In the order in which they are looked at."""


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """`seen` against `limit`, in the unit of the code (ms, %, thousandths of a degree, millionths, bytes)."""

    code: str
    seen: int | None = None
    limit: int | None = None
    after: str = ""  # for `settling`: the code that asked for the calm

    def __post_init__(self) -> None:
        assert self.code in REASONS, f"{self.code} is no reason"

    def sentence(self) -> str:
        """Without a full stop, and without what follows from it."""
        meaning = REASONS[self.code]
        says = meaning.unnumbered if self.seen is None and meaning.unnumbered else meaning.says
        numbers = {
            name: meaning.unit(value)
            for name, value in (("seen", self.seen), ("limit", self.limit))
            if value is not None
        }
        after = f" (after {self.after})" if self.after else ""
        return says.format(**numbers) + after

    @property
    def remedy(self) -> str:
        """What the owner can do about it; empty: wait."""
        return REASONS[self.code].remedy


def duration(ms: int) -> str:
    """`"4 min 10 s"`: the two largest units, for people."""
    return _duration(ms)
