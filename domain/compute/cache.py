"""The parent's store of compiled modules: made on this machine, kept here, never taken from anyone.

Compiling costs up to seconds; its result is native code that is run without a further look. So the cache
is a folder that only its owner may enter, and only the parent gives names in it: a child gets one empty file
for what it compiles (`Slot.part`), and a module that breaks the compiler spoils its own place and no other.

A file's name is what it was made from (program and engine). The digest beside it is compared before loading:
a damaged or half-written file is compiled again. It guards against accidents; who can write this folder could
as well replace this program.

Does not know wasmtime.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from domain.compute.engine import ENGINE
from ledger.cid import Cid

CACHE_SIZE_MAX: Final = 1 << 30  # some 25 interpreters, or all C programs anyone will try


class Slot(NamedTuple):
    """Where one program's compiled module is, or will be."""

    native: Path
    digest: bytes
    """sha256 of what is at `native`; empty if nothing is."""
    part: Path
    """An empty file, there as long as the slot is lent."""


@contextmanager
def slot(cache: Path, program: Cid) -> Iterator[Slot]:
    """Lend a program's place for one run. Raises OSError."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(cache, 0o700)
    native = cache / (hashlib.sha256(bytes(program) + ENGINE).hexdigest() + ".cwasm")
    digest = b""
    with suppress(FileNotFoundError):
        digest = native.with_suffix(".sha256").read_bytes()
        os.utime(native)  # what is used last goes last
    handle, part = tempfile.mkstemp(dir=cache, prefix=f"{os.getpid()}-", suffix=".part")
    os.close(handle)
    try:
        yield Slot(native, digest if native.exists() else b"", Path(part))
    finally:
        Path(part).unlink(missing_ok=True)


def keep(place: Slot, size: int) -> None:
    """Take what a child compiled, `size` bytes by its own word. Raises OSError.

    Native code first, its digest last: without the digest the file does not count.
    """
    if place.part.stat().st_size != size:  # the child lied or the disk is full: compiled again another time
        return
    with place.part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        os.fsync(file.fileno())
    os.replace(place.part, place.native)
    with tempfile.NamedTemporaryFile(dir=place.native.parent, delete=False) as beside:
        beside.write(digest)
        beside.flush()
        os.fsync(beside.fileno())
    os.replace(beside.name, place.native.with_suffix(".sha256"))
    make_room(place.native.parent)


def make_room(cache: Path) -> None:
    """Forget the modules that were not used for longest, down to CACHE_SIZE_MAX; what dead parents left."""
    for part in cache.glob("*.part"):
        if not psutil.pid_exists(int(part.name.split("-")[0])):
            part.unlink(missing_ok=True)
    kept = sorted(
        ((file.stat(), file) for file in cache.glob("*.cwasm")), key=lambda entry: entry[0].st_mtime_ns
    )
    size = sum(status.st_size for status, _ in kept)
    for status, file in kept[:-1]:
        if size <= CACHE_SIZE_MAX:
            break
        file.with_suffix(".sha256").unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        size -= status.st_size
