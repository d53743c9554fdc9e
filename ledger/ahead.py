"""The sections of an archive, read ahead of whoever takes them, so that other processes judge them meanwhile.

An event is given out only when it was judged good. Anything that is not good ends the reading: what is wrong
first, and where, is for an audit by one process to say.

Knows sections and batches of them. Does not know what stands where in a history.

What must always hold: sections come in the order of the file; whoever takes an event may believe all that
`ledger.events_of_archives` judges of it; what is held is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from ledger.archive import Delta, Entry, Section, Sections, SignedEvent, Unread
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.event import Event
from ledger.verifying_processes import Batch, Judges

BYTES_MAX: Final = 16 * 1024 * 1024
"""Of what was read and not taken. A usual event is 700 bytes; a checkpoint in a doctored archive, a block."""


class Unproven(RemoteError):
    """Something in the archive is not good: let one process find out what is the first of it."""

    code = "unproven"


class _Run:
    """Events that come one after the other, all of one batch, not taken yet."""

    __slots__ = ("batch", "count", "size")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.count = 0
        self.size = 0  # bytes


class Ahead:
    """An iterator as `Sections` is, which must not read events itself; they come as what they are."""

    reading: Final = ""

    def __init__(self, sections: Sections, judges: Judges) -> None:
        self.roots = sections.roots
        self._sections = sections
        self._judges = judges
        self._queue: deque[Entry | Delta | _Run] = deque()
        self._events = 0  # in it
        self._size = 0  # bytes of all that is in it
        self._filling: Batch | None = None
        self._net: Cid | None = None  # of genesis, which comes first
        self._in_order = self._taken()

    def __iter__(self) -> Iterator[Section | Event]:
        return self

    def __next__(self) -> Section | Event:
        """Raises RemoteError: Unproven, or what reading raises, which may lie further on."""
        return next(self._in_order)

    def _taken(self) -> Iterator[Section | Event]:
        self._read_ahead()
        while self._queue:
            section = self._queue.popleft()
            if isinstance(section, _Run):
                batch = section.batch
                if batch.good is not True:
                    self._answer(batch)
                for _ in range(section.count):
                    yield batch.take()
                self._events -= section.count
                self._size -= section.size
            else:
                self._size -= len(section.block.data)
                yield section
            self._read_ahead()

    def _read_ahead(self) -> None:
        room = self._judges.room  # a quiet history has more sections than events
        while self._events < room and len(self._queue) < room and self._size < BYTES_MAX:
            section = next(self._sections, None)
            if section is None:
                return
            if isinstance(section, Unread):
                self._add(section.data)
                continue
            assert not isinstance(section, SignedEvent), "an event that was read already"
            if self._net is None:
                assert isinstance(section, Entry)
                self._net = section.block.cid
            self._size += len(section.block.data)
            self._queue.append(section)

    def _add(self, sections: bytes) -> None:
        assert self._net is not None, "an event before genesis"
        batch = self._filling = self._filling or Batch(self._net)
        run = self._queue[-1]
        if not isinstance(run, _Run) or run.batch is not batch:
            run = _Run(batch)
            self._queue.append(run)
        batch.add(sections)
        run.count += 1
        run.size += len(sections)
        self._events += 1
        self._size += len(sections)
        if batch.is_full:
            self._hand_on(batch)

    def _hand_on(self, batch: Batch) -> None:
        self._filling = None
        self._judges.give(batch)

    def _answer(self, batch: Batch) -> None:
        """Wait until it is known what became of this batch. Raises Unproven when it is not good."""
        if batch is self._filling:
            self._hand_on(batch)
        if not self._judges.is_good(batch):
            raise Unproven("an event is not what an archive has there")

    def __repr__(self) -> str:
        return f"<Ahead {len(self._queue)} sections, {self._events} events, {self._size} bytes>"
