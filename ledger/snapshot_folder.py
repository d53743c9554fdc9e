"""Snapshots that are half here, on the disk: what was proven once is not fetched again after a restart.

    <id of the manifest>/manifest     what there is to fetch
    <id of the manifest>/steps-0      how those who made it final came to be validators
    <id of the manifest>/rows-17      a part, as it came

Nothing here is trusted: every part is proven again when it is read, and what a crash or the disk spoilt is
fetched again. So nothing is synced to the disk, and nothing of it is needed once there is a store. Each file
begins with a hash of the rest: a peer that gives the other half must not be blamed for this one. And nothing
is kept of a snapshot before its steps are proven: they would be a liar's, and the peer that gives the last of
them would be blamed.

Knows files and bounds. Does not know peers, or which snapshot is wanted. Blocking; one thread at a time.

What must always hold: at most SNAPSHOTS_MAX snapshots and `bytes_max` bytes are kept; a disk that takes no
more ends nothing but the keeping.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
from pathlib import Path
from typing import Final

from ledger.errors import RemoteError
from ledger.genesis import Genesis
from ledger.snapshot import MANIFEST_SIZE_MAX, Download, Part, parse_manifest
from ledger.state_parts import PART_SIZE_MAX

log = logging.getLogger(__name__)

SNAPSHOTS_MAX: Final = 2
"""Peers may offer different ones, and one of them may be the one that is given no more."""

KEPT_BYTES_MAX: Final = 2 * 1024**3
"""A state of 2 GiB; what is beyond is fetched again after a restart."""

MANIFEST: Final = "manifest"
_DIGEST_SIZE: Final = hashlib.sha256().digest_size


class SnapshotFolder:
    def __init__(self, root: Path, bytes_max: int = KEPT_BYTES_MAX) -> None:
        """`root` need not exist; it belongs to this alone."""
        self._root = root
        self._bytes_max = bytes_max
        self._bytes = 0

    def load(self, genesis: Genesis, *, oldest: int) -> list[Download]:
        """What is half here, the furthest first. Those of a ledger time before `oldest` (unix ms) are thrown
        away: hardly anybody gives them any more. A second for 100,000 rows: not for a busy thread.
        """
        self._bytes = sum(map(_size, self._folders()))
        found = []
        for folder in self._folders():
            download = self._read(folder, genesis)
            if download is None or oldest > download.checkpoint.T:
                self._remove(folder)
            else:
                found.append(download)
        return sorted(found, key=lambda download: -download.here)

    def begin(self, download: Download) -> None:
        """A snapshot that was just certified, of which nothing is here yet; it takes the place of the one
        that is least far."""
        self.drop(download)
        others = sorted(self._folders(), key=lambda folder: sum(1 for _ in folder.iterdir()))
        for folder in others[: len(others) - SNAPSHOTS_MAX + 1]:
            self._remove(folder)
        self._write(self._root / download.name, MANIFEST, download.manifest.encode())
        for part, data in download.steps():
            self.put(download, part, data)

    def put(self, download: Download, part: Part, data: bytes) -> None:
        """A part that was proven, of a snapshot that was begun."""
        folder = self._root / download.name
        if (folder / MANIFEST).exists():
            self._write(folder, _name(part), data)

    def drop(self, download: Download) -> None:
        self._remove(self._root / download.name)

    def clear(self) -> None:
        """There is a store, or nothing is wanted any more."""
        shutil.rmtree(self._root, ignore_errors=True)
        self._bytes = 0

    def _folders(self) -> list[Path]:
        return sorted(self._root.iterdir()) if self._root.is_dir() else []

    def _read(self, folder: Path, genesis: Genesis) -> Download | None:
        data = self._bytes_of(folder / MANIFEST, MANIFEST_SIZE_MAX)
        if data is None:
            return None
        try:
            download = Download(genesis, parse_manifest(data))
        except RemoteError as error:
            log.warning("%s is no snapshot any more: %s", folder, error)
            return None
        if not download.is_certified:
            self._take_lacking(download, folder)  # who signed comes first, and then the rest
        if not download.is_certified or download.name != folder.name:
            return None
        self._take_lacking(download, folder)
        return download

    def _take_lacking(self, download: Download, folder: Path) -> None:
        for part in list(download.lacking()):
            data = self._bytes_of(folder / _name(part), PART_SIZE_MAX)
            if data is None:
                continue
            try:
                download.take(part, data)
            except RemoteError as error:
                log.warning("%s of %s is fetched again: %s", _name(part), folder, error)

    def _bytes_of(self, path: Path, size_max: int) -> bytes | None:
        try:
            with path.open("rb") as file:
                digest, data = file.read(_DIGEST_SIZE), file.read(size_max)
        except OSError:
            return None
        return data if digest == hashlib.sha256(data).digest() else None

    def _write(self, folder: Path, name: str, data: bytes) -> None:
        size = _DIGEST_SIZE + len(data)
        if self._bytes + size > self._bytes_max:
            return
        half = folder / f"{name}.half"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            half.write_bytes(hashlib.sha256(data).digest() + data)
            half.rename(folder / name)
            self._bytes += size
        except OSError as error:
            log.warning("a part of a snapshot is not kept: %s", error)
            self._bytes_max = self._bytes
            with contextlib.suppress(OSError):
                half.unlink()

    def _remove(self, folder: Path) -> None:
        if folder.is_dir():
            self._bytes -= _size(folder)
            shutil.rmtree(folder, ignore_errors=True)

    def __repr__(self) -> str:
        return f"<SnapshotFolder {self._root} {self._bytes} bytes>"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0


def _name(part: Part) -> str:
    kind, index = part
    return f"{kind}-{index}"
