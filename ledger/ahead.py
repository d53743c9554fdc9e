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

from ledger.archive import Section, Sections, SignedEvent
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.verifying_processes import Batch, Judges

BYTES_MAX: Final = 16 * 1024 * 1024
"""Of bodies that were read and not taken; the usual ones are a hundred bytes. Headers are 1 KiB at most."""


class Unproven(RemoteError):
    """Something in the archive is not good: let one process find out what is the first of it."""

    code = "unproven"


class Ahead:
    """An iterator as `Sections` is, which must not prove events itself."""

    reading: Final = ""

    def __init__(self, sections: Sections, judges: Judges) -> None:
        self.roots = sections.roots
        self._sections = sections
        self._judges = judges
        self._queue: deque[tuple[Section, Batch | None]] = deque()
        self._size = 0  # bytes of the bodies in it
        self._filling: Batch | None = None
        self._net: Cid | None = None  # of genesis, which comes first
        self._has_ended = False

    def __iter__(self) -> Iterator[Section]:
        return self

    def __next__(self) -> Section:
        """Raises RemoteError: Unproven, or what reading raises, which may lie further on."""
        self._read_ahead()
        if not self._queue:
            raise StopIteration
        section, batch = self._queue.popleft()
        if isinstance(section, SignedEvent):
            assert batch is not None, "an event that nobody judges"
            self._size -= len(section.body.data)
            if batch.good is not True:
                self._answer(batch)
        return section

    def _read_ahead(self) -> None:
        while not self._has_ended and len(self._queue) < self._judges.room and self._size < BYTES_MAX:
            section = next(self._sections, None)
            if section is None:
                self._has_ended = True
                return
            batch = None
            if isinstance(section, SignedEvent):
                self._size += len(section.body.data)
                batch = self._batch_with(section)
            elif self._net is None:
                self._net = section.block.cid
            self._queue.append((section, batch))

    def _batch_with(self, section: SignedEvent) -> Batch:
        assert self._net is not None, "an event before genesis"
        header, signature, body = section
        batch = self._filling = self._filling or Batch(self._net)
        batch.add((header.cid, signature.cid, body.cid), (header.data, signature.data, body.data))
        if batch.is_full:
            self._hand_on(batch)
        return batch

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
        return f"<Ahead {len(self._queue)} sections, {self._size} bytes>"
