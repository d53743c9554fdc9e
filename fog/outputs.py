"""Writing results: one shard's runs as files in the folder that the submitter asked for.

A file is written under another name and renamed, so it appears whole or not at all; writing it again after a
crash gives the same file.

What must always hold: nothing is written outside the folder, whatever a worker made of the result's names
(`domain.compute.spec` refuses names that lead out of it).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Final

from domain.compute.spec import Output, Run, ShardResult
from ledger.errors import UsageError
from network.blobs import BlockStore

Stem = Callable[[int, str], str]
"""Shard and the name of a run -> what the names of its outputs begin with."""


PART_SIZE: Final = 16
"""Characters that a name under way takes of its hash: as short as the longest that may follow it."""

FOR_GOOD: Final = frozenset(
    {
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.EINVAL,
        errno.EILSEQ,
        errno.ELOOP,
        errno.ENOTEMPTY,
    }
)
"""What is the matter with a name stays so until somebody changes the folder; room, or a right, may come."""


class CannotWrite(UsageError):
    """This machine did not take an output. `for_good`: it will not by itself."""

    code = "cannot_write"
    for_good = False


def named_after_input(shard: int, run: str) -> str:
    return run or str(shard)


def write_outputs(
    folder: Path, shard: int, result: ShardResult, store: BlockStore, stem: Stem = named_after_input
) -> list[str]:
    """Every output of a shard; the paths of the files below `folder`. All blobs must be in `store`.

    Raises CannotWrite: a full disk, or names that this file system does not take.
    """
    written: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for run in result.runs:
            for name, output in outputs_of(shard, run, stem):
                _write(folder / name, output, store)
                written.append(name)
    except OSError as error:
        refused = CannotWrite(
            f"cannot write the outputs of shard {shard} below {folder}: {error}",
            next_step="make room, or move what is in the way; then: fog job fetch JOB",
        )
        refused.for_good = error.errno in FOR_GOOD
        raise refused from error
    return written


def names_of(shard: int, result: ShardResult, stem: Stem = named_after_input) -> list[str]:
    """The paths that `write_outputs` gives, without writing."""
    return [name for run in result.runs for name, _ in outputs_of(shard, run, stem)]


def read(output: Output, store: BlockStore, size_max: int) -> bytes:
    """The first `size_max` bytes of an output. Its blob must be in `store`."""
    data = bytearray()
    for chunk in _chunks(output, store):
        data += chunk
        if len(data) >= size_max:
            break
    return bytes(data[:size_max])


def outputs_of(shard: int, run: Run, stem: Stem) -> Iterable[tuple[str, Output]]:
    """The path below the folder, and what is written there."""
    name = stem(shard, run.name)
    yield f"{name}.out", run.stdout
    if run.stderr.size:
        yield f"{name}.err", run.stderr
    for file in run.files:
        yield f"{name}.files/{file.name}", file.content


def _write(path: Path, output: Output, store: BlockStore) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:PART_SIZE]}.part")
    try:
        with part.open("wb") as target:
            _copy(output, store, target)
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _copy(output: Output, store: BlockStore, target: BinaryIO) -> None:
    for chunk in _chunks(output, store):
        target.write(chunk)


def _chunks(output: Output, store: BlockStore) -> Iterable[bytes]:
    if output.data is not None:
        return (output.data,)
    assert output.cid is not None, "an output has its bytes or their id"
    return store.chunks(output.cid)
