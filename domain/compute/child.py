"""The child: a process that lives for one shard, behind the kernel's walls, and then is gone.

    start     import the engine, wait for a task; or be the copy of a process that has (`template`)
    task      tie to the parent, lowest priority, limits; open every file it will need; walls
    compile   may read what is open, compute, and make code executable
    run       may read its inputs, compute, and write to its pipe; a fresh instance for each input

Nothing that a stranger wrote is looked at before the walls of `confine` stand.

What must always hold: every report is either a fact of the job (`Ran`) or says that this machine failed
(`Failed`); whatever else happens the process ends without a report, which the parent takes for the latter.
"""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import wasmtime

from domain.compute import calls, confine, engine, modules
from domain.compute.guest import Ended, Guest, HostFailure
from domain.compute.spec import FILES_PER_SHARD_MAX
from domain.compute.task import Failed, Loaded, Ran, Task, read_task, write_report
from domain.compute.tree import Quota, Tree
from domain.compute.wasi import World

TASK_FD: Final = 0
REPORT_FD: Final = 1

Inputs = list[tuple[str, int]]
"""Name and open file of each."""

NOTHING: Final = memoryview(b"")

SAID_MAX: Final = 500  # of a failure, in characters

PYTHON_ENV: Final = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


@cache
def prepared() -> wasmtime.Engine:
    """What is the same for every task."""
    return engine.build()


def main() -> None:
    built = prepared()
    task = read_task(TASK_FD)
    if task is None:
        return
    try:
        _work(built, task)
    except HostFailure as failure:
        write_report(REPORT_FD, Failed(failure.code, str(failure)[:SAID_MAX]))
    except MemoryError:
        write_report(REPORT_FD, Failed("host_memory", "no memory left for the run"))
    except OSError as error:
        write_report(REPORT_FD, Failed("host_io", str(error)[:SAID_MAX]))
    os.read(TASK_FD, 1)  # the parent reads what was used as long as there is a process
    os._exit(0)  # nothing is left to tidy, and tearing down a gigabyte of guest takes time


def _work(built: wasmtime.Engine, task: Task) -> None:
    confined = _enter(task)
    script = Path(task.script).read_bytes() if task.script else None
    inputs = [(name, _open(path)) for name, path in task.inputs]
    files = _Files(_open(task.program), _open(task.native) if task.native else None, _open_part(task.part))
    confined += confine.drop_privileges() + confine.forbid_files() + confine.forbid_calls(calls.loading())
    try:
        module, compiled = _load(built, files, task.digest)
    except modules.BadModule as bad:
        write_report(REPORT_FD, Loaded(False, 0, confined))
        for name, _ in _groups(task, inputs):
            write_report(REPORT_FD, Ran(name, "bad_program", 0, 0, bad.code, NOTHING, b"", []))
        return
    confine.limit_cpu(task.load_cpu_s + task.cpu_s)
    confine.forbid_calls(calls.running())
    _check_memory(task)
    write_report(REPORT_FD, Loaded(compiled == 0, compiled, confined))
    for ran in _runs(built, module, task, script, inputs):
        write_report(REPORT_FD, ran)


def _enter(task: Task) -> list[str]:
    confine.die_with(task.parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    confine.limit_cpu(task.load_cpu_s, hard=task.load_cpu_s + task.cpu_s + confine.CPU_S_SPARE)
    return (
        confine.yield_to_everyone()
        + confine.die_first()
        + confine.limit(data=task.memory_max, open_files=len(task.inputs) + confine.OPEN_FILES_SPARE)
    )


class _Files(NamedTuple):
    """What is open while a module is loaded."""

    program: int
    native: int | None
    part: int


def _load(built: wasmtime.Engine, files: _Files, digest: bytes) -> tuple[wasmtime.Module, int]:
    """The module; how many bytes of native code were written for the parent to keep, 0: it has them already.

    Raises BadModule, HostFailure, OSError.
    """
    module = None if files.native is None else modules.kept(built, _read_all(files.native), digest)
    if module is not None:
        os.close(files.program)
        os.close(files.part)
        return module, 0
    module = modules.compile_module(built, _read_all(files.program))
    native = memoryview(bytes(module.serialize()))
    size = len(native)
    while native:
        native = native[os.write(files.part, native) :]
    os.close(files.part)
    return module, size


def _check_memory(task: Task) -> None:
    """The guest is told "no" only at the job's limit; a machine that would say it earlier must not start."""
    try:
        mmap.mmap(-1, task.memory, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        raise HostFailure("host_memory", f"{task.memory} bytes for the guest: {error}") from error


def _runs(
    built: wasmtime.Engine,
    module: wasmtime.Module,
    task: Task,
    script: bytes | None,
    inputs: Inputs,
) -> Iterator[Ran]:
    """One `Ran` for each input, each with what the runs before it left of fuel and output."""
    fuel, size, files = task.fuel, task.output, FILES_PER_SHARD_MAX
    over = False
    for name, given in _groups(task, inputs):
        if over or fuel == 0:
            yield Ran(name, "not_run", 0, 0, "", NOTHING, b"", [])
            continue
        tree = Tree(Quota(size, files))
        world = _world(task, tree, name, given, script)
        ended = Guest(built, module, world, memory_size=task.memory, fuel=fuel).run()
        ran = _ran(name, ended, world)
        yield ran
        over = ended.status in ("out_of_fuel", "output_limit")
        fuel -= ended.fuel
        size -= len(ran.stdout) + sum(len(data) for _, data in ran.files)
        files -= len(ran.files)


def _groups(task: Task, inputs: Inputs) -> list[tuple[str, Inputs]]:
    """The runs of the shard: the name of each, and what it is given."""
    if task.together or not inputs:
        return [("", inputs)]
    return [(name, [(name, fd)]) for name, fd in inputs]


def _world(task: Task, tree: Tree, run: str, inputs: Inputs, script: bytes | None) -> World:
    """`run` names the one input that is standard input and the last argument; "" for none."""
    args, env = [task.name], dict(task.env)
    if script is not None:
        tree.put("program", task.name, script)
        args = ["python", f"/program/{task.name}"]
        env = PYTHON_ENV | env
    args += task.args
    stdin = b""
    for name, fd in inputs:
        data = _read_all(fd)
        tree.put("in", name, data)
        if name == run:
            args.append(name)
            stdin = data
    return World(args, env, tree, stdin, seed=task.seed, clock_ns=task.clock_ns)


def _ran(name: str, ended: Ended, world: World) -> Ran:
    return Ran(
        name,
        ended.status,
        ended.fuel,
        ended.exit_code,
        ended.detail,
        memoryview(world.stdout.data),
        bytes(world.stderr.data),
        [(path, memoryview(data)) for path, data in world.tree.captured()],
    )


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _open_part(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CLOEXEC)


def _read_all(fd: int) -> bytes:
    """A whole input, closed after. By `os.read` alone: the walls leave little else."""
    parts = []
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    os.close(fd)
    return b"".join(parts)


if __name__ == "__main__":
    main()
