"""What parent and child say to each other: one task in, reports out, length-prefixed over two pipes.

The child trusts the parent. The parent trusts nothing in a report: a child whose guest has broken out may say
anything, which at worst makes a wrong result, as any dishonest worker could. So every list is bounded here,
before it is read, and the bytes of all reports together in `sandbox`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from domain.compute.spec import FILES_PER_SHARD_MAX, OUTPUT_MAX, Status
from domain.compute.wasi import STDERR_MAX

LENGTH_SIZE: Final = 4
FRAME_SPARE: Final = 2 << 20  # the names and words around a run's output
FRAME_SIZE_MAX: Final = OUTPUT_MAX + FRAME_SPARE
WALLS_MAX: Final = 32
PID_SIZE: Final = 4
"""Of a template's answer: the number of the new child, 0 if the system has no room for one."""


class Task(msgspec.Struct, frozen=True):
    """A shard as the child sees it: everything is a path, a number or a text.

    program   the module;  script  what to mount under /program ("" if none)
    inputs    (name, path); empty: one run with empty standard input
    together  one run for all inputs, none of them as standard input
    native    the compiled module, if this machine has it, and its digest;  part  where to write it if not
    memory, memory_max   bytes of the guest, and of the whole child
    parent    process id of the parent, for the case that it is gone before the child looks
    load_cpu_s, cpu_s   CPU seconds for compiling, and for all runs together
    """

    program: str
    script: str
    name: str
    args: list[str]
    env: dict[str, str]
    memory: int
    memory_max: int
    fuel: int
    output: int
    seed: bytes
    clock_ns: int
    inputs: list[tuple[str, str]]
    native: str
    digest: bytes
    part: str
    parent: int
    load_cpu_s: int
    cpu_s: int
    together: bool = False


Word = Annotated[str, Meta(pattern=r"^[a-z_]{1,40}\Z")]


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The module is ready, or known to be bad; runs begin.

    compiled  bytes of native code in `Task.part`;  confined  what the kernel now enforces
    """

    cached: bool
    compiled: Annotated[int, Meta(ge=0)]
    confined: Annotated[list[Word], Meta(max_length=WALLS_MAX)]


class Ran(msgspec.Struct, frozen=True, tag=True):
    """One run ended because of the job. What it wrote is a view of the report: copying 200 MiB takes half a
    second, in which Python's lock is not let go."""

    name: Annotated[str, Meta(max_length=255)]
    status: Status
    fuel: Annotated[int, Meta(ge=0)]
    exit_code: Annotated[int, Meta(ge=0, lt=1 << 32)]
    detail: Annotated[str, Meta(max_length=255)]
    stdout: memoryview
    stderr: Annotated[bytes, Meta(max_length=STDERR_MAX)]
    files: Annotated[list[tuple[str, memoryview]], Meta(max_length=FILES_PER_SHARD_MAX)]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """This machine could not go on: no result, nobody's fault."""

    code: Word
    message: str


Report = Loaded | Ran | Failed

_encoder = msgspec.msgpack.Encoder()
_task_decoder = msgspec.msgpack.Decoder(Task)
_report_decoder: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


def frame(message: Task | Report) -> bytes:
    body = _encoder.encode(message)
    assert len(body) <= FRAME_SIZE_MAX, f"a frame of {len(body)} bytes"
    return len(body).to_bytes(LENGTH_SIZE, "big") + body


def read_task(fd: int) -> Task | None:
    """Block until a task is there; None if the parent closed the pipe instead."""
    head = _read_exactly(lambda size: os.read(fd, size), LENGTH_SIZE)
    if head is None:
        return None
    body = _read_exactly(lambda size: os.read(fd, size), int.from_bytes(head, "big"))
    return None if body is None else _task_decoder.decode(body)


def write_report(fd: int, report: Report) -> None:
    data = memoryview(frame(report))
    while data:
        data = data[os.write(fd, data) :]


def decode_report(body: bytes | bytearray) -> Report:
    """Raises msgspec.DecodeError or msgspec.ValidationError."""
    return _report_decoder.decode(body)


def _read_exactly(read: Callable[[int], bytes], size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = read(size - len(data))
        if not part:
            return None
        data += part
    return bytes(data)
