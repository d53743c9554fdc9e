"""What became of a program, told to the person who sent it: one line for each shard that did not go well.

A result that two accounts agree on is settled and paid whatever it says, so "settled" is no word for "it
worked". The words are `domain.compute.spec.Status`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from fog.methods import ShardLine

FINE: Final = "ok"

PYTHON_IS_SLOW_AT_FIRST: Final = (
    "Python: a worker's first script waits about a minute until the interpreter is compiled there, once"
)

TOLD_MAX: Final = 20
"""Shards told one by one; when more went wrong, the rest is counted."""

MEANINGS: Final = {
    "exit": "the program exited with {exit_code}",
    "trap": "the program broke a rule of WebAssembly and was stopped",
    "out_of_fuel": "the program used up the fuel of the shard and was stopped; --fuel gives more",
    "output_limit": "the program stored more than it may and was stopped; --max-output gives more",
    "memory_limit": "the program needs more memory to start than it may take; --memory gives more",
    "bad_program": "the program is not a module that can run here",
    "not_run": "a run was left out, because those before it used up the fuel or the output of the shard",
    "bad_result": "what the worker gave is no result of this shard, and nothing of it was written",
    "result_lost": "it is settled, and nobody who could be asked has the result",
    "cannot_write": "its result came, and this machine did not take the outputs",
    "given_up": "it is settled, and its result was not waited for any more",
}
"""Every status but `ok`, and what is none; a test compares with the specification."""

GIVEN_UP: Final = "given_up"
LOST: Final = frozenset({"result_lost", "cannot_write", GIVEN_UP})
"""As `fog.bringing` has them; a test compares."""


def plain(text: str) -> str:
    """Without what would steer a terminal: a stranger's words may be within, or the name of its file."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def went_wrong(shards: Iterable[ShardLine]) -> list[ShardLine]:
    """Those with a run that is not `ok`; of results that are not here nothing is known."""
    return [shard for shard in shards if set(shard.statuses) - {FINE}]


def lost(shards: Iterable[ShardLine]) -> list[ShardLine]:
    """Those that are settled, and whose results are not waited for any more."""
    return [shard for shard in shards if LOST & set(shard.statuses)]


def told(shards: Iterable[ShardLine]) -> Iterator[str]:
    """A line for each that went wrong, the first TOLD_MAX of them."""
    wrong = went_wrong(shards)
    for shard in wrong[:TOLD_MAX]:
        details = f" ({plain(', '.join(shard.details))})" if shard.details else ""
        for status in shard.statuses:
            if status != FINE:
                meaning = MEANINGS[status].format(exit_code=shard.exit_code)
                yield f"shard {shard.shard}: {status}: {meaning}{details}"
    if len(wrong) > TOLD_MAX:
        yield f"and {len(wrong) - TOLD_MAX} more shards went wrong"
