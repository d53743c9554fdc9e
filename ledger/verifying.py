"""Many signatures at once: how many events, from the first on, are signed by whom they say?

Signatures are more than half of the work of taking in events. libsodium runs without the interpreter's lock,
so a second thread, for the length of one call, halves the time they take on two cores. The answer never
depends on which thread was quicker: turns are handed out in order, and a turn that was taken is swept up to
its own first refusal, so the lowest refusal is the first there is.

Knows events and threads. Does not know what a refusal means for whoever sent the bytes.

What must always hold: the answer is that of `event.check_signature`, one event after the other. An event
that libsodium refuses is judged by ZIP215 alone, in the caller's thread; a bad one ends the call, so one
call judges at most one bad signature the slow way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ledger.event import Event, is_signed, is_surely_signed

TURN: Final = 8
"""Signatures a thread takes at once, half a millisecond: no more is lost when one waits for the other."""

WORTH_A_THREAD: Final = 32
"""Signatures in a call, 2 ms, for which a second thread (0.1 ms to start and end) is worth it."""


def count_signed(given: Sequence[Event]) -> int:
    """How many events come before the first with a bad signature: `len(given)` when all are good."""
    signed = _surely_signed(given, 0)
    while signed < len(given) and is_signed(given[signed]):
        signed = _surely_signed(given, signed + 1)
    return signed


def _surely_signed(given: Sequence[Event], start: int) -> int:
    """The index of the first event, from `start` on, that libsodium refuses; the length when it takes all."""
    turns = iter(range(start, len(given), TURN))
    refused: list[int] = []
    if len(given) - start < WORTH_A_THREAD:
        _sweep(given, turns, refused)
    else:
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(_sweep, given, turns, refused)
            _sweep(given, turns, refused)
            second.result()  # raises what went wrong there
    return min(refused, default=len(given))


def _sweep(given: Sequence[Event], turns: Iterator[int], refused: list[int]) -> None:
    """Take turns until one has a refusal. Looks at `refused` only between turns: a turn taken is swept."""
    while not refused:
        first = next(turns, None)
        if first is None:
            return
        for index in range(first, min(first + TURN, len(given))):
            if not is_surely_signed(given[index]):
                refused.append(index)
                return
