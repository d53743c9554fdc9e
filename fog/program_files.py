"""Programs as files for the sandbox: a few, kept from one shard to the next.

A job's shards all run the same program, and an interpreter has 26 MB: to take it out of the blob store for
each shard, checking every chunk, costs as much as a short shard does.

What must always hold: a file here was written whole from checked chunks before it had its name; no file goes
while a run may still open it; at most FILES_MAX that nobody uses.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ledger.cid import Cid
from network.blobs import BlockStore

FILES_MAX: Final = 4  # of at most 64 MiB each; a worker that serves many jobs at once reads some again


class ProgramFiles:
    """Files in `folder`, which is the caller's to make and to empty. Blocking, for any thread."""

    def __init__(self, store: BlockStore, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._lock = threading.Lock()
        self._known: OrderedDict[Cid, Path] = OrderedDict()  # the one used last at the end
        self._used: Counter[Cid] = Counter()

    def take(self, cid: Cid, between: Callable[[], None] = lambda: None) -> Path:
        """The blob as a file, which stays until it is given back as often.

        `between` is called between two chunks, and what it raises ends it. Raises BlobMissing, OSError.
        """
        with self._lock:
            path = self._known.get(cid)
            if path is None:
                path = self._known[cid] = self._written(cid, between)
            self._known.move_to_end(cid)
            self._used[cid] += 1
            return path

    def take_known(self, cid: Cid) -> Path | None:
        """`take`, if that takes no time: it is a file already, and nobody is at the files just now."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if cid not in self._known:
                return None
            self._known.move_to_end(cid)
            self._used[cid] += 1
            return self._known[cid]
        finally:
            self._lock.release()

    def give_back(self, cid: Cid) -> None:
        with self._lock:
            self._used[cid] -= 1
            assert self._used[cid] >= 0, "given back more often than taken"
            self._make_room()

    def _written(self, cid: Cid, between: Callable[[], None]) -> Path:
        path = self._folder / str(cid)
        part = path.with_suffix(".part")
        with part.open("wb") as target:
            for chunk in self._store.chunks(cid):
                between()
                target.write(chunk)
        os.replace(part, path)
        return path

    def _make_room(self) -> None:
        idle = [cid for cid in self._known if not self._used[cid]]
        for cid in idle[: max(0, len(idle) - FILES_MAX)]:
            self._known.pop(cid).unlink(missing_ok=True)
            del self._used[cid]

    def __repr__(self) -> str:
        return f"<ProgramFiles {len(self._known)}>"
