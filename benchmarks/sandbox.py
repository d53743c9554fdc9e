"""What does the sandbox cost: CPU beside a native build of the same C, and the wall clock of a small job.

    python -m benchmarks.sandbox [--repeats 5]

`sha256.c` (100 MiB, no input) and `examples/textstats.c` (50 MB of text on standard input), built natively by
`cc -O2` and run in the sandbox as any job is: fuel counted, numbers canonical, in a child behind the kernel's
walls. CPU seconds of the whole child (user and system), best of the repeats, because other programs only ever
add. The start-up is the wall clock from asking for one run of hello.c to its result: with a template waiting,
and without. Compiling is done before. Prints a table and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import trio

from domain.compute import programs
from domain.compute.engine import ENGINE
from domain.compute.sandbox import Sandbox, ShardTask
from domain.compute.spec import Input, JobSpec, Run
from ledger import blob

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"
TARGET = 2.0
TEXT_SIZE = 50_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        numbers = trio.run(measure, Path(folder), options.repeats)
    for name, value in numbers.items():
        print(f"{name:32} {value}")
    print(json.dumps(numbers))
    if max(numbers["sha256_ratio"], numbers["textstats_ratio"]) > TARGET:
        print(f"slower than {TARGET} times native", file=sys.stderr)


async def measure(folder: Path, repeats: int) -> dict[str, Any]:
    text = folder / "text"
    source = (EXAMPLES / "textstats.c").read_bytes()
    text.write_bytes((source * (TEXT_SIZE // len(source) + 1))[:TEXT_SIZE])
    numbers: dict[str, Any] = {}
    for program, stdin in ((HERE / "sha256.c", None), (EXAMPLES / "textstats.c", text)):
        native_s, expected = native(program, stdin, folder, repeats)
        sandbox_s, run = await sandboxed(program, stdin, folder, repeats)
        assert run.stdout.data == expected, "the sandbox printed something else than the native program"
        numbers |= {
            f"{program.stem}_native_cpu_s": round(native_s, 3),
            f"{program.stem}_sandbox_cpu_s": round(sandbox_s, 3),
            f"{program.stem}_ratio": round(sandbox_s / native_s, 2),
            f"{program.stem}_gfuel_per_cpu_s": round(run.fuel / 1e9 / sandbox_s, 2),
        }
    return numbers | await start_up(folder, repeats * 2)


def native(program: Path, stdin: Path | None, folder: Path, repeats: int) -> tuple[float, bytes]:
    """CPU seconds and output of the program as the system's compiler builds it."""
    built = folder / program.stem
    subprocess.run(["cc", "-O2", "-o", built, program], check=True)

    def once() -> bytes:
        with open(stdin or os.devnull, "rb") as source:
            return subprocess.run([built, "input"], stdin=source, capture_output=True, check=True).stdout

    outputs = []
    return min(cpu_s(lambda: outputs.append(once())) for _ in range(repeats)), outputs[0]


async def sandboxed(program: Path, stdin: Path | None, folder: Path, repeats: int) -> tuple[float, Run]:
    """CPU seconds of the child, start included, and what it found; the module comes from the cache."""
    task = await shard(program, stdin, folder)
    sandbox = Sandbox(folder / "cache")
    await sandbox.run(task, scratch=folder)
    times = []
    for _ in range(repeats):
        before = children_cpu_s()
        outcome = await sandbox.run(task, scratch=folder)
        times.append(children_cpu_s() - before)
    return min(times), outcome.result.runs[0]


async def start_up(folder: Path, repeats: int) -> dict[str, float]:
    """Wall milliseconds of a whole hello.c, median."""
    task = await shard(EXAMPLES / "hello.c", None, folder)
    sandbox = Sandbox(folder / "cache")
    await sandbox.run(task, scratch=folder)
    cold = [await wall_ms(sandbox, task, folder) for _ in range(repeats)]
    warm = []
    for _ in range(repeats):
        sandbox.warm()
        await trio.sleep(0.5)  # as between two jobs of a node: the template has loaded the engine
        warm.append(await wall_ms(sandbox, task, folder))
    await sandbox.aclose()
    return {"hello_cold_ms": round(median(cold), 1), "hello_warm_ms": round(median(warm), 1)}


async def shard(program: Path, stdin: Path | None, folder: Path) -> ShardTask:
    ready = await programs.prepare(program, folder / "cache")
    inputs = [] if stdin is None else [Input("input", blob.cid_of(stdin.read_bytes()), stdin.stat().st_size)]
    spec = JobSpec(
        kind=ready.kind,
        program=ready.cid,
        name=ready.name,
        memory=64 << 20,
        fuel=10**12,
        output=1 << 20,
        seed=bytes(32),
        clock_ns=0,
        engine=ENGINE,
        shards=(tuple(inputs),),
    )
    return ShardTask(spec, 0, ready.path, [] if stdin is None else [stdin])


async def wall_ms(sandbox: Sandbox, task: ShardTask, folder: Path) -> float:
    start = time.perf_counter()
    await sandbox.run(task, scratch=folder)
    return (time.perf_counter() - start) * 1000


def cpu_s(action: Callable[[], None]) -> float:
    before = children_cpu_s()
    action()
    return children_cpu_s() - before


def children_cpu_s() -> float:
    """CPU seconds of all children that have ended, user and system."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
