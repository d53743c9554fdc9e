"""Hours in which work is allowed: `22:00-07:00`, `mon-fri 18:00-08:00`, `sat`.

    window = [days] [HH:MM-HH:MM]      days = DAY or DAY-DAY, DAY = mon tue wed thu fri sat sun

A window that ends at or before its start goes on into the next day; its days are those on which it starts. No
window at all allows every hour. The zone is an argument: what the clock on the wall shows decides, also on
the nights when it is put forward or back.

Knows weeks and clocks. Does not know what time it is.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

import msgspec

from ledger.errors import UsageError

WINDOWS_MAX: Final = 32  # a week has 7 days; more than a few windows a day is a mistake
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES: Final = 24 * 60
HALF_HOUR: Final = timedelta(minutes=30)
"""Clocks are put forward and back at full or half hours of UTC."""

HORIZON: Final = timedelta(days=8)  # every window opens and closes within a week of any moment

_WINDOW: Final = re.compile(
    rf"(?:(?P<first>{'|'.join(DAYS)})(?:-(?P<last>{'|'.join(DAYS)}))?)?"
    r"(?:^|(?<=[a-z]) +|$)"
    r"(?:(?P<h1>[01]\d|2[0-3]):(?P<m1>[0-5]\d)-(?P<h2>[01]\d|2[0-4]):(?P<m2>[0-5]\d))?",
    re.ASCII,
)


class Window(msgspec.Struct, frozen=True):
    """From `start` for `length` minutes, on each of `days` (0 is Monday)."""

    days: frozenset[int]
    start: int  # minutes after midnight, 0 to 1439
    length: int  # 1 to 1440

    def holds(self, local: datetime) -> bool:
        minute = local.hour * 60 + local.minute
        today, yesterday = local.weekday(), (local.weekday() - 1) % 7
        return (today in self.days and self.start <= minute < self.start + self.length) or (
            yesterday in self.days and minute + DAY_MINUTES < self.start + self.length
        )


def window(text: str) -> Window:
    """Raises UsageError (`bad_hours`)."""
    match = _WINDOW.fullmatch(text.strip().lower())
    if match is None or not text.strip():
        raise _bad(text)
    days = frozenset(range(7))
    if match["first"]:
        first = DAYS.index(match["first"])
        last = DAYS.index(match["last"] or match["first"])
        days = frozenset((first + i) % 7 for i in range((last - first) % 7 + 1))
    if not match["h1"]:
        return Window(days, 0, DAY_MINUTES)
    start = int(match["h1"]) * 60 + int(match["m1"])
    end = int(match["h2"]) * 60 + int(match["m2"])
    if end > DAY_MINUTES or end == start:
        raise _bad(text)
    return Window(days, start, end - start if end > start else end + DAY_MINUTES - start)


def windows(texts: Sequence[str]) -> tuple[Window, ...]:
    """At most WINDOWS_MAX. Raises UsageError (`bad_hours`)."""
    if len(texts) > WINDOWS_MAX:
        raise UsageError(
            f"{len(texts)} windows of hours, at most {WINDOWS_MAX} are read",
            code="bad_hours",
            next_step="say the same with fewer, like mon-fri 18:00-08:00",
        )
    return tuple(window(text) for text in texts)


def allowed(hours: Sequence[Window], now_ms: int, zone: tzinfo) -> bool:
    """Whether work is allowed at unix time `now_ms`."""
    return not hours or _holds(hours, _moment(now_ms), zone)


def next_change(hours: Sequence[Window], now_ms: int, zone: tzinfo) -> int | None:
    """Unix ms at which `allowed` first differs from now, to the minute. None: it never does."""
    if not hours:
        return None
    now = _moment(now_ms)
    before = _holds(hours, now, zone)
    for moment in _candidates(hours, now, zone):
        if moment > now and _holds(hours, moment, zone) != before:
            return int(moment.timestamp()) * 1_000
    return None


def _candidates(hours: Sequence[Window], now: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Every moment of the next days at which a window may open or close, in order."""
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    edges = {edge % DAY_MINUTES for w in hours for edge in (w.start, w.start + w.length)}
    opening = sorted(
        (midnight + timedelta(days=day, minutes=edge)).replace(fold=fold, tzinfo=zone).astimezone(UTC)
        for day in range(HORIZON.days + 1)
        for edge in edges
        for fold in (0, 1)
    )
    hour = now.replace(minute=0, second=0, microsecond=0)
    clocks = (hour + HALF_HOUR * step for step in range(2 * 24 * HORIZON.days))
    return heapq.merge(opening, clocks)


def _holds(hours: Sequence[Window], moment: datetime, zone: tzinfo) -> bool:
    local = moment.astimezone(zone)
    return any(w.holds(local) for w in hours)


def _moment(now_ms: int) -> datetime:
    return datetime.fromtimestamp(now_ms // 1_000, UTC)


def _bad(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is not a window of hours",
        code="bad_hours",
        next_step="write days, hours or both, like 22:00-07:00, mon-fri 18:00-08:00 or sat",
    )
