"""Amounts, times and limits of a step: from what was written, else what stands at the top, else the usual.

Knows fields and their bounds. Does not know what the network asks at least: its own rules say that.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from msgspec import UNSET, UnsetType

from domain.compute.spec import MEMORY_MAX, MEMORY_MIN, OUTPUT_MAX
from domain.payloads import LEASE_MAX_MS, LEASE_MIN_MS
from domain.rules.records import Checks
from fog.jobfile.problems import Place, shown
from fog.methods import DEADLINE_MAX_MS
from fog.quantities import (
    credits_from,
    credits_text,
    duration_from,
    duration_text,
    fuel_from,
    fuel_text,
    moment_text,
    size_from,
    size_text,
)
from ledger.errors import UsageError
from ledger.types import INT63_MAX

MEMORY, FUEL, OUTPUT, PRICE, LEASE, DEADLINE = "256MiB", "50", "256MiB", "0.002", "10m", "1d"
CHECK: Final = "adaptive"
CHECKS: Final = {"never": Checks.NEVER, "always": Checks.ALWAYS, "adaptive": Checks.ADAPTIVE}
RETRIES: Final = 1

Note = Callable[[Place, str, str, str], None]
"""Place, what is wrong, what to do, and a code."""


class Quantity:
    """One field's reader, bounds, and the way in which the bounds are written."""

    def __init__(
        self, read: Callable[[str], int], write: Callable[[int], str], low: int, high: int, usual: str
    ) -> None:
        self._read, self._write = read, write
        self._low, self._high, self._usual = low, high, usual

    def of(self, text: str | UnsetType, place: Place, note: Note) -> int:
        """The number; after a note, the usual one, so that the rest can be looked at."""
        if text is UNSET:
            return self._read(self._usual)
        try:
            value = self._read(text)
        except UsageError as error:
            note(place, str(error), error.next_step or "", error.code)
            return self._read(self._usual)
        if not self._low <= value <= self._high:
            span = f"from {self._write(self._low)} to {self._write(self._high)}"
            note(place, f"{shown(text)} is out of range", f"write {span}", "bad_amount")
            return self._read(self._usual)
        return value


QUANTITIES: Final = {
    "memory": Quantity(size_from, size_text, MEMORY_MIN, MEMORY_MAX, MEMORY),
    "fuel": Quantity(fuel_from, fuel_text, 1, INT63_MAX, FUEL),
    "output": Quantity(size_from, size_text, 0, OUTPUT_MAX, OUTPUT),
    "price": Quantity(credits_from, credits_text, 0, INT63_MAX, PRICE),
    "bond": Quantity(credits_from, credits_text, 0, INT63_MAX, "0"),
    "lease": Quantity(duration_from, duration_text, LEASE_MIN_MS, LEASE_MAX_MS, LEASE),
    "deadline": Quantity(duration_from, duration_text, 1, DEADLINE_MAX_MS, DEADLINE),
}


def deadline_of(text: str | UnsetType, place: Place, now: int, note: Note) -> int:
    """Milliseconds from `now` (unix ms): a duration, or a moment with its time zone."""
    if text is UNSET or text[:4].isdigit() is False or "-" not in text:
        return QUANTITIES["deadline"].of(text, place, note)
    usual = duration_from(DEADLINE)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        note(
            place,
            f"{shown(text)} is not a moment",
            "write it like 2027-01-31T18:00:00Z, or as 2h",
            "bad_amount",
        )
        return usual
    if moment.tzinfo is None:
        note(place, f"{shown(text)} has no time zone", f"add it: {text}Z, or {text}+02:00", "bad_amount")
        return usual
    millis = int(moment.timestamp() * 1000) - now
    if millis <= 0:
        what = f"{shown(text)} is over: it is {moment_text(now)}"
        note(place, what, "take a later moment, or a duration like 2h", "deadline_past")
        return usual
    if millis > DEADLINE_MAX_MS:
        what = f"{shown(text)} is out of range"
        note(place, what, f"take a moment before {moment_text(now + DEADLINE_MAX_MS)}", "bad_amount")
        return usual
    return millis


def check_lease(lease: int, deadline: int, place: Place, note: Note) -> None:
    """Work is leased only while a whole lease fits."""
    if lease >= deadline:
        note(
            place,
            f"a lease of {duration_text(lease)} does not fit before the deadline, {duration_text(deadline)}",
            "take a shorter lease, or a later deadline",
            "bad_lease",
        )
