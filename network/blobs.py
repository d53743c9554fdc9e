"""A store of blocks on disk, each named by the hash of its bytes: a cache with a limit.

A block is a chunk of a blob or a manifest (`ledger.blob`), at most 256 KiB. One file a block, in folders
by the last two characters of its name so that no folder grows huge. What does not fit makes room: the blocks
that were used longest ago go first, but for what is pinned (`network.blobs_pins`). When a block was used last
is its file's time, which is set by a read at most once in TOUCH_S, so reading costs no writes.

What must always hold:
    - a name that exists has its whole content: written aside, fsynced, renamed
    - what is read is what the name says, or it is not there: a block that rotted is removed and counted
    - never more than `bytes_max` on disk, unless the limit was lowered and what is there is pinned
    - what is pinned is not removed to make room; when nothing else is left, what would not fit is refused

What a crash leaves: after the write aside, a file in `incoming/` that the next start removes; after the
rename, the whole block. There is no state in which a half block has a name.

Blocking; adapters call it in a thread. One process a folder.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from math import inf
from pathlib import Path
from typing import BinaryIO, Final

from ledger import blob
from ledger.blob import BLOCK_SIZE_MAX, Manifest
from ledger.cid import Cid
from ledger.errors import FogError, RemoteError
from network.blobs_pins import Pins

BYTES_MAX: Final = 16 * 1024**3  # 16 GiB, a modest share of a disk; a setting of the node

TOUCH_S: Final = 600.0
"""A read moves a block's time if that is longer ago: two reads within ten minutes are one use."""

EVICTED_PART: Final = 32
"""At least this part of the limit is made free at once: looking for what is oldest reads every name."""

ADDING_MAX: Final = 8
"""Blocks of one blob that are written at once: the disk takes them together, ten times as fast as in turn."""

EVICTED_MAX: Final = 4_096
"""Blocks removed by one look, 1 GiB of whole chunks: as many names are in memory."""


class BlobsFull(FogError):
    """The store is at its limit, or the disk is; the message says how to make room."""

    code = "blobs_full"


class BlobMissing(FogError):
    """A block is not here, and no peer that was asked could give it."""

    code = "blob_missing"


