"""What is wrong with a job file, and where: told all together, each with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

from ledger.errors import UsageError

TOLD_MAX: Final = 20
"""Problems told at once; the rest are mostly echoes of these."""
SHOWN_MAX: Final = 60
"""Characters of a value that are shown in a message."""

Place = tuple[str | int, ...]
"""Names and positions that lead from the top of the file to a value."""


class Problem(NamedTuple):
    """`line` counts from 1; `code` is a public word."""

    line: int
    place: Place
    what: str
    remedy: str
    code: str = "bad_job_file"


class BadJobFile(UsageError):
    """One problem, or several. `code` is that of the first."""

    def __init__(self, file: Path, problems: Sequence[Problem]) -> None:
        assert problems, "nothing is wrong"
        self.problems = sorted(problems, key=lambda problem: problem.line)
        first = self.problems[0]
        alone = len(problems) == 1
        lines = [_line(file, one, with_remedy=not alone) for one in self.problems[:TOLD_MAX]]
        if len(problems) > TOLD_MAX:
            lines.append(f"and {len(problems) - TOLD_MAX} more")
        step = (
            first.remedy if alone else f"mend these {len(problems)} places, then: fog submit --dry-run {file}"
        )
        super().__init__("\n".join(lines), code=first.code, next_step=step)


def _line(file: Path, problem: Problem, *, with_remedy: bool) -> str:
    place = place_text(problem.place)
    line = f"{file}:{problem.line}: {place}{': ' if place else ''}{problem.what}"
    return f"{line}\n  next: {problem.remedy}" if with_remedy else line


def place_text(place: Place) -> str:
    """`("steps", "merge", "needs", 0)` -> `steps.merge.needs[0]`."""
    text = ""
    for step in place:
        word = step if isinstance(step, int) or step.isprintable() else shown(step)
        text += f"[{word}]" if isinstance(step, int) else f".{word}" if text else str(word)
    return text


def shown(value: str) -> str:
    """A value as it is quoted in a message."""
    cut = value if len(value) <= SHOWN_MAX else value[: SHOWN_MAX - 1] + "…"
    return repr(cut)


def nearest(word: str, known: Sequence[str]) -> str:
    """The remedy for a word that is not known: the nearest that is, or all of them."""
    match = get_close_matches(word, known, n=1)
    return f"did you mean `{match[0]}`?" if match else f"write one of: {', '.join(known) or 'nothing'}"
