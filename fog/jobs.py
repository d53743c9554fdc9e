"""Packing a job: from what a person asked for to a spec and the blobs it names, ready to be submitted.

Inputs are shared out in order: the first shards get one more where it does not come out even. An input
keeps its file name; where two files have the same, folders are put in front (`json__decoder.py`).

Knows files, specs and the blob store. Does not know the ledger.
"""

from __future__ import annotations

import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec
import trio

from domain.compute.engine import ENGINE
from domain.compute.programs import prepare
from domain.compute.spec import INPUTS_PER_SHARD_MAX, SPEC_SIZE_MAX, Input, JobSpec
from domain.payloads import SHARDS_MAX
from fog.methods import JobSubmit
from fog.places import require_short
from ledger.blob import BLOB_SIZE_MAX
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError
from network.blobs import BlockStore

STANDARD_TIME_NS: Final = 1_767_225_600 * 10**9
"""2026-01-01: what every guest's clock says when it starts."""

T = TypeVar("T")

FOLDERS_IN_A_NAME: Final = "__"


class Packed(msgspec.Struct, frozen=True):
    """`inputs`: for each shard the names of its inputs."""

    spec: Cid
    inputs: list[list[str]]

    @property
    def shards(self) -> int:
        return len(self.inputs)


async def pack(request: JobSubmit, store: BlockStore, cache: Path, *, seed: bytes) -> Packed:
    """Compile, read and store everything a job needs. `seed` (32 bytes) is the guests' randomness.

    Raises what `domain.compute.programs.prepare` raises; UsageError: `no_input`, `too_many_inputs`,
    `too_few_inputs`, `same_input_twice`, `name_too_long`, `oversize`, `bad_job`, `bad_lease`; BlobsFull.
    """
    if request.lease_ms >= request.deadline_ms:  # work is leased only while a whole lease fits
        raise UsageError(
            f"a lease of {request.lease_ms} ms does not fit into the {request.deadline_ms} ms given",
            code="bad_lease",
            next_step="give a shorter --lease, or a later --deadline",
        )
    program = await prepare(Path(request.program), cache)
    program.require_memory(request.memory)
    await trio.to_thread.run_sync(add_file, store, program.path)
    if program.runtime is not None:
        await trio.to_thread.run_sync(add_file, store, program.runtime)
    files = [Path(name) for name in request.files]
    names = unique_names(files)
    inputs = [
        await trio.to_thread.run_sync(input_of, store, name, path)
        for name, path in zip(names, files, strict=True)
    ]
    shards = share_out(inputs, request.shards)
    is_numbered = not files and len(shards) > 1
    write = partial(
        write_spec,
        "the job",
        kind=program.kind,
        program=program.cid,
        name=program.name,
        memory=request.memory,
        fuel=request.fuel,
        output=request.output_max,
        seed=seed,
        shards=shards,
        args=request.args,
        runtime=program.runtime_cid,
        numbers=range(len(shards)) if is_numbered else (),
        of=len(shards) if is_numbered else 0,
    )
    cid = await trio.to_thread.run_sync(lambda: store.add(write()))
    return Packed(cid, [[entry.name for entry in shard] for shard in shards])


def write_spec(
    whose: str,
    *,
    kind: Literal["wasm", "python"],
    program: Cid,
    name: str,
    memory: int,
    fuel: int,
    output: int,
    seed: bytes,
    shards: Iterable[Sequence[Input]],
    args: Sequence[str] = (),
    env: dict[str, str] | None = None,
    runtime: Cid | None = None,
    points: Iterable[Sequence[str]] = (),
    numbers: Sequence[int] = (),
    of: int = 0,
    together: bool = False,
) -> bytes:
    """The spec of a job that runs here and now, encoded. Half a second of work for the largest.

    Raises UsageError (`oversize`, `bad_job`): no worker could do anything with a spec that breaks its own
    schema.
    """
    spec = JobSpec(
        kind=kind,
        program=program,
        name=name,
        memory=memory,
        fuel=fuel,
        output=output,
        seed=seed,
        clock_ns=STANDARD_TIME_NS,
        engine=ENGINE,
        shards=tuple(map(tuple, shards)),
        args=tuple(args),
        env=env or {},
        runtime=runtime,
        points=tuple(map(tuple, points)),
        numbers=tuple(numbers),
        of=of,
        together=together,
    ).encode()
    if len(spec) > SPEC_SIZE_MAX:
        raise UsageError(
            f"the description of {whose} has {len(spec)} bytes, at most {SPEC_SIZE_MAX} are allowed",
            code="oversize",
            next_step="give fewer files at once, or shorter arguments",
        )
    try:
        JobSpec.decode(spec)
    except RemoteError as error:
        raise UsageError(
            f"no worker would take this job: {error}",
            code="bad_job",
            next_step="use plain, shorter names for files and plain, shorter arguments",
        ) from error
    return spec


