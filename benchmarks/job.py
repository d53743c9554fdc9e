"""From `submit` to the checked result of a warm one-shard job, on loopback: what the network adds to it.

Three nodes: a submitter and two workers, one of them the anchor. The job is `examples/hello.c`, compiled,
fetched and cached by earlier jobs. It is leased, run, committed to, checked by the other worker, revealed by
both and paid, and its result is on the submitter's disk when the clock stops.

Reference: the same two runs in a sandbox of this process, one after the other, with no network around them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import trio

from benchmarks.nodes import network
from domain.compute import programs
from domain.compute.engine import ENGINE
from domain.compute.sandbox import ShardTask, open_sandbox
from domain.compute.spec import JobSpec
from fog.methods import JobSubmit
from fog.players import Player

PROGRAM = Path(__file__).resolve().parents[1] / "examples" / "hello.c"
TARGET_P50_MS = 1_000
WARM_UP = 3


def request(program: Path) -> JobSubmit:
    return JobSubmit(
        program=str(program),
        args=[],
        files=[],
        name="hello",
        output=None,
        shards=1,
        price=2_000,
        fuel=1_000_000_000,
        memory=64 << 20,
        lease_ms=30_000,
        deadline_ms=300_000,
        checks=1,
        wait=True,
    )


def measure_jobs(submitter: Player, program: Path, count: int) -> list[float]:
    """Milliseconds of each job after the warm-up."""
    took = []
    for _ in range(WARM_UP + count):
        begun = time.perf_counter()
        result = submitter.ask("job.submit", request(program))
        took.append((time.perf_counter() - begun) * 1000)
        assert result["job"]["state"] == "done", result
        assert len(result["results"][0]["workers"]) == 2, result
    return took[WARM_UP:]


async def measure_sandbox(folder: Path, count: int) -> tuple[Path, list[float]]:
    """The compiled program, and milliseconds of two runs in sequence, `count` times."""
    program = await programs.prepare(PROGRAM, folder)
    spec = JobSpec(
        kind=program.kind,
        program=program.cid,
        name=program.name,
        memory=64 << 20,
        fuel=1_000_000_000,
        output=1 << 20,
        seed=bytes(32),
        clock_ns=0,
        engine=ENGINE,
        shards=((),),
    )
    took = []
    async with open_sandbox(folder / "modules") as sandbox:
        for index in range(WARM_UP + count):
            begun = time.perf_counter()
            for half in (1, 2):
                scratch = folder / f"{index}-{half}"
                scratch.mkdir()
                await sandbox.run(ShardTask(spec, 0, program.path), scratch=scratch)
                sandbox.warm()
            took.append((time.perf_counter() - begun) * 1000)
    return program.path, took[WARM_UP:]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=20)
    count = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as folder:
        program, alone = trio.run(measure_sandbox, Path(folder), count)
        module = Path(folder) / "hello.wasm"
        module.write_bytes(program.read_bytes())
        with network(["anchor", "worker"], ["submitter"]) as players:
            jobs = measure_jobs(players["submitter"], module, count)
    found = {
        "jobs": count,
        "p50_ms": round(statistics.median(jobs), 1),
        "p90_ms": round(statistics.quantiles(jobs, n=10)[-1], 1),
        "max_ms": round(max(jobs), 1),
        "two_runs_alone_p50_ms": round(statistics.median(alone), 1),
        "target_p50_ms": TARGET_P50_MS,
    }
    print(f"{'':<28} {'p50':>8} {'p90':>8} {'max':>8}  ms")
    print(f"{'submit to checked result':<28} {found['p50_ms']:>8} {found['p90_ms']:>8} {found['max_ms']:>8}")
    print(f"{'the same two runs alone':<28} {found['two_runs_alone_p50_ms']:>8}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
