"""Writing results: one shard's runs as files in the folder that the submitter asked for.

A file is written under another name and renamed, so it appears whole or not at all; writing it again after a
crash gives the same file.

What must always hold: nothing is written outside the folder, whatever a worker made of the result's names
(`domain.compute.spec` refuses names that lead out of it).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from domain.compute.spec import Output, Run, ShardResult
from ledger.errors import UsageError
from network.blobs import BlockStore

Stem = Callable[[int, str], str]
"""Shard and the name of a run -> what the names of its outputs begin with."""


def named_after_input(shard: int, run: str) -> str:
    return run or str(shard)


def write_outputs(
    folder: Path, shard: int, result: ShardResult, store: BlockStore, stem: Stem = named_after_input
) -> list[str]:
    """Every output of a shard; the paths of the files below `folder`. All blobs must be in `store`.

    Raises UsageError (`cannot_write`): a full disk, or names that this file system does not take.
    """
    written: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for run in result.runs:
            for name, output in outputs_of(shard, run, stem):
                _write(folder / name, output, store)
                written.append(name)
    except OSError as error:
        raise UsageError(
            f"cannot write the outputs of shard {shard} below {folder}: {error}",
            code="cannot_write",
            next_step="make room or give another folder; it is tried again",
        ) from error
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
    part = path.with_name(path.name + ".part")
    with part.open("wb") as target:
        _copy(output, store, target)
    os.replace(part, path)


def _copy(output: Output, store: BlockStore, target: BinaryIO) -> None:
    for chunk in _chunks(output, store):
        target.write(chunk)


def _chunks(output: Output, store: BlockStore) -> Iterable[bytes]:
    if output.data is not None:
        return (output.data,)
    assert output.cid is not None, "an output has its bytes or their id"
    return store.chunks(output.cid)