class BlockStore:
    """Blocks under one folder. `counts` has `rotten`: blocks that were not what their name says; `evicted`:
    blocks that made room."""

    def __init__(self, folder: Path, *, bytes_max: int = BYTES_MAX) -> None:
        self.folder, self.bytes_max = folder, bytes_max
        self.counts: Counter[str] = Counter()
        self._lock = threading.RLock()  # guards bytes_used: threads of several fetches write here
        self.pins = Pins(folder / "pins")
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        for left in self._incoming.iterdir():
            left.unlink()
        self.bytes_used = sum(path.stat().st_size for path in self._paths())

    def _paths(self) -> Iterator[Path]:
        return (path for path in self.folder.glob("??/*") if path.is_file())

    def _path(self, cid: Cid) -> Path:
        name = str(cid)
        return self.folder / name[-2:] / name

    # -- blocks

    def put(self, cid: Cid, block: bytes, *, durable: bool = True) -> bool:
        """Store one block; durable when this returns. There already: nothing happens, and False.

        Not `durable`: its name may be gone after a power cut, with its content; never the one without the
        other. Raises RemoteError (`bad_block`) when the bytes are not what `cid` names, BlobsFull.
        """
        if not blob.verify(block, cid):
            raise RemoteError(f"{len(block)} bytes that are not {cid}", code="bad_block")
        self.pins.is_new(cid)
        path = self._path(cid)
        if self._touch(path):
            if durable:
                _fsync_folder(path.parent)  # it may have come without
            return False
        self._reserve(len(block))
        try:
            self._write_or_make_room(path, block, durable)
        except BaseException:
            self._release(len(block))
            raise
        return True

    def _touch(self, path: Path) -> bool:
        """Whether it is there; then it was used now."""
        try:
            if time.time() - path.stat().st_mtime > TOUCH_S:
                os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def _reserve(self, size: int) -> None:
        with self._lock:
            excess = self.bytes_used + size - self.bytes_max
            if excess > 0 and self._evict(max(excess, self.bytes_max // EVICTED_PART)) < excess:
                raise BlobsFull(
                    f"{self.bytes_used} of {self.bytes_max} bytes of blobs are in use and cannot be removed, "
                    f"{size} more do not fit",
                    next_step="raise blobs.cache_mib in the settings, or see what is pinned: fog blob list",
                )
            self.bytes_used += size

    def _release(self, size: int) -> None:
        with self._lock:
            self.bytes_used -= size

    def _write_or_make_room(self, path: Path, block: bytes, durable: bool) -> None:
        try:
            return self._write(path, block, durable)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
        self._evict(max(len(block), self.bytes_max // EVICTED_PART))
        try:
            self._write(path, block, durable)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise BlobsFull(
                f"no room on the disk for blobs: {error}", next_step="free some space, then try again"
            ) from error

    def require_room(self, size: int) -> None:
        """Raises BlobsFull for what would not even fit into an empty store."""
        if size > self.bytes_max:
            raise BlobsFull(
                f"a blob of {size} bytes does not fit into the {self.bytes_max} bytes for blobs",
                next_step="raise blobs.cache_mib in the settings",
            )

    # -- making room

    def gc(self, *, unused_s: float = 0.0) -> int:
        """Remove all that is not pinned and was not used for so long; how many bytes that were."""
        return self._evict(self.bytes_max + self.bytes_used, unused_since=time.time() - unused_s)

    def _evict(self, wanted: int, *, unused_since: float = inf) -> int:
        """Make at least so many bytes free, what was used longest ago first. How many were."""
        freed = 0
        with self._lock:
            pinned = self._pinned()
            while freed < wanted:
                oldest = heapq.nsmallest(EVICTED_MAX, self._evictable(pinned, unused_since))
                for _, size, path in oldest:
                    if freed >= wanted:
                        break
                    self._remove(path)
                    freed += size
                    self.counts["evicted"] += 1
                if len(oldest) < EVICTED_MAX:
                    break
        self.counts["evicted_bytes"] += freed
        return freed

    def _evictable(self, pinned: set[str], unused_since: float) -> Iterator[tuple[float, int, Path]]:
        for path in self._paths():
            with contextlib.suppress(FileNotFoundError):
                state = path.stat()
                if path.name not in pinned and state.st_mtime <= unused_since:
                    yield state.st_mtime, state.st_size, path

    def _pinned(self) -> set[str]:
        """The names of all blocks that must stay."""
        names = set[str]()
        for root in self.pins.roots():
            names.add(str(root))
            manifest = self._manifest_or_none(root)
            names.update(map(str, () if manifest is None else manifest.chunks))
        return names

    def _manifest_or_none(self, cid: Cid) -> Manifest | None:
        with contextlib.suppress(RemoteError):  # pinned by somebody's word, and it is no manifest
            return self.manifest(cid)
        return None

    def bytes_pinned(self) -> int:
        """Of those that are here."""
        with self._lock:
            paths = (self.folder / name[-2:] / name for name in self._pinned())
            return sum(path.stat().st_size for path in paths if path.exists())

    def _write(self, path: Path, block: bytes, durable: bool) -> None:
        aside = self._incoming / f"{path.name}.{threading.get_ident()}"
        with aside.open("wb") as file:
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
        path.parent.mkdir(exist_ok=True)
        with self._lock:
            if path.exists():  # another thread had it too, and was faster
                self._release(len(block))
            aside.replace(path)
        if durable:
            _fsync_folder(path.parent)

    def get(self, cid: Cid) -> bytes | None:
        """The block, checked against its name; None when it is not here (or no longer whole)."""
        path = self._path(cid)
        try:
            with path.open("rb") as file:
                block = file.read(BLOCK_SIZE_MAX + 1)
        except FileNotFoundError:
            return None
        self._touch(path)
        if not blob.verify(block, cid):
            self.counts["rotten"] += 1
            self._remove(path)
            return None
        return block

    def has(self, cid: Cid) -> bool:
        """Whether the block is here, by its name alone."""
        return self._path(cid).exists()

    def remove(self, cid: Cid) -> None:
        """Forget one block. Not there: nothing happens."""
        self._remove(self._path(cid))

    def _remove(self, path: Path) -> None:
        with self._lock, contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            self._release(size)

    # -- blobs

    def add(self, source: bytes | BinaryIO) -> Cid:
        """Cut a blob into blocks, store them, return its id; durable when this returns.

        It may be removed to make room as soon as this returns, unless somebody pins it. Raises BlobsFull,
        UsageError (`blob_too_big`).
        """
        cid, folders, blocks = None, set[Path](), blob.blocks(source)
        with self.pins.hold_new(), ThreadPoolExecutor(ADDING_MAX) as threads:
            while some := list(islice(blocks, ADDING_MAX)):
                if len(some) == 1:
                    self.put(*some[0], durable=False)
                else:
                    list(threads.map(lambda named: self.put(*named, durable=False), some))
                cid = some[-1][0]
                folders.update(self._path(one).parent for one, _ in some)
            for folder in sorted(folders):  # together: one commit of the file system is enough for many
                _fsync_folder(folder)
        assert cid is not None, "a blob has at least one block"
        return cid

    def manifest(self, cid: Cid) -> Manifest | None:
        """The manifest of a blob of several chunks, if it is here. Raises RemoteError for a bad one."""
        block = None if cid.is_raw else self.get(cid)
        return None if block is None else blob.parse_manifest(block)

    def size(self, cid: Cid) -> int | None:
        """Bytes of a blob whose manifest or only block is here. Raises RemoteError for a bad manifest."""
        if cid.is_raw:
            return self._length(cid)
        manifest = self.manifest(cid)
        return None if manifest is None else manifest.size

    def _length(self, cid: Cid) -> int | None:
        try:
            return self._path(cid).stat().st_size
        except FileNotFoundError:
            return None

    def require_as_said(self, manifest: Manifest) -> None:
        """Those chunks that are here are as long as it says; else its blob has another size, and a second
        name. Raises RemoteError (`bad_schema`)."""
        for index, chunk in enumerate(manifest.chunks):
            if self._length(chunk) not in (None, manifest.size_of(index)):
                raise RemoteError(f"chunk {index} is not as long as its manifest says", code="bad_schema")

    def is_whole(self, cid: Cid) -> bool:
        """Whether every block of the blob is here, by name."""
        if cid.is_raw:
            return self.has(cid)
        manifest = self.manifest(cid)
        return manifest is not None and all(self.has(chunk) for chunk in manifest.chunks)

    def chunks(self, cid: Cid) -> Iterator[bytes]:
        """The blob's bytes, chunk by chunk, each checked. Raises BlobMissing at the first lacking one."""
        manifest = self.manifest(cid)
        if not cid.is_raw and manifest is None:
            raise _gone(cid)
        for chunk in (cid,) if manifest is None else manifest.chunks:
            block = self.get(chunk)
            if block is None:
                raise _gone(chunk)
            yield block

    def read(self, cid: Cid, *, size_max: int) -> bytes:
        """The whole blob in memory. Raises BlobMissing (not all here), RemoteError (`oversize`)."""
        manifest = self.manifest(cid)
        if manifest is not None:
            check_size(manifest.size, size_max)
        whole = b"".join(self.chunks(cid))
        check_size(len(whole), size_max)
        return whole

    def forget(self, cid: Cid) -> None:
        """Remove a blob and its chunks. Chunks shared with another blob go too: it will fetch them again."""
        for chunk in manifest.chunks if (manifest := self.manifest(cid)) else ():
            self.remove(chunk)
        self.remove(cid)

    def __repr__(self) -> str:
        return f"<BlockStore {self.bytes_used} of {self.bytes_max} bytes>"


def check_size(size: int, size_max: int) -> None:
    """Raises RemoteError (`oversize`)."""
    if size > size_max:
        raise RemoteError(f"a blob of {size} bytes, at most {size_max} are wanted", code="oversize")


def _gone(cid: Cid) -> BlobMissing:
    return BlobMissing(f"the block {cid} is not here, or no longer whole", next_step="fetch it again")


_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
