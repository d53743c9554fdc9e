"""The parent's side of the sandbox: one child process for a shard, watched and ended.

    async with open_sandbox(cache) as sandbox:
        outcome = await sandbox.run(task, scratch=scratch)

A template with the engine already loaded divides into children (`forking`), so that a small shard does not
pay the start of an interpreter. Each child runs one shard and is then gone, with everything it ever saw.

The machine's owner comes first: `suspend` stops every child where it is, memory kept, and `resume` lets them
go on; the result is that of a run that nobody disturbed. Deadlines here stand still meanwhile. A run is
evicted by cancelling it, suspended or not.

What must always hold: when `run` returns or raises, whatever the reason, its child's whole process group is
dead; a child that says nothing within the deadline is killed; a result is built only if every input has its
run. All else raises `SandboxFailure`: this machine's trouble, for which a lease is given back without blame.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from domain.compute import cache
from domain.compute.aside import aside
from domain.compute.cgroups import Groups
from domain.compute.engine import ENGINE
from domain.compute.forking import Template, can_fork
from domain.compute.process import Child, SandboxFailure, printable
from domain.compute.spec import (
    FILES_PER_SHARD_MAX,
    INLINE_MAX,
    TOGETHER_SIZE_MAX,
    JobSpec,
    Output,
    OutputFile,
    Run,
    ShardResult,
)
from domain.compute.task import FRAME_SPARE, Failed, Loaded, Ran, Task
from domain.compute.usage import Usage
from ledger import blob
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError

LOAD_S_MAX: Final = 600.0  # wall clock until the first run begins: on a busy machine we come last
COMPILE_S: Final = 20  # CPU seconds for any module: a C program takes 0.2
COMPILE_S_PER_MIB: Final = 10  # and more for a larger one: CPython, 25 MiB, takes 12 to 40 in all
TOO_DEAR_MAX: Final = (
    1024  # programs that did not compile here and are remembered; then the oldest is forgotten
)
MEMORY_BASE: Final = 2 << 30  # interpreter, engine, compiling the largest module
MESSAGE_SIZE_MAX: Final = 500  # of a failure, in characters
WALL_S_MAX: Final = 3600.0  # of all runs; a shard is meant to take minutes

T = TypeVar("T", Loaded, Ran)


class ShardTask(msgspec.Struct, frozen=True):
    """A shard with everything fetched: `program`, `runtime` and `inputs` are files on this machine."""

    spec: JobSpec
    shard: int
    program: Path
    inputs: Sequence[Path] = ()
    runtime: Path | None = None


class ShardOutcome(msgspec.Struct, frozen=True):
    """A result, the files of the blobs it names, and how it was made."""

    result: ShardResult
    blobs: dict[Cid, Path]
    cached: bool
    confined: list[str]
    usage: Usage


Progress = Callable[[int, int], None]
"""Called when the first run begins and after each: how many are done, of how many."""


class Sandbox:
    """Runs shards, each in a child of its own, and keeps a template of them warm."""

    def __init__(self, folder: Path, *, compile_s: int = COMPILE_S, groups: Groups | None = None) -> None:
        """`groups`: where children are enclosed further, if this system lends a place."""
        self._cache = folder
        self._groups = groups
        self._compile_s = compile_s
        self._too_dear: dict[Cid, None] = {}
        self.used: Counter[str] = Counter()
        """Of all shards, also of those that failed: `shards`, `cpu_ms`, `wall_ms`."""
        self.memory_peak = 0
        """Bytes of the largest."""
        self.walls: list[str] = []
        """Around the child that ran last: see `confine`."""
        self._template: Template | None = None
        self._running: dict[Child, _Clock] = {}
        self._resumed: trio.Event | None = None  # while suspended

    def warm(self) -> None:
        """Have a template from now on. Starting one takes the caller some milliseconds."""
        if self._template is None and can_fork():
            with suppress(OSError):  # no memory or no process to be had: the next run says so
                self._template = Template()

    @property
    def suspended(self) -> bool:
        return self._resumed is not None

    def suspend(self) -> None:
        """Stop every child where it is, at once. Runs asked for meanwhile begin after `resume`."""
        if self._resumed is None:
            self._resumed = trio.Event()
        for child, clock in self._running.items():
            child.suspend()
            clock.stop()

    async def resume(self) -> None:
        """Let all go on; those that are left when somebody suspends them meanwhile stay where they are."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None
        for child in tuple(self._running):
            await child.resume()
            if self.suspended:
                return
            if child in self._running:
                self._running[child].go_on()

    async def run(
        self,
        task: ShardTask,
        *,
        scratch: Path,
        wall_s: float = WALL_S_MAX,
        progress: Progress = lambda done, total: None,
    ) -> ShardOutcome:
        """Run every input of a shard. Outputs too large for the result are written to `scratch`.

        Raises SandboxFailure; UsageError (`engine_mismatch`) for a job of another engine.
        """
        if task.spec.engine != ENGINE:
            raise UsageError(
                f"the job is for engine {task.spec.engine.hex()[:16]}, this sandbox is {ENGINE.hex()[:16]}",
                code="engine_mismatch",
            )
        while self._resumed is not None:
            await self._resumed.wait()
        child = await self.take()
        clock = self._running[child] = _Clock()
        if self.suspended:  # while the child was taken
            self.suspend()
        enclosed = self._groups.enclose(child.pid, memory_max(task.spec)) if self._groups else []
        try:
            outcome = await self._watch(child, clock, task, scratch, wall_s, progress)
        except SandboxFailure as failure:
            if self._groups and self._groups.ran_out_of_memory(child.pid):
                raise SandboxFailure("the shard had no memory left", code="host_memory") from failure
            raise
        finally:
            del self._running[child]
            await child.close()
            if self._groups:
                self._groups.release(child.pid)
            usage = child.meter.usage
            self._count(usage)
        self.walls = outcome.confined + enclosed
        return msgspec.structs.replace(outcome, usage=usage, confined=self.walls)

    async def aclose(self) -> None:
        """Let the template go; the next `warm` starts another."""
        template, self._template = self._template, None
        if template is not None:
            await template.close()

    def __repr__(self) -> str:
        state = " suspended" if self.suspended else ""
        return f"<Sandbox{state} running={list(self._running)} template={self._template!r}>"

    @property
    def template_pid(self) -> int | None:
        """Process id of the template, if there is one."""
        return None if self._template is None else self._template.pid

    @property
    def running_pids(self) -> list[int]:
        """Process ids of the children that have a shard."""
        return [child.pid for child in self._running]

    async def take(self) -> Child:
        """A child that waits for its task. The caller must close it."""
        template = self._template
        if template is None:
            return Child()
        try:
            child = await template.child()
        except SandboxFailure:  # the template is gone; a child can do without
            await self._replace(template)
            return Child()
        if template.is_spent:
            await self._replace(template)
        return child

    async def _replace(self, template: Template) -> None:
        if self._template is template:
            self._template = None
            self.warm()
        await template.close()

    async def _watch(
        self, child: Child, clock: _Clock, task: ShardTask, scratch: Path, wall_s: float, progress: Progress
    ) -> ShardOutcome:
        loaded = await self._load(child, clock, task, wall_s)
        names = task.spec.runs_of(task.shard)
        capture = _Capture(scratch, task.spec.output)
        progress(0, len(names))
        with clock.within(wall_s):
            for done, name in enumerate(names, start=1):
                ran = await _expect(child, Ran, FRAME_SPARE + capture.room)
                if ran.name != name:
                    raise SandboxFailure(f"a run of {ran.name!r}, not {name!r}", code="child_broken")
                await capture.add(ran)
                progress(done, len(names))
        result = await aside(capture.size, _result, capture, task.spec)
        return ShardOutcome(result, capture.blobs, loaded.cached, loaded.confined, child.meter.usage)

    async def _load(self, child: Child, clock: _Clock, task: ShardTask, wall_s: float) -> Loaded:
        """The child has its module, and the cache what was compiled anew.

        A module that takes too long to compile here may be quick elsewhere, so that is a failure of this
        machine; but one that it need not suffer twice.
        """
        program = task.spec.runtime or task.spec.program
        if program in self._too_dear:
            raise SandboxFailure("this program took too long to compile before", code="compile_limit")
        try:
            with cache.slot(self._cache, program) as place:
                with clock.within(LOAD_S_MAX):
                    await child.begin(_message(task, place, self._load_cpu_s(task), wall_s))
                    loaded = await _expect(child, Loaded, FRAME_SPARE)
                if loaded.compiled:
                    await trio.to_thread.run_sync(cache.keep, place, loaded.compiled)
        except SandboxFailure as failure:
            if failure.code != "cpu_limit":
                raise
            self._too_dear[program] = None
            if len(self._too_dear) > TOO_DEAR_MAX:
                del self._too_dear[next(iter(self._too_dear))]
            raise SandboxFailure(f"while compiling, {failure}", code="compile_limit") from failure
        return loaded

    def _count(self, usage: Usage) -> None:
        self.used.update(shards=1, cpu_ms=usage.cpu_ms, wall_ms=usage.wall_ms)
        self.memory_peak = max(self.memory_peak, usage.memory_peak)

    @property
    def counts(self) -> Counter[str]:
        """What was used, as counters for people."""
        used = {f"used.{name}": count for name, count in self.used.items()}
        return Counter({**used, "used.memory_peak": self.memory_peak})

    def _load_cpu_s(self, task: ShardTask) -> int:
        size = (task.runtime or task.program).stat().st_size
        return self._compile_s + math.ceil(COMPILE_S_PER_MIB * size / (1 << 20))


