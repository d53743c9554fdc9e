"""Amounts as people type and read them, and the integers that they stand for. No float on the way.

    credits     `12.5`             12,500,000 micro-credits   (6 decimals)
    fuel        `0.25`             250,000,000 units          (9 decimals: Gfuel)
    durations   `90s` `10m` `2h`   milliseconds
    sizes       `64MiB` `1GiB`     bytes

What must always hold: parsing what was formatted gives the integer back; a number with more decimals than
the unit has is refused rather than rounded.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from ledger.errors import UsageError
from ledger.types import INT63_MAX

CREDIT_DECIMALS = 6
GFUEL_DECIMALS = 9

MILLIS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

_DECIMAL = re.compile(r"(\d{1,19})(?:\.(\d+))?", re.ASCII)
_UNIT = re.compile(r"(\d{1,19})([A-Za-z]+)", re.ASCII)


def credits_from(text: str) -> int:
    """`"12.5"` -> 12_500_000 micro-credits. Raises UsageError (`bad_amount`)."""
    return _decimal(text, CREDIT_DECIMALS, "an amount in credits")


def amount_from(text: str) -> int:
    """The same, of something to pay, to bond or to set aside: more than nothing."""
    micro = credits_from(text)
    if micro == 0:
        raise UsageError("an amount of nothing", code="bad_amount", next_step="give at least 0.000001")
    return micro


def credits_text(micro: int) -> str:
    """12_500_000 -> `"12.50"`: at least two decimals, and as many more as are needed."""
    return _decimal_text(micro, CREDIT_DECIMALS, decimals_min=2)


def fuel_from(text: str) -> int:
    """Gfuel (10^9 units, what prices are quoted for) -> units of fuel. Raises UsageError (`bad_amount`)."""
    return _decimal(text, GFUEL_DECIMALS, "an amount of fuel in Gfuel")


def fuel_text(units: int) -> str:
    """250_000_000 -> `"0.25"` Gfuel."""
    return _decimal_text(units, GFUEL_DECIMALS, decimals_min=0)


def duration_from(text: str) -> int:
    """`"10m"` -> 600_000 ms. Units: ms, s, m, h, d. Raises UsageError (`bad_amount`)."""
    return _with_unit(text, MILLIS, "a duration", "10m")


def duration_text(millis: int) -> str:
    """600_000 -> `"10m"`: the largest unit that says it in whole numbers."""
    return _unit_text(millis, MILLIS)


def moment_text(millis: int) -> str:
    """Unix ms -> `"2026-11-25 21:46:03 UTC"`; what no calendar has stays a number."""
    try:
        return datetime.fromtimestamp(millis // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"at ledger time {millis}"


def size_from(text: str) -> int:
    """`"64MiB"` -> 67_108_864 bytes. Units: B, KiB, MiB, GiB, TiB. Raises UsageError (`bad_amount`)."""
    return _with_unit(text, BYTES, "a size", "64MiB")


def size_text(size: int) -> str:
    """67_108_864 -> `"64MiB"`: the largest unit that says it in whole numbers."""
    return _unit_text(size, BYTES)


def _decimal(text: str, decimals: int, what: str) -> int:
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise _bad(f"{text!r} is not {what}", "write digits with a point, like 12.5")
    whole, fraction = match[1], match[2] or ""
    if len(fraction) > decimals:
        raise _bad(f"{text!r} has more than {decimals} decimals", "leave the smaller part out")
    return _in_range(int(whole + fraction.ljust(decimals, "0")), text)


def _decimal_text(value: int, decimals: int, *, decimals_min: int) -> str:
    whole, fraction = divmod(value, 10**decimals)
    digits = f"{fraction:0{decimals}d}".rstrip("0").ljust(decimals_min, "0")
    return f"{whole}.{digits}" if digits else str(whole)


def _with_unit(text: str, units: dict[str, int], what: str, example: str) -> int:
    match = _UNIT.fullmatch(text)
    if match is None or match[2] not in units:
        raise _bad(f"{text!r} is not {what}", f"a whole number and one of {', '.join(units)}, like {example}")
    return _in_range(int(match[1]) * units[match[2]], text)


def _unit_text(value: int, units: dict[str, int]) -> str:
    fitting = [unit for unit in units.items() if value >= unit[1] and value % unit[1] == 0]
    name, size = max(fitting, key=_size, default=min(units.items(), key=_size))
    return f"{value // size}{name}"


def _size(unit: tuple[str, int]) -> int:
    return unit[1]


def _in_range(value: int, text: str) -> int:
    if value > INT63_MAX:
        raise _bad(f"{text!r} is more than the ledger can count", "use a smaller amount")
    return value


def _bad(message: str, next_step: str) -> UsageError:
    return UsageError(message, code="bad_amount", next_step=next_step)