def share_out(inputs: Sequence[T], shards: int | None) -> list[list[T]]:
    """Inputs in order over `shards` shards (null: one each); without inputs, so many empty shards.

    Raises UsageError (`too_many_inputs`, `too_few_inputs`).
    """
    if not inputs:
        return [[] for _ in range(shards or 1)]
    count = shards or len(inputs)
    if count > len(inputs):
        raise UsageError(
            f"{len(inputs)} files cannot fill {count} shards",
            code="too_few_inputs",
            next_step=f"--shards {len(inputs)}, or leave it out",
        )
    if count > SHARDS_MAX or len(inputs) > count * INPUTS_PER_SHARD_MAX:
        raise UsageError(
            f"{len(inputs)} files in {count} shards: at most {INPUTS_PER_SHARD_MAX} files a shard and "
            f"{SHARDS_MAX} shards a job",
            code="too_many_inputs",
            next_step=f"--shards {-(-len(inputs) // INPUTS_PER_SHARD_MAX)} or more, or several jobs",
        )
    least, more = divmod(len(inputs), count)
    shared, start = [], 0
    for shard in range(count):
        end = start + least + (shard < more)
        shared.append(list(inputs[start:end]))
        start = end
    return shared


def unique_names(files: Sequence[Path]) -> list[str]:
    """A name for each file, different from all others.

    Raises UsageError (`same_input_twice`, `name_too_long`).
    """
    depth = 1
    files = [Path(unicodedata.normalize("NFC", str(path))) for path in files]  # as all text of the network
    names = [path.name for path in files]
    while len(set(names)) < len(names):
        count = Counter(names)
        depth += 1
        longer = [
            FOLDERS_IN_A_NAME.join(path.parts[-depth:]).lstrip("/") if count[name] > 1 else name
            for name, path in zip(names, files, strict=True)
        ]
        if longer == names:
            twice = next(str(path) for name, path in zip(names, files, strict=True) if count[name] > 1)
            raise UsageError(
                f"{twice} is given twice", code="same_input_twice", next_step="give each file once"
            )
        names = longer
    require_short(names)
    return names


def input_of(store: BlockStore, name: str, path: Path) -> Input:
    """Its size is that of what was read: some files say another one, and others grow meanwhile."""
    cid = add_file(store, path)
    size = store.size(cid)
    assert size is not None, "whoever adds an input holds it"
    return Input(name, cid, size)


def add_file(store: BlockStore, path: Path) -> Cid:
    """Raises UsageError (`no_input`, `blob_too_big`), BlobsFull."""
    try:
        require_input(path)
        with path.open("rb") as source:
            return store.add(source)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", code="no_input", next_step="check the path"
        ) from error


def require_input(path: Path) -> None:
    """A plain file, since a pipe may never begin, and a device never end; and of a size that can be sent.

    Raises UsageError (`no_input`, `blob_too_big`), OSError.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise UsageError(
            f"{path} is no plain file", code="no_input", next_step="copy what it gives into a file"
        )
    if state.st_size > BLOB_SIZE_MAX:
        raise UsageError(
            f"{path} has {state.st_size} bytes, an input may have {BLOB_SIZE_MAX}",
            code="blob_too_big",
            next_step="split it into several files",
        )