@asynccontextmanager
async def open_sandbox(folder: Path, groups: Groups | None = None) -> AsyncGenerator[Sandbox]:
    """A sandbox with a warm template; that is gone when the block ends. `folder` keeps compiled modules."""
    sandbox = Sandbox(folder, groups=groups)
    sandbox.warm()
    try:
        yield sandbox
    finally:
        await sandbox.aclose()


class _Clock:
    """A wall clock for the deadlines of one run. It stands still while the run is suspended."""

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self._left: float | None = None  # seconds, while it stands still

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Like `trio.fail_after`, but the end is a failure of this machine. One at a time."""
        self._scope = trio.CancelScope()
        if self._left is None:
            self._scope.deadline = trio.current_time() + seconds
        else:
            self._left = seconds
        with self._scope:
            yield
        if self._scope.cancelled_caught:
            raise SandboxFailure("the shard took longer than this machine gives it", code="wall_limit")

    def stop(self) -> None:
        if self._left is None:
            self._left = self._scope.deadline - trio.current_time()
            self._scope.deadline = math.inf

    def go_on(self) -> None:
        if self._left is not None:
            self._scope.deadline = trio.current_time() + self._left
            self._left = None


def memory_max(spec: JobSpec) -> int:
    """Bytes that a child may hold in all: itself, the compiler, and what the job needs."""
    return MEMORY_BASE + memory_of(spec, TOGETHER_SIZE_MAX)


def memory_of(spec: JobSpec, inputs: int) -> int:
    """Bytes that a shard with so many bytes of inputs may come to hold: the guest, its inputs and its output.

    An output exists up to four times on its way: as written, as captured, packed, sent.
    """
    return spec.memory + 4 * spec.output + inputs * spec.together


class _Capture:
    """Turns reports into runs; bytes that are too large to stand inline go to files named by their Cid.

    `room` is what the shard may still give: a guest is stopped before it stores more (`tree.Quota`), so a
    child that says more lies.
    """

    def __init__(self, scratch: Path, room: int) -> None:
        self.room = room
        self._files = FILES_PER_SHARD_MAX
        self.runs: list[Run] = []
        self.blobs: dict[Cid, Path] = {}
        self._scratch = scratch

    @property
    def size(self) -> int:
        """Bytes of the result at most, roughly."""
        return 2 * INLINE_MAX * (len(self.runs) + FILES_PER_SHARD_MAX - self._files)

    async def add(self, ran: Ran) -> None:
        """Raises SandboxFailure (`child_broken`)."""
        self.room -= len(ran.stdout) + sum(len(data) for _, data in ran.files)
        self._files -= len(ran.files)
        if self.room < 0 or self._files < 0:
            raise SandboxFailure("the child gave more output than the job allows", code="child_broken")
        files = [OutputFile(name, await self._output(data)) for name, data in ran.files]
        run = Run(
            name=ran.name,
            status=ran.status,
            fuel=ran.fuel,
            stdout=await self._output(ran.stdout),
            stderr=await self._output(ran.stderr),
            files=tuple(files),
            exit_code=ran.exit_code,
            detail=ran.detail,
        )
        self.runs.append(run)

    async def _output(self, data: bytes | memoryview) -> Output:
        if len(data) <= INLINE_MAX:
            return Output(len(data), data=bytes(data))
        cid = await aside(len(data), blob.cid_of, data)
        if cid not in self.blobs:
            path = self._scratch / str(cid)
            await trio.to_thread.run_sync(path.write_bytes, data)
            self.blobs[cid] = path
        return Output(len(data), cid=cid)


async def _expect(child: Child, kind: type[T], size_max: int) -> T:
    """The next report, which must be of this kind and size."""
    report = await child.report(size_max)
    if isinstance(report, Failed):
        raise SandboxFailure(printable(report.message)[:MESSAGE_SIZE_MAX], code=report.code)
    if not isinstance(report, kind):
        raise SandboxFailure(f"{type(report).__name__} where {kind.__name__} was due", code="child_broken")
    return report


def _result(capture: _Capture, spec: JobSpec) -> ShardResult:
    """The result, if others will be able to read it: a guest that broke out may have had the child lie."""
    result = ShardResult(ENGINE, tuple(capture.runs))
    try:
        ShardResult.decode(result.encode())
    except RemoteError as error:
        raise SandboxFailure(f"an impossible result: {error}", code="child_broken") from error
    if result.fuel > spec.fuel:
        raise SandboxFailure(f"{result.fuel} fuel used, of {spec.fuel}", code="child_broken")
    return result


def _message(task: ShardTask, place: cache.Slot, load_cpu_s: int, wall_s: float) -> Task:
    spec = task.spec
    names = [entry.name for entry in spec.shards[task.shard]]
    assert len(names) == len(task.inputs), "every input of the shard is here"
    interpreted = spec.kind == "python"
    assert interpreted == (task.runtime is not None), "a script comes with its runtime, a module without"
    return Task(
        program=str(task.runtime or task.program),
        script=str(task.program) if interpreted else "",
        name=spec.name,
        args=list(spec.args_of(task.shard)),
        env=spec.env_of(task.shard),
        memory=spec.memory,
        memory_max=memory_max(spec),
        fuel=spec.fuel,
        output=spec.output,
        seed=spec.seed_of(task.shard),
        clock_ns=spec.clock_ns,
        inputs=[(name, str(path)) for name, path in zip(names, task.inputs, strict=True)],
        native=str(place.native) if place.digest else "",
        digest=place.digest,
        part=str(place.part),
        parent=os.getpid(),
        load_cpu_s=load_cpu_s,
        cpu_s=math.ceil(wall_s),
        together=spec.together,
    )
