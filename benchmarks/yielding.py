"""How well a job gets out of the way of the machine's owner.

    python -m benchmarks.yielding [--seconds 5] [--trials 200]

The owner is emulated by a second login session: a process that leads a session of its own, as the kernel
makes groups of them (autogroup), and that burns the core to which the job is pinned.

    share    percent of the contended core that goes to the job, of what both got, by `/proc`. Reference, in
             the same run: a plain loop in a third session that did nothing, took nice 19, or SCHED_IDLE
    stop     the job has the core; then the owner's program begins to burn it, and the job is told to stop.
             Milliseconds until it ran for the last time, and until all its threads are in state T. Reference:
             SIGSTOP alone, without giving it the turn in which to stop. Watched at a real-time priority, if
             that is allowed: or else the watcher's own turns would be in it
    return   the same from the owner's first touch: logind (a service on a dbus-daemon of its own) says that
             the session is idle no more, and the node's own loop hears of it
    look     processor time of one look at this machine: what a shorter `harvest.poll_ms` costs
    equal    whether output and fuel are those of a run that nobody disturbed, after so many stops

Prints a table and, last, one line of JSON. Exit code 1 when a promise (the constants below) does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from domain.compute.sandbox import Sandbox, ShardTask
from domain.compute.spec import ShardResult
from domain.harvest import machine
from fog.gate import Gate
from fog.harvest_record import RecordFile
from fog.harvesting import Harvesting, OurUse
from fog.settings import Harvest
from tests.domain.compute.bench import Bench
from tests.domain.compute.sessions import (
    POLITE,
    Hog,
    Stopping,
    is_stopped,
    last_core,
    on_time,
    pin,
    seconds_to_stop,
    session,
    share,
)
from tests.domain.harvest.buses import LOGIN1, MANAGER, daemon, logind, service
from tests.domain.harvest.buses import session as session_of_logind

SHARE_MAX_PERCENT = 3.0
STOP_MAX_MS = 100.0
BETWEEN_S = 0.02  # a resumed job runs so long before it is stopped again
COUNTS_TO = b"x" * 4_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--trials", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        numbers = trio.run(measure, Path(folder), options.seconds, options.trials)
    for name, value in numbers.items():
        print(f"{name:32} {value}")
    print(json.dumps(numbers))
    if missed := list(misses(numbers)):
        raise SystemExit("\n".join(missed))


def misses(numbers: dict[str, Any]) -> Iterator[str]:
    """What was promised of a job and does not hold here."""
    if numbers["job_percent"] > SHARE_MAX_PERCENT:
        yield f"the job took more than {SHARE_MAX_PERCENT} % of a core that was wanted"
    if max(numbers["stop_ran_last_p99_ms"], numbers["return_ran_last_p99_ms"]) > STOP_MAX_MS:
        yield f"the job was stopped later than {STOP_MAX_MS} ms"
    if not numbers["equal"]:
        yield "a job that was stopped gave something else than one that was not"


async def measure(folder: Path, seconds: float, trials: int) -> dict[str, Any]:
    core = last_core()
    numbers: dict[str, Any] = {"trials": trials}
    with session(core) as owner:
        for name in POLITE:
            with session(core, name) as other:
                numbers[f"{name.replace(' ', '_').lower()}_percent"] = round(
                    100 * share(other.pid, owner.pid, seconds), 2
                )
        async with endless(folder, core) as (_, pid):
            numbers["job_percent"] = round(100 * share(pid, owner.pid, seconds), 2)
        owner.rest()
        async with endless(folder, core) as (sandbox, pid):
            await trials_of(numbers, "stop", trials, pid, owner, sandbox.suspend, sandbox.resume)
            await trials_of(
                numbers,
                "stop_sigstop_alone",
                max(1, trials // 10),
                pid,
                owner,
                lambda: os.killpg(pid, signal.SIGSTOP),
                partial(resume_alone, pid),
            )
        numbers |= await returns(folder, core, owner, trials)
    return numbers | await looks() | await equal(folder)


async def trials_of(
    numbers: dict[str, Any],
    name: str,
    trials: int,
    pid: int,
    owner: Hog,
    suspend: Callable[[], None],
    resume: Callable[[], Awaitable[None]],
) -> None:
    times = []
    for _ in range(trials):
        with on_time() as numbers["watched_on_time"]:
            owner.work()
            times.append(seconds_to_stop(pid, suspend))
            owner.rest()
        await resume()
        await trio.sleep(BETWEEN_S)
        assert not is_stopped(pid)
    add(numbers, name, times)


def add(numbers: dict[str, Any], name: str, times: list[tuple[float, float]]) -> None:
    """Median, p99 and the longest, for both kinds of having stopped."""
    for kind, column in (("ran_last", 0), ("all_stopped", 1)):
        ordered = sorted(1000 * row[column] for row in times)
        numbers |= {
            f"{name}_{kind}_p50_ms": round(ordered[len(ordered) // 2], 2),
            f"{name}_{kind}_p99_ms": round(ordered[len(ordered) * 99 // 100], 2),
            f"{name}_{kind}_max_ms": round(ordered[-1], 2),
        }


async def returns(folder: Path, core: int, owner: Hog, trials: int) -> dict[str, Any]:
    """From the owner's first touch on, by way of the system's own word for it."""
    bus_folder = folder / "bus"
    bus_folder.mkdir()
    hour_us = 3_600_000_000
    here = session_of_logind("wayland", idle=False, since_us=0)
    away = session_of_logind("wayland", idle=True, since_us=max(1, time.monotonic_ns() // 1000 - hour_us))
    settings = Harvest(
        profile="desktop",
        idle_s=1,  # what was touched counts from then, so each trial takes so long
        cpu_stop_percent=100,
        cpu_resume_percent=100,
        stall_stop_percent=100,
        stall_resume_percent=100,
        memory_stop_mib=0,
        may_be_unknown=("profile", "cpu"),
    )
    times = []
    async with (
        daemon(bus_folder) as bus,
        service(bus, LOGIN1, logind(away)) as login,
        endless(folder, core) as (sandbox, pid),
    ):
        gate = Gate(sandbox)
        watched = machine.linux(own=OurUse(sandbox), bus=bus.address)
        harvesting = Harvesting(settings, watched, gate, RecordFile(folder / "harvest.json"), now_ms)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(harvesting.run)
            for _ in range(trials):
                while is_stopped(pid) or not gate.is_open:
                    await trio.sleep(0.01)
                await trio.sleep(BETWEEN_S)
                watch = Stopping(pid)
                owner.work()
                login.answers |= logind(here)
                await login.changed(f"{MANAGER}/session/_30", f"{LOGIN1}.Session", IdleHint=("b", False))
                while not watch.is_over():
                    await trio.sleep(0.0005)
                times.append(watch.seconds)
                owner.rest()
                login.answers |= logind(away)
                await login.changed(f"{MANAGER}/session/_30", f"{LOGIN1}.Session", IdleHint=("b", True))
            nursery.cancel_scope.cancel()
    numbers: dict[str, Any] = {}
    add(numbers, "return", times)
    return numbers


async def looks(count: int = 50) -> dict[str, float]:
    """CPU milliseconds of a look at this very machine."""
    watched = machine.this_machine()
    await watched.look()
    before = time.process_time()
    for _ in range(count):
        await watched.look()
    return {"look_cpu_ms": round(1000 * (time.process_time() - before) / count, 2)}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def resume_alone(pid: int) -> None:
    os.killpg(pid, signal.SIGCONT)


@asynccontextmanager
async def endless(folder: Path, core: int) -> AsyncIterator[tuple[Sandbox, int]]:
    """A sandbox in which a program without end runs, on `core`; and the process that runs it."""
    sandbox = Sandbox(folder / "modules")
    bench = Bench(folder, folder / "modules", sandbox)
    task = await bench.task("endless.c", {}, fuel=10**15)
    begun = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_run, sandbox, task, folder, begun)
        await begun.wait()
        [pid] = sandbox.running_pids
        pin(pid, core)
        yield sandbox, pid
        nursery.cancel_scope.cancel()


async def _run(sandbox: Sandbox, task: ShardTask, folder: Path, begun: trio.Event) -> None:
    await sandbox.run(task, scratch=folder, progress=lambda done, total: begun.set())


async def equal(folder: Path) -> dict[str, Any]:
    """The same shard twice: left alone, and stopped again and again."""
    sandbox = Sandbox(folder / "modules")
    bench = Bench(folder, folder / "modules", sandbox)
    task = await bench.task("textstats.c", {"a": COUNTS_TO, "b": COUNTS_TO[1:]})
    alone = await sandbox.run(task, scratch=folder)
    stops, results = 0, list[ShardResult]()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            results.append((await sandbox.run(task, scratch=folder)).result)
            nursery.cancel_scope.cancel()

        nursery.start_soon(run)
        while True:
            await trio.sleep(BETWEEN_S)
            sandbox.suspend()
            stops += 1
            await trio.sleep(BETWEEN_S)
            await sandbox.resume()
    return {"equal_after_stops": stops, "equal": results == [alone.result]}


if __name__ == "__main__":
    main()
