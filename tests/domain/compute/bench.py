"""A work bench for sandbox tests: compile a program, run it on some inputs, look at what came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from domain.compute import programs
from domain.compute.engine import ENGINE
from domain.compute.programs import Program
from domain.compute.sandbox import Progress, Sandbox, ShardOutcome, ShardTask
from domain.compute.spec import Input, JobSpec, Output, Run
from ledger import blob

PROGRAMS = Path(__file__).parent / "programs"
EXAMPLES = Path(__file__).parents[3] / "examples"

MIB = 1 << 20
CLOCK_NS = 1_800_000_000 * 10**9

DEFAULTS: dict[str, Any] = {
    "memory": 64 * MIB,
    "fuel": 2_000_000_000,
    "output": 4 * MIB,
    "seed": bytes(range(32)),
    "clock_ns": CLOCK_NS,
    "engine": ENGINE,
}


class Bench:
    """One sandbox, one folder for its files."""

    def __init__(self, folder: Path, cache: Path, sandbox: Sandbox | None = None) -> None:
        self.folder = folder
        self.cache = cache
        self.sandbox = sandbox or Sandbox(cache)

    async def program(self, source: str | bytes) -> Program:
        """A C file of `programs/` or `examples/` by name, or the bytes of a module."""
        if isinstance(source, bytes):
            path = self.folder / "module.wasm"
            path.write_bytes(source)
            return Program("wasm", "module", path, blob.cid_of(source))
        found = next(path / source for path in (PROGRAMS, EXAMPLES) if (path / source).exists())
        return await programs.prepare(found, self.cache)

    async def task(
        self, source: str | bytes | Program, inputs: Mapping[str, bytes], **limits: Any
    ) -> ShardTask:
        program = source if isinstance(source, Program) else await self.program(source)
        paths = []
        for data in inputs.values():
            paths.append(self.folder / f"input-{len(paths)}")
            paths[-1].write_bytes(data)
        named = tuple(Input(name, blob.cid_of(data), len(data)) for name, data in inputs.items())
        spec = JobSpec(
            kind=program.kind,
            program=program.cid,
            runtime=program.runtime_cid,
            name=program.name,
            shards=(named,),
            **(DEFAULTS | limits),
        )
        assert JobSpec.decode(spec.encode()) == spec
        return ShardTask(spec, 0, program.path, paths, program.runtime)

    async def outcome(
        self,
        source: str | bytes | Program,
        inputs: Mapping[str, bytes] | None = None,
        *,
        wall_s: float = 30.0,
        progress: Progress = lambda done, total: None,
        **limits: Any,
    ) -> ShardOutcome:
        task = await self.task(source, inputs or {}, **limits)
        return await self.sandbox.run(task, scratch=self.folder, wall_s=wall_s, progress=progress)

    async def runs(
        self, source: str | bytes, inputs: Mapping[str, bytes] | None = None, **limits: Any
    ) -> list[Run]:
        return list((await self.outcome(source, inputs, **limits)).result.runs)

    def text(self, output: Output) -> str:
        """What a run wrote, inline or not."""
        data = output.data if output.cid is None else (self.folder / str(output.cid)).read_bytes()
        assert data is not None
        return data.decode()

    async def run(self, source: str | bytes, inputs: Mapping[str, bytes] | None = None, **limits: Any) -> Run:
        """The only run of a shard with at most one input."""
        (run,) = await self.runs(source, inputs, **limits)
        return run


def changed(spec: JobSpec, **fields: Any) -> JobSpec:
    return msgspec.structs.replace(spec, **fields)
