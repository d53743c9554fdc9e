"""How runs that did not go well are told."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from domain.compute.spec import Status
from fog.bringing import GIVEN_UP, LOSSES
from fog.cli import statuses
from fog.cli.statuses import FINE, LOST, MEANINGS, TOLD_MAX, told, went_wrong
from fog.methods import ShardLine
from fog.results import BAD_RESULT

DOCS = Path(__file__).parents[2] / "docs"


def shard(number: int, *statuses: str, exit_code: int = 0, details: tuple[str, ...] = ()) -> ShardLine:
    return ShardLine(
        shard=number,
        state="settled",
        statuses=list(statuses),
        exit_code=exit_code,
        details=list(details),
    )


def test_every_status_has_a_meaning_here_and_in_the_documentation() -> None:
    assert MEANINGS.keys() | {FINE} == set(get_args(Status)) | {BAD_RESULT} | LOSSES
    assert (statuses.GIVEN_UP, LOST) == (GIVEN_UP, LOSSES)
    text = (DOCS / "cli.md").read_text()
    assert all(f"| `{status}` |" in text for status in MEANINGS)


def test_shards_that_went_well_are_not_spoken_of() -> None:
    """Nor those whose result is not here."""
    assert list(told([shard(0, "ok"), shard(1)])) == []


def test_each_shard_that_went_wrong_says_how_and_why() -> None:
    lines = list(told([shard(3, "exit", "ok", exit_code=7), shard(4, "trap", details=("unreachable",))]))
    assert lines == [
        "shard 3: exit: the program exited with 7",
        "shard 4: trap: the program broke a rule of WebAssembly and was stopped (unreachable)",
    ]


def test_words_of_others_do_not_steer_the_terminal() -> None:
    """An error may quote what a worker wrote, or a name of its files."""
    [line] = told([shard(0, BAD_RESULT, details=("no status: \x1b]0;owned\x07", "\x9b2J", "\u202eevil"))])
    assert line.isprintable()
    assert "]0;owned" in line


def test_of_many_that_went_wrong_the_rest_is_counted() -> None:
    shards = [shard(number, "out_of_fuel") for number in range(TOLD_MAX + 5)]
    assert len(went_wrong(shards)) == TOLD_MAX + 5
    assert list(told(shards))[-1] == "and 5 more shards went wrong"
