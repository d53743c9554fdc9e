"""Pins: which blobs must not be removed to make room.

    sources    asked whenever room is made: what a node's own records say that it still owes (`source`)
    holds      while something runs: what it reads (`hold`), or all that it stores (`hold_new`)
    asked for  by a person, until taken back (`keep`, `release`): empty files, so they outlive a restart

A pin names a blob; it holds its manifest and its chunks, also those that come later.

Knows names only. Several threads may use it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError

KEPT_MAX: Final = 10_000
"""Pins by persons; a script that pins more means a larger disk, or another program."""

Source = Callable[[], Iterable[Cid]]


class Hold:
    """Blobs that something needs while it runs."""

    def __init__(self, takes_new: bool) -> None:
        self.takes_new = takes_new
        self.cids: set[Cid] = set()

    def add(self, *cids: Cid) -> None:
        self.cids.update(cids)


class Pins:
    def __init__(self, folder: Path) -> None:
        """`folder` has the pins of persons; it is made when it is needed."""
        self._folder = folder
        self._lock = threading.Lock()
        self._holds: list[Hold] = []
        self._sources: list[Source] = []
        self._kept: set[Cid] = set()
        for path in folder.iterdir() if folder.exists() else ():
            try:
                self._kept.add(Cid.parse(path.name))
            except RemoteError:
                path.unlink()  # no name of ours

    def source(self, source: Source) -> None:
        """Ask it too, whenever room is to be made; from any thread."""
        self._sources.append(source)

    @contextmanager
    def hold(self, *cids: Cid) -> Iterator[Hold]:
        """These, and those that are added, until the end of the block."""
        yield from self._holding(Hold(takes_new=False), cids)

    @contextmanager
    def hold_new(self) -> Iterator[Hold]:
        """Whatever anybody stores until the end of the block, and those that are added."""
        yield from self._holding(Hold(takes_new=True), ())

    def _holding(self, hold: Hold, cids: Iterable[Cid]) -> Iterator[Hold]:
        hold.add(*cids)
        with self._lock:
            self._holds.append(hold)
        try:
            yield hold
        finally:
            with self._lock:
                self._holds.remove(hold)

    def is_new(self, cid: Cid) -> None:
        """A block is about to be stored, or stored again."""
        with self._lock:
            for hold in self._holds:
                if hold.takes_new:
                    hold.add(cid)

    def keep(self, cid: Cid) -> None:
        """Pin a blob until `release`; durable. Raises UsageError (`too_many_pins`)."""
        with self._lock:
            if cid not in self._kept and len(self._kept) >= KEPT_MAX:
                raise UsageError(
                    f"{KEPT_MAX} blobs are pinned already",
                    code="too_many_pins",
                    next_step="fog blob list; fog blob unpin CID",
                )
            self._folder.mkdir(exist_ok=True)
            (self._folder / str(cid)).touch()
            self._sync()
            self._kept.add(cid)

    def release(self, cid: Cid) -> bool:
        """Whether it was pinned by `keep`."""
        with self._lock:
            if cid not in self._kept:
                return False
            (self._folder / str(cid)).unlink(missing_ok=True)
            self._sync()
            self._kept.remove(cid)
            return True

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def kept(self) -> list[Cid]:
        with self._lock:
            return sorted(self._kept)

    def roots(self) -> Iterator[Cid]:
        """Every pinned blob, some perhaps twice. The sources are asked."""
        with self._lock:
            holds = [cid for hold in self._holds for cid in hold.cids]
            kept = list(self._kept)
        yield from kept
        yield from holds
        for source in list(self._sources):
            yield from source()

    def __repr__(self) -> str:
        return f"<Pins {len(self._kept)} kept, {len(self._holds)} holds, {len(self._sources)} sources>"
