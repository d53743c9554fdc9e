"""The agenda: what must happen by itself at which ledger time, kept so that the earliest is found at once.

An entry is 45 bytes: the time (8, unix ms), what kind of thing (1) and its id (36, padded). Entries are kept
sorted in chunks of some four minutes; table `agenda` has

    (empty)              the numbers of the chunks that have entries, 6 bytes each, sorted
    chunk number (6)     its entries, sorted

and for runs, verdicts and waits, which often end together, table `due` has, by entry, the shard (2) and
attempt (1) of each.

What must always hold: every lease that runs, every job that runs, every offer that stands, every recovery
whose epoch is over, every escrow whose last height has passed, everything that is unbonding, every verdict
that can be appealed and every shard that waits for a checker with a bond at stake has its entry, and no entry
is left of one that ended.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from domain.rules import packed
from domain.rules.draft import Draft
from domain.rules.records import AGENDA, DUE, ONLY
from ledger.state import State

CHUNK_BITS: Final = 18
"""2^18 ms: 30 days are at most some 10,000 chunks, and a chunk's row stays short."""

ENTRY: Final = 45
CHUNK: Final = 6

# In the order in which things of one moment happen: a run that is late is late before its job ends.
RUN: Final = b"a"
JOB: Final = b"b"
OFFER: Final = b"c"
BOND: Final = b"d"
RECOVERY: Final = b"e"
VERDICT: Final = b"f"
WAIT: Final = b"g"
ESCROW: Final = b"h"

OF_ACCOUNTS: Final = (OFFER, BOND, RECOVERY)
"""Kinds whose id is a key, of an account or of a device: 32 bytes of the 36."""


class Entry(NamedTuple):
    time: int
    kind: bytes
    id: bytes


def write(draft: Draft, time: int, kind: bytes, id: bytes) -> bytes:
    """Put an entry in; returns its bytes. No effect when it is there already."""
    entry = _pack(time, kind, id)
    number = entry_chunk(time)
    chunk = draft.get(AGENDA, number)
    if chunk is None:
        draft.put(AGENDA, ONLY, packed.with_item(draft.get(AGENDA, ONLY) or b"", number))
    draft.put(AGENDA, number, packed.with_item(chunk or b"", entry))
    return entry


def strike(draft: Draft, time: int, kind: bytes, id: bytes) -> None:
    """Take an entry out. AssertionError when it is not there."""
    number = entry_chunk(time)
    left = packed.without(draft.row(AGENDA, number), _pack(time, kind, id))
    if left:
        return draft.put(AGENDA, number, left)
    draft.drop(AGENDA, number)
    numbers = packed.without(draft.row(AGENDA, ONLY), number)
    if numbers:
        return draft.put(AGENDA, ONLY, numbers)
    return draft.drop(AGENDA, ONLY)


def write_run(draft: Draft, time: int, job: bytes, shard: int, attempt: int, *, kind: bytes = RUN) -> None:
    entry = write(draft, time, kind, job)
    draft.put(DUE, entry, packed.with_item(draft.get(DUE, entry) or b"", _run(shard, attempt)))


def strike_run(draft: Draft, time: int, job: bytes, shard: int, attempt: int, *, kind: bytes = RUN) -> None:
    entry = _pack(time, kind, job)
    left = packed.without(draft.row(DUE, entry), _run(shard, attempt))
    if left:
        draft.put(DUE, entry, left)
    else:
        draft.drop(DUE, entry)
        strike(draft, time, kind, job)


def first(draft: Draft) -> Entry | None:
    """The earliest entry."""
    numbers = draft.get(AGENDA, ONLY)
    return None if numbers is None else _unpack(draft.row(AGENDA, numbers[:CHUNK]))


def first_run(draft: Draft, entry: Entry) -> tuple[int, int]:
    """(shard, attempt) of the first run that an entry of kind RUN stands for; of kind VERDICT or WAIT the
    attempt is 0."""
    row = draft.row(DUE, _pack(*entry))
    return int.from_bytes(row[:2], "big"), row[2]


def earliest(state: State) -> int | None:
    """The time of the earliest entry."""
    numbers = state.get(AGENDA.name, ONLY)
    if numbers is None:
        return None
    chunk = state.get(AGENDA.name, numbers[:CHUNK])
    assert chunk is not None, "the agenda names a chunk that is not there"
    return _unpack(chunk).time


def entry_chunk(time: int) -> bytes:
    return (time >> CHUNK_BITS).to_bytes(CHUNK, "big")


def _pack(time: int, kind: bytes, id: bytes) -> bytes:
    return time.to_bytes(8, "big") + kind + id.ljust(36, b"\0")


def _unpack(chunk: bytes) -> Entry:
    kind = chunk[8:9]
    return Entry(int.from_bytes(chunk[:8], "big"), kind, chunk[9 : 41 if kind in OF_ACCOUNTS else ENTRY])


def _run(shard: int, attempt: int) -> bytes:
    return shard.to_bytes(2, "big") + bytes((attempt,))
