"""How a step lies in shards: points and groups of inputs to a spec, and names for what comes out.

    no sweep, no inputs       `shards` runs, which know their numbers        0.out  1.out
    inputs                    one shard for each, or `shards` that share     a.txt.out
    inputs, together          one run a shard, which sees all of its own     0.out
    a sweep                   one run for each point                         0.out  1.out
    a sweep over inputs       every point over every group                   0/a.txt.out  1/a.txt.out

What must always hold: the same step with the same inputs lies in the same way, so that some of its shards can
be submitted again by their numbers.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import NamedTuple, Protocol

from domain.compute.spec import Input
from domain.work.workflows import PlannedStep
from fog.jobs import share_out, write_spec


class Step(Protocol):
    """Of a step, what says how it lies: planned, or asked for."""

    @property
    def points(self) -> list[list[str]]: ...
    @property
    def swept(self) -> bool: ...
    @property
    def together(self) -> bool: ...
    @property
    def shards(self) -> int | None: ...


class Laid(NamedTuple):
    """One shard of a step. `stem`: what the names of its outputs begin with."""

    point: int
    inputs: tuple[Input, ...]
    stem: str

    @property
    def stems(self) -> list[str]:
        """Of its runs."""
        names = [entry.name for entry in self.inputs] if self.stem.endswith("/") or not self.stem else []
        return [self.stem + name for name in names] or [self.stem]


def lay_out(step: Step, inputs: Sequence[Input]) -> list[Laid]:
    """The shards of a step. Raises UsageError (`too_many_inputs`, `too_few_inputs`)."""
    shards = step.shards
    if step.together and shards is None:
        shards = 1
    groups = share_out(inputs, shards)
    laid: list[Laid] = []
    for point in range(len(step.points)):
        for group in groups:
            named = f"{point}/" if step.swept else ""
            stem = str(len(laid)) if step.together or not group else named
            laid.append(Laid(point, tuple(group), stem))
    share_out([None] * len(laid), None)  # as many as a job may have
    return laid


def spec_of(step: PlannedStep, laid: Sequence[Laid], numbers: Sequence[int]) -> bytes:
    """The spec of a job for some of the shards, encoded. Raises UsageError (`oversize`, `bad_job`)."""
    is_numbered = len(laid) > 1
    return write_spec(
        f"step {step.name}",
        kind=step.kind,
        program=step.program,
        name=step.program_name,
        memory=step.memory,
        fuel=step.fuel,
        output=step.output_max,
        seed=step.seed,
        shards=[laid[number].inputs for number in numbers],
        args=() if step.swept else step.points[0],
        env=step.env,
        runtime=step.runtime,
        points=[step.points[laid[number].point] for number in numbers] if step.swept else (),
        numbers=numbers if is_numbered else (),
        of=len(laid) if is_numbered else 0,
        together=step.together,
    )


def matches(path: str, pattern: str) -> bool:
    """Whether a path below a step's folder is meant: `*` and `?` within a name, `**` for any folders."""
    return _match(list(PurePosixPath(path).parts), list(PurePosixPath(pattern).parts))


def _match(names: list[str], patterns: list[str]) -> bool:
    """Row by row: `row[n]` says whether the patterns so far mean exactly the first n names."""
    row = [True] + [False] * len(names)
    for pattern in patterns:
        if pattern == "**":
            row = list(itertools.accumulate(row, operator.or_))
        else:
            row = [False] + [
                here and fnmatchcase(name, pattern) for here, name in zip(row, names, strict=False)
            ]
    return row[-1]
