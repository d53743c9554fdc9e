"""Many small shards on two cores: Fog beside a process pool and dask.distributed, in one run on one machine.

The work is one WebAssembly module, a loop of so many turns: 64 shards of 200 ms, and 1,000 of 1 ms. A process
pool and dask run it through the same wasmtime in two workers; Fog runs it as a job in a network on loopback
(a submitter, and two nodes that lend a slot each), trusting the first run, and then checked, where each shard
is run twice. What each of them is measured against is printed with it:

    bare      CPU of the loop alone, in a process that has the module compiled
    sandbox   CPU of a shard in Fog's sandbox without a network: a fresh child, its walls, the module loaded

    ideal     all shards at the cost of a shard (bare; for Fog: sandbox), times its runs, divided by the cores
    makespan  from the call to the last result at the caller;  efficiency = ideal / makespan

Then what a shard costs beyond its own run: CPU of all nodes for each shard, checkpoints for each shard, and
where the time of a lone shard goes, step by step, from the clocks of submitter and worker.

Makespans of a busy machine mean little: shards run at the lowest priority. `load` is printed with them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psutil
import trio
import wasmtime

from benchmarks.nodes import network
from domain.compute import engine
from domain.compute.engine import ENGINE
from domain.compute.sandbox import ShardTask, open_sandbox
from domain.compute.spec import JobSpec
from fog.executor import Executor
from fog.methods import JobSubmit
from fog.players import Player
from ledger import blob

CORES: Final = 2
FUEL: Final = 4_000_000_000
LONE: Final = 12  # jobs of one shard, whose median steps are shown
TARGET: Final = 0.85

SPIN: Final = """(module (memory (export "memory") 1) (func (export "_start") (local $left i64)
    (local.set $left (i64.const {turns}))
    (loop $turn
        (local.set $left (i64.sub (local.get $left) (i64.const 1)))
        (br_if $turn (i64.gt_s (local.get $left) (i64.const 0))))))"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", type=int, default=1_000, help="shards of 1 ms")
    parser.add_argument("--large", type=int, default=64, help="shards of 200 ms")
    options = parser.parse_args()
    per_ms = turns_per_ms()
    found: dict[str, Any] = {"cores": CORES, "target": TARGET, "load_before": round(os.getloadavg()[0], 2)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = (options.small, spin(per_ms, folder))
        large = (options.large, spin(200 * per_ms, folder))
        for label, (count, program) in {"64x200ms": large, "1000x1ms": small}.items():
            found[label] = {"shards": count} | costs(program, folder)
            others(found[label], program, count)
        with network(["anchor", "worker"], ["submitter"]) as players:
            for label, (count, program) in {"64x200ms": large, "1000x1ms": small}.items():
                in_fog(found[label], players, program, count)
            found["1000x1ms"] |= batched(players["submitter"], small[1], options.small, found["1000x1ms"])
        with debugging(), network(["anchor", "worker"], ["submitter"]) as players:
            found["lone_shard_ms"] = steps(players, small[1])
    found["load_after"] = round(os.getloadavg()[0], 2)
    show(found)
    print(json.dumps(found))
    if found["64x200ms"]["fog"]["efficiency"] < TARGET:
        print(f"less than {TARGET} of ideal", file=sys.stderr)


# -- the work ------------------------------------------------------------------------------------------------


def spin(turns: int, folder: Path) -> Path:
    path = folder / f"spin-{turns}.wasm"
    path.write_bytes(bytes(wasmtime.wat2wasm(SPIN.format(turns=turns))))
    return path


class Bare:
    """The module in this process, compiled once: what pool and dask workers run."""

    def __init__(self, wasm: bytes) -> None:
        self.engine = engine.build()
        self.module = wasmtime.Module(self.engine, wasm)

    def __call__(self) -> int:
        """Fuel used: a result to send back."""
        store = wasmtime.Store(self.engine)
        store.set_fuel(FUEL)
        instance = wasmtime.Instance(store, self.module, [])
        instance.exports(store)["_start"](store)
        return FUEL - store.get_fuel()


_bare: dict[str, Bare] = {}  # by path, in each worker process


def task(program: str, number: int) -> int:
    """What a worker of a pool is given to do."""
    if program not in _bare:
        _bare[program] = Bare(Path(program).read_bytes())
    return _bare[program]() + 0 * number


def turns_per_ms() -> int:
    turns = 20_000_000
    bare = Bare(bytes(wasmtime.wat2wasm(SPIN.format(turns=turns))))
    return int(turns / min(cpu_ms(bare) for _ in range(5)))


def cpu_ms(action: Callable[[], Any]) -> float:
    begun = time.process_time()
    action()
    return (time.process_time() - begun) * 1000


def costs(program: Path, folder: Path) -> dict[str, float]:
    """CPU milliseconds of one shard: bare, and in the sandbox (the child, and its parent's part)."""
    bare = Bare(program.read_bytes())
    alone = statistics.median(cpu_ms(bare) for _ in range(7))
    child, parent = trio.run(sandboxed, program, folder)
    return {
        "bare_cpu_ms": round(alone, 2),
        "sandbox_child_cpu_ms": round(child, 2),
        "sandbox_parent_cpu_ms": round(parent, 2),
    }


async def sandboxed(program: Path, folder: Path) -> tuple[float, float]:
    spec = JobSpec(
        kind="wasm",
        program=blob.cid_of(program.read_bytes()),
        name="spin",
        memory=1 << 20,
        fuel=FUEL,
        output=0,
        seed=bytes(32),
        clock_ns=0,
        engine=ENGINE,
        shards=((),),
    )
    children, parents = [], []
    async with open_sandbox(folder / "modules") as sandbox:
        for _ in range(8):
            before, parent = children_ms(), time.process_time()
            await sandbox.run(ShardTask(spec, 0, program), scratch=folder)
            sandbox.warm()
            parents.append((time.process_time() - parent) * 1000)
            children.append(children_ms() - before)
    return statistics.median(children[1:]), statistics.median(parents[1:])


def children_ms() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) * 1000


