"""The reader: questions to the tables, each answered from one snapshot that knows its height.

Knows the store and the queries that each read model offers. Does not know HTTP. Blocking: the API calls it in
worker threads, several at once.

What must always hold: everything inside one answer is as of the same checkpoint, the one the answer names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar

import sqlalchemy as sa

from ledger import canonical, merkle, proving
from ledger.checkpoint import CHECKPOINT_SIZE_MAX, Checkpoint
from ledger.cid import Cid
from ledger.database import reading
from ledger.errors import UsageError
from ledger.proofs import Proof
from ledger.store import Store
from projections import log, pages
from projections.model import Entry, read

P = ParamSpec("P")
T = TypeVar("T")

_CURSOR: Final = re.compile("([0-9]{1,18})-([0-9]{1,18})")  # 18 digits: within 63 bits

ENTRIES_MAX: Final = 200  # read ahead for one stream; receipts are mostly below 1 KiB


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """`value` as of the checkpoint at `height`, whose ledger time (unix ms) is `time`."""

    height: int
    time: int
    value: T


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The leaf at `position` (from 1) has the hash `leaf`; `path` leads to the `root` of `size` leaves."""

    position: int
    size: int
    leaf: bytes
    root: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Consistency:
    """That the tree of `first` leaves is a prefix of that of `second`."""

    first: int
    second: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the final order: everything up to and including this line was seen."""

    height: int
    index: int

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """`<height>-<index>`. Raises UsageError (`bad_cursor`)."""
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise UsageError(
                f"{text[:60]!r} is not a place in the final order",
                code="bad_cursor",
                next_step="give the id of an event of this stream, such as 42-0",
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.height}-{self.index}"


class Reader:
    def __init__(self, store: Store) -> None:
        self._store = store

    def ask(
        self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Answer[T]:
        """Run one of the read models' queries. Raises what it raises (UsageError `bad_cursor`)."""
        with reading(self._store.engine) as conn:
            height, time, _ = log.last(conn)
            return Answer(height, time or self._store.genesis.created, query(conn, *args, **kwargs))

    def checkpoints(self, after: str | None, limit: int) -> Answer[pages.Page]:
        """Newest first: what the log knows of each, with the checkpoint itself under `checkpoint`."""
        answer = self.ask(log.checkpoints, after, limit)
        if answer.value.rows:
            self._add_objects(answer.value.rows)
        return answer

    def checkpoint(self, height: int) -> Answer[dict[str, Any] | None]:
        answer = self.ask(log.checkpoint, height)
        if answer.value is not None:
            self._add_objects([answer.value])
        return answer

    def entries_after(self, seen: Cursor) -> tuple[int, list[Entry]]:
        """(height of the tables, the next lines of the final order, no further than that height)."""
        with reading(self._store.engine) as conn:
            height, _, last = log.last(conn)
            before = log.checkpoint(conn, seen.height - 1)
            this = log.checkpoint(conn, seen.height)
        if seen.height > height:  # a reader that comes from a node ahead of us
            return height, []
        floor = before["position"] if before else 0
        ceiling = this["position"] if this else 0
        lines = self._store.finalized(min(floor + seen.index + 1, ceiling), ENTRIES_MAX)
        return height, read([line for line in lines if line.position <= last])

    def last(self) -> Cursor:
        """The place where everything folded so far was seen."""
        answer = self.ask(_last_events)
        return Cursor(answer.height, answer.value)

    def since(self) -> int:
        """The height above which the tables have history; what came before is in them only as it stood."""
        return 0 if self._store.base is None else self.ask(log.first).value

    def receipt_proof(self, event: Cid) -> Proof | None:
        """That an event is final, as of the last checkpoint; None when it is not."""
        last = self._store.last()
        if last is None:
            return None
        proof = proving.receipt_proof(self._store, event, last.checkpoint)
        return None if proof is None else Proof(proving.certified(self._store, last), receipt=proof)

    def inclusion(self, position: int, size: int | None) -> Inclusion:
        """Of any leaf in the event tree, or in a prefix of it. Raises UsageError (`beyond_the_tree`)."""
        size = self._size(size)
        if position > size:
            raise _beyond(f"position {position}", size)
        leaf, path = proving.inclusion(self._store, position, size)
        root = merkle.root_by_inclusion(leaf, position - 1, size, path)
        assert root is not None, f"a proof for leaf {position} of {size} that leads nowhere"
        return Inclusion(position, size, leaf, root, path)

    def consistency(self, first: int, second: int | None) -> Consistency:
        """Of two sizes of the event tree. Raises UsageError (`beyond_the_tree`)."""
        second = self._size(second)
        if first > second:
            raise _beyond(f"size {first}", second)
        return Consistency(first, second, proving.consistency(self._store, first, second))

    def _size(self, wanted: int | None) -> int:
        last = self._store.last()
        size = 0 if last is None else last[0].n
        if wanted is not None and wanted > size:
            raise _beyond(f"size {wanted}", size)
        return size if wanted is None else wanted

    def _add_objects(self, rows: list[dict[str, Any]]) -> None:
        """Checkpoints never change once final, so they need not come from the same snapshot."""
        lowest = min(row["height"] for row in rows)
        objects = self._store.checkpoints(lowest, max(row["height"] for row in rows) - lowest + 1)
        for row in rows:
            data, _ = objects[row["height"] - lowest]
            row["checkpoint"] = canonical.decode_as(Checkpoint, data, size_max=CHECKPOINT_SIZE_MAX)


def _beyond(what: str, size: int) -> UsageError:
    return UsageError(
        f"{what} where the event tree has {size} leaves",
        code="beyond_the_tree",
        next_step="ask for less; /v1/checkpoints says how many leaves each checkpoint has",
    )


def _last_events(conn: sa.Connection) -> int:
    """The index of the last close: the number of events before it."""
    height, _, _ = log.last(conn)
    row = log.checkpoint(conn, height)
    return 0 if row is None else int(row["events"])
