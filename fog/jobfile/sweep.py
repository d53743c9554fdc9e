"""A sweep: lists of values to points, points to arguments.

Points come in one order, always: the first name of the sweep changes slowest, the last fastest, as nested
loops in the order of writing. Numbers of a range are exact decimals, as many places long as they need.

    args: ["--seed", "{seed}"]     `{seed}` is the value;  `{index}` the number of the point, from 0
    args: ["{{literally}}"]        doubled braces stand for themselves
"""

from __future__ import annotations

import itertools
import re
from decimal import Decimal, InvalidOperation
from math import prod
from typing import Final

from domain.payloads import SHARDS_MAX
from fog.jobfile.problems import Place, Problem, nearest, shown
from fog.jobfile.schema import Range

INDEX: Final = "index"
DIGITS_MAX: Final = 18

_BRACES: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_DECIMAL: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)

Point = dict[str, str]
"""Name -> value, as it is put into the arguments."""


class Wrong(Exception):
    """`problem.place` is below the sweep or the arguments; lines are for the caller to find."""

    def __init__(self, place: Place, what: str, remedy: str, code: str = "bad_sweep") -> None:
        super().__init__(what)
        self.problem = Problem(0, place, what, remedy, code)


def points_of(sweep: dict[str, Range | list[str]]) -> list[Point]:
    """Every combination, in order. No sweep: no points. Raises Wrong."""
    if not sweep:
        return []
    if INDEX in sweep:
        raise Wrong((INDEX,), "`index` is the number of the point", "take another name")
    lists = {name: _listed(name, values) for name, values in sweep.items()}
    count = prod(map(len, lists.values()))
    if count > SHARDS_MAX:
        sizes = " x ".join(f"{len(values)} {name}" for name, values in lists.items())
        raise Wrong((), f"{sizes} are {count} points; a job may have {SHARDS_MAX}", "sweep over fewer values")
    return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


def arguments(args: list[str], point: Point, index: int) -> list[str]:
    """The arguments of one point. Raises Wrong."""
    values = point | {INDEX: str(index)}
    return [_filled(word, number, values) for number, word in enumerate(args)]


def _filled(word: str, number: int, values: Point) -> str:
    def fill(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] not in values:
            raise Wrong(
                (number,),
                f"{shown(word)} asks for {{{match[1]}}}, which the sweep does not have",
                f"{nearest(match[1], list(values))} Braces that stand for themselves are doubled: {{{{ }}}}",
            )
        return values[match[1]]

    return _BRACES.sub(fill, word)


def _listed(name: str, values: Range | list[str]) -> list[str]:
    if isinstance(values, list):
        return values
    first, last, step = (
        _decimal(name, part, text)
        for part, text in (("from", values.first), ("to", values.last), ("step", values.step))
    )
    if step == 0:
        raise Wrong((name, "step"), "a step of 0 never comes to an end", "take another step")
    count = int((last - first) / step) + 1
    if (last - first) / step < 0:
        way = "up" if step > 0 else "down"
        raise Wrong(
            (name,), f"from {first} to {last} is no way {way}", "turn them round, or give step another sign"
        )
    if count > SHARDS_MAX:
        raise Wrong((name,), f"{count} values; a job may have {SHARDS_MAX} points", "take a larger step")
    return [format(first + number * step, "f") for number in range(count)]


def _decimal(name: str, part: str, text: str) -> Decimal:
    if _DECIMAL.fullmatch(text) and len(text) <= DIGITS_MAX:
        try:
            return Decimal(text)
        except InvalidOperation:
            pass
    raise Wrong((name, part), f"{shown(text)} is not a number", "write digits, like 10 or 0.25")