# -- the others ----------------------------------------------------------------------------------------------


def others(found: dict[str, Any], program: Path, count: int) -> None:
    ideal_s = found["bare_cpu_ms"] * count / CORES / 1000
    for name, run in {"pool": in_a_pool, "dask": in_dask}.items():
        makespan_s = run(program, count)
        found[name] = {
            "makespan_s": round(makespan_s, 3),
            "efficiency": round(ideal_s / makespan_s, 3),
            "overhead_ms": round((makespan_s - ideal_s) * CORES / count * 1000, 2),
        }


def in_a_pool(program: Path, count: int) -> float:
    with ProcessPoolExecutor(CORES) as pool:
        list(pool.map(task, [str(program)] * 8, range(8)))  # processes are there, the module compiled
        begun = time.perf_counter()
        results = list(pool.map(task, [str(program)] * count, range(count)))
        took = time.perf_counter() - begun
    assert len(set(results)) == 1
    return took


def in_dask(program: Path, count: int) -> float:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        sys.exit("this compares with dask: pip install distributed")
    with (
        LocalCluster(n_workers=CORES, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.run(task, str(program), 0)
        begun = time.perf_counter()
        results = client.gather(client.map(task, [str(program)] * count, list(range(count))))
        took = time.perf_counter() - begun
    assert len(set(results)) == 1
    return took


# -- Fog -----------------------------------------------------------------------------------------------------


def request(program: Path, shards: int, checks: int) -> JobSubmit:
    return JobSubmit(
        program=str(program),
        args=[],
        files=[],
        name="spin",
        output=None,
        shards=shards,
        price=2_000,
        fuel=FUEL,
        memory=1 << 20,
        output_max=0,
        lease_ms=60_000,
        deadline_ms=3_600_000,
        checks=checks,
        bond=0,
        wait=True,
    )


def in_fog(found: dict[str, Any], players: Mapping[str, Player], program: Path, count: int) -> None:
    each_ms = found["sandbox_child_cpu_ms"] + found["sandbox_parent_cpu_ms"]
    for name, checks in {"fog": 0, "fog_checked": 1}.items():
        submit(players, program, 8, checks)  # programs are compiled, and workers know how long they take
        before, height = spent_ms(players), height_of(players)
        begun = time.perf_counter()
        submit(players, program, count, checks)
        makespan_s = time.perf_counter() - begun
        nodes = {one: (spent_ms(players)[one][0] - before[one][0]) / count for one in players}
        children = sum(spent_ms(players)[one][1] - before[one][1] for one in players) / count
        ideal_s = each_ms * (1 + checks) * count / CORES / 1000
        bare_s = found["bare_cpu_ms"] * (1 + checks) * count / CORES / 1000
        found[name] = {
            "makespan_s": round(makespan_s, 3),
            "efficiency": round(ideal_s / makespan_s, 3),
            "efficiency_of_bare": round(bare_s / makespan_s, 3),
            "overhead_ms": round((makespan_s - ideal_s) * CORES / count * 1000, 2),
            "cpu_ms_per_shard": {one: round(ms, 1) for one, ms in nodes.items()}
            | {"children": round(children, 1)},
            "checkpoints_per_shard": round((height_of(players) - height) / count, 2),
        }


def submit(players: Mapping[str, Player], program: Path, count: int, checks: int) -> None:
    result = players["submitter"].ask("job.submit", request(program, count, checks))
    assert result["job"]["settled"] == count, result["job"]


def spent_ms(players: Mapping[str, Player]) -> dict[str, tuple[float, float]]:
    """CPU of each node so far: its own, and of the children that it has reaped."""
    times = {name: psutil.Process(player.process.pid).cpu_times() for name, player in players.items()}
    return {
        name: ((of.user + of.system) * 1000, (of.children_user + of.children_system) * 1000)
        for name, of in times.items()
    }


def height_of(players: Mapping[str, Player]) -> int:
    height: int = players["submitter"].ask("status")["height"]
    return height


def batched(submitter: Player, program: Path, count: int, found: Mapping[str, Any]) -> dict[str, Any]:
    """The same calls through the executor, which lets shards share them."""
    with Executor(program, home=submitter.home.root, memory=1 << 20, output_max=0, checks=0) as executor:
        list(executor.map([b""] * 8))
        executor.counts.clear()
        begun = time.perf_counter()
        list(executor.map([b""] * count))
        took = time.perf_counter() - begun
    ideal_s = found["bare_cpu_ms"] * count / CORES / 1000
    return {
        "fog_executor": {
            "makespan_s": round(took, 3),
            "efficiency_of_bare": round(ideal_s / took, 3),
            "overhead_ms": round((took - ideal_s) * CORES / count * 1000, 2),
            "shards": executor.counts["shards"],
        }
    }


# -- one shard alone, step by step ---------------------------------------------------------------------------

LINE: Final = re.compile(r"(\S+ \S+) DEBUG +fog\.worker: lease (\S+)/\d+\.\d+: (\w+)")

STEPS: Final = {
    "fetching": "checkpoint and lease",
    "waiting": "fetch",
    "starting": "its turn",
    "running": "child, walls, load",
    "keeping": "run",
    "revealed": "keep the result, commit, reveal",
}
"""The first word of what a worker says it does -> the step that ends there."""


def steps(players: Mapping[str, Player], program: Path) -> dict[str, float]:
    """Median milliseconds of each step of jobs of one unchecked shard."""
    rows: list[dict[str, float]] = []
    submit(players, program, 8, 0)
    for _ in range(LONE):
        times: dict[str, float] = {"asked": time.time()}

        def seen(update: dict[str, Any], times: dict[str, float] = times) -> None:
            times.setdefault("submit", time.time())
            if update["settled"]:
                times.setdefault("settle", time.time())

        result = players["submitter"].ask("job.submit", request(program, 1, 0), seen)
        times["result"] = time.time()
        said: dict[str, float] = {}
        for player in players.values():
            for at, job, word in spoken(player):
                if result["job"]["job"].endswith(job):
                    said.setdefault(word, at)
        rows.append(row_of(times, said))
    whole = [row for row in rows if len(row) == len(STEPS) + 4]
    assert whole, f"no job whose steps were all seen: {rows}"
    return {step: round(statistics.median(row[step] for row in whole), 1) for step in whole[0]}


def spoken(player: Player) -> Iterator[tuple[float, str, str]]:
    """(unix time, end of the job's id, word) of each thing that a node's worker said."""
    for line in (player.home.root / "node.log").read_text(errors="replace").splitlines():
        if match := LINE.match(line):
            at = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()
            yield at, match[2], match[3]


def row_of(times: Mapping[str, float], said: Mapping[str, float]) -> dict[str, float]:
    row = {"submit": (times["submit"] - times["asked"]) * 1000}
    before = times["submit"]
    for word, step in STEPS.items():
        if word in said:
            row[step] = (said[word] - before) * 1000
            before = said[word]
    row["checkpoint and settle"] = (times.get("settle", times["result"]) - before) * 1000
    row["fetch the result"] = (times["result"] - times.get("settle", times["result"])) * 1000
    row["all"] = (times["result"] - times["asked"]) * 1000
    return row


# -- for people ----------------------------------------------------------------------------------------------


def show(found: Mapping[str, Any]) -> None:
    for label in ("64x200ms", "1000x1ms"):
        part = found[label]
        print(
            f"{label}: {part['shards']} shards; CPU of one: bare {part['bare_cpu_ms']} ms, in the sandbox "
            f"{part['sandbox_child_cpu_ms']} + {part['sandbox_parent_cpu_ms']} ms"
        )
        print(f"  {'':<14} {'makespan s':>11} {'efficiency':>11} {'of bare':>8} {'overhead ms':>12}")
        for name in ("pool", "dask", "fog", "fog_checked", "fog_executor"):
            if name in part:
                row = part[name]
                good = row.get("efficiency", "")
                bare = row.get("efficiency_of_bare", good)
                print(f"  {name:<14} {row['makespan_s']:>11} {good:>11} {bare:>8} {row['overhead_ms']:>12}")
        for name in ("fog", "fog_checked"):
            words = ", ".join(f"{one} {ms}" for one, ms in part[name]["cpu_ms_per_shard"].items())
            print(f"  {name}: CPU ms a shard: {words}; {part[name]['checkpoints_per_shard']} checkpoints")
    print("a lone unchecked shard, step by step, ms (median):")
    for step, ms in found["lone_shard_ms"].items():
        print(f"  {step:<26} {ms:>8}")
    print(f"load before {found['load_before']}, after {found['load_after']}")


@contextmanager
def debugging() -> Iterator[None]:
    """Nodes started inside say what each lease is at."""
    os.environ["FOG_LOG_LEVEL"] = "debug"
    try:
        yield
    finally:
        del os.environ["FOG_LOG_LEVEL"]


if __name__ == "__main__":
    main()
