"""The changes of the answer, for people: `fog harvest log`.

One entry where action or reason differ from the entry before; what only counts on (a temperature, seconds of
calm) is not news. Bounded: the oldest go. Knows decisions; keeps no file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from domain.harvest.policy import Answer, Evict, Run, Suspend, sentence

ENTRIES_MAX: Final = 1_000
"""A quiet machine changes some ten times a day; even one at its worst keeps several days."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """From `at_ms` (unix) on."""

    at_ms: int
    action: str  # run, suspend or evict
    code: str
    sentence: str


class Log:
    """The last ENTRIES_MAX changes; `dropped` counts what had to go."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries: deque[Entry] = deque(entries, maxlen=ENTRIES_MAX)
        self.dropped = 0

    def note(self, decision: Answer) -> Entry | None:
        """The new entry, if this decision is news."""
        action, code = action_of(decision), decision.reason.code
        if self.entries and (self.entries[-1].action, self.entries[-1].code) == (action, code):
            return None
        self.dropped += len(self.entries) == ENTRIES_MAX
        entry = Entry(at_ms=decision.at_ms, action=action, code=code, sentence=sentence(decision))
        self.entries.append(entry)
        return entry

    def __repr__(self) -> str:
        return f"<Log {len(self.entries)} entries, {self.dropped} dropped>"


def action_of(decision: Answer) -> str:
    """`run`, `suspend` or `evict`: as in the API."""
    return {Run: "run", Suspend: "suspend", Evict: "evict"}[type(decision)]
