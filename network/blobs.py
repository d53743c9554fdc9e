"""A store of blocks on disk, each named by the hash of its bytes.

A block is a chunk of a blob or a manifest (`ledger.blob`), at most 256 KiB. One file a block, in folders
by the last two characters of its name so that no folder grows huge.

What must always hold:
    - a name that exists has its whole content: written aside, fsynced, renamed, folder fsynced
    - what is read is what the name says, or it is not there: a block that rotted is removed and counted
    - never more than `bytes_max` on disk; what would exceed it is refused, nothing is thrown away unasked

What a crash leaves: after the write aside, a file in `incoming/` that the next start removes; after the
rename, the whole block. There is no state in which a half block has a name.

Blocking; adapters call it in a thread. One process a folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from ledger import blob
from ledger.blob import BLOCK_SIZE_MAX, Manifest
from ledger.cid import Cid
from ledger.errors import FogError, RemoteError

BYTES_MAX: Final = 16 * 1024**3  # 16 GiB, a modest share of a disk; a setting of the node


class BlobsFull(FogError):
    """The store is at its limit, or the disk is; the message says how to make room."""

    code = "blobs_full"


class BlobMissing(FogError):
    """A block is not here, and no peer that was asked could give it."""

    code = "blob_missing"


class BlockStore:
    """Blocks under one folder. `counts` has `rotten`: blocks that were not what their name says."""

    def __init__(self, folder: Path, *, bytes_max: int = BYTES_MAX) -> None:
        self.folder, self.bytes_max = folder, bytes_max
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()  # guards bytes_used: threads of several fetches write here
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
        path = self._path(cid)
        if path.exists():
            return False
        self._reserve(len(block))
        try:
            self._write(path, block, durable)
        except BaseException as error:
            self._release(len(block))
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise BlobsFull(
                    f"no room on the disk for blobs: {error}", next_step="free some space, then try again"
                ) from error
            raise
        return True

    def _reserve(self, size: int) -> None:
        with self._lock:
            if self.bytes_used + size > self.bytes_max:
                raise BlobsFull(
                    f"{self.bytes_used} of {self.bytes_max} bytes of blobs are used, {size} more do not fit",
                    next_step="raise the limit for blobs in the settings, or remove blobs of finished jobs",
                )
            self.bytes_used += size

    def _release(self, size: int) -> None:
        with self._lock:
            self.bytes_used -= size

    def _write(self, path: Path, block: bytes, durable: bool) -> None:
        aside = self._incoming / f"{path.name}.{threading.get_ident()}"
        with aside.open("wb") as file:
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
        path.parent.mkdir(exist_ok=True)
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
        with contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            self._release(size)

    # -- blobs

    def add(self, source: bytes | BinaryIO) -> Cid:
        """Cut a blob into blocks, store them, return its id. BlobsFull, UsageError (`blob_too_big`)."""
        cid = None
        for cid, block in blob.blocks(source):
            self.put(cid, block)
        assert cid is not None, "a blob has at least one block"
        return cid

    def manifest(self, cid: Cid) -> Manifest | None:
        """The manifest of a blob of several chunks, if it is here. Raises RemoteError for a bad one."""
        block = None if cid.is_raw else self.get(cid)
        return None if block is None else blob.parse_manifest(block)

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
