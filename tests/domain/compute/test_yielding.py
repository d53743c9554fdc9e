"""The machine's owner comes first: jobs take what is left, stop at once, and end as if nothing had been.

`python -m benchmarks.yielding` measures the same with more patience.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from domain.compute.process import Child
from domain.compute.sandbox import SandboxFailure
from domain.compute.spec import ShardResult
from tests.domain.compute.bench import Bench
from tests.domain.compute.sessions import is_stopped, last_core, pin, seconds_to_stop, session, share

pytestmark = pytest.mark.trio

FOREVER = 10**15
SHARE_MAX = 0.03
STOP_S_MAX = 0.1
GONE_S_MAX = 5.0


@asynccontextmanager
async def endless(bench: Bench) -> AsyncIterator[int]:
    """The process in which a program without end runs, in the sandbox of `bench`."""
    begun = trio.Event()
    program = await bench.program("endless.c")

    async def run() -> None:
        await bench.outcome(program, fuel=FOREVER, wall_s=600, progress=lambda done, total: begun.set())

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await begun.wait()
            [pid] = bench.sandbox.running_pids
            yield pid
            nursery.cancel_scope.cancel()


async def test_the_owner_keeps_a_core_that_both_want(bench: Bench) -> None:
    """The owner's program is in another login session, where nice alone would leave the job half."""
    core = last_core()
    with session(core) as owner:
        with session(core, "nice 19") as polite:
            assert share(polite.pid, owner.pid, 0.5) > 0.2  # or else this machine shows nothing
        async with endless(bench) as job:
            pin(job, core)
            assert share(job, owner.pid, 2.0) < SHARE_MAX


async def test_a_job_is_stopped_at_once_when_the_owner_returns(bench: Bench) -> None:
    """In the middle of the owner's own work. The median, as machines are busy."""
    core = last_core()
    with session(core) as owner:
        owner.rest()
        async with endless(bench) as job:
            pin(job, core)
            took = []
            for _ in range(11):
                owner.work()
                took.append(seconds_to_stop(job, bench.sandbox.suspend))
                owner.rest()
                await bench.sandbox.resume()
                assert not is_stopped(job)
        assert sorted(took)[5] < (STOP_S_MAX, STOP_S_MAX), took


async def test_a_run_that_was_stopped_again_and_again_gives_the_same(bench: Bench) -> None:
    """Output and fuel: who checks it sees nothing of how often this machine's owner came by."""
    task = await bench.task("textstats.c", {"a": b"x" * 2_000_000, "b": b"one two\n" * 9})
    alone = await bench.sandbox.run(task, scratch=bench.folder)
    results: list[ShardResult] = []
    stops = 0
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                results.append((await bench.sandbox.run(task, scratch=bench.folder)).result)
                nursery.cancel_scope.cancel()

            nursery.start_soon(run)
            while True:
                await trio.sleep(0.01)
                bench.sandbox.suspend()
                stops += 1
                await trio.sleep(0.01)
                await bench.sandbox.resume()
    assert stops > 3
    assert results == [alone.result]


async def test_deadlines_stand_still_while_a_run_is_suspended(bench: Bench) -> None:
    """Else an owner who is at work for an hour would make this machine fail; they go on where they were."""
    program = await bench.program("endless.c")
    begun, limit_s = trio.Event(), 0.3

    async def run() -> None:
        with pytest.raises(SandboxFailure) as caught:
            await bench.outcome(
                program, fuel=FOREVER, wall_s=limit_s, progress=lambda done, total: begun.set()
            )
        assert caught.value.code == "wall_limit"

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await begun.wait()
            bench.sandbox.suspend()
            await trio.sleep(3 * limit_s)
            assert bench.sandbox.running_pids
            await bench.sandbox.resume()
            resumed = trio.current_time()
        assert trio.current_time() - resumed < 3 * limit_s + GONE_S_MAX


async def test_a_suspended_run_can_be_evicted(bench: Bench) -> None:
    """The owner stays: nothing is left of it, though it was stopped."""
    async with endless(bench) as job:
        bench.sandbox.suspend()
        before = trio.current_time()
    assert trio.current_time() - before < GONE_S_MAX
    assert not Path(f"/proc/{job}").exists()
    assert bench.sandbox.running_pids == []


async def test_what_is_asked_for_while_suspended_begins_afterwards(bench: Bench) -> None:
    bench.sandbox.suspend()
    program = await bench.program("hello.c")
    ended = trio.Event()

    async def run() -> None:
        assert (await bench.outcome(program)).result.ok
        ended.set()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            assert bench.sandbox.running_pids == []
            await bench.sandbox.resume()
            await ended.wait()


async def test_who_has_ended_gets_no_signal(cache: Path) -> None:
    """Its number may be another's by then. Here nobody has it, which would be an error to signal."""
    child = Child()
    await child.close()
    child.suspend()
    await child.resume()
    child.kill()
    assert not child.alive


async def test_a_suspended_child_dies_with_its_node() -> None:
    """It cannot see that its pipes were closed: the kernel must tell it."""
    with node_with_children(1) as (process, pids):
        process.kill()
        process.wait()
        with trio.fail_after(GONE_S_MAX):
            while any(Path(f"/proc/{pid}").exists() for pid in pids):
                await trio.sleep(0.01)


async def test_each_of_many_is_at_the_lowest_priority_again_before_it_goes_on() -> None:
    """Without root the kernel takes only ten such wishes a second: the others wait for their turn."""
    with node_with_children(3) as (process, pids):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"resume\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"resumed\n"
        weights = [Path(f"/proc/{pid}/autogroup").read_text().split()[-1] for pid in pids]
        assert weights == ["19"] * 3


NODE = """
import json, sys, trio
from domain.compute.forking import Template

def waits(child):
    with open(f"/proc/{child.pid}/wchan") as file:
        return "pipe_read" in file.read()

async def main():
    template = Template()
    children = [await template.child() for _ in range(int(sys.argv[1]))]
    for child in children:
        while not waits(child):
            await trio.sleep(0.01)
        child.suspend()
    print(json.dumps([child.pid for child in children]), flush=True)
    sys.stdin.readline()
    for child in children:
        await child.resume()
    print("resumed", flush=True)
    sys.stdin.readline()

trio.run(main)
"""


class node_with_children:
    """A process that is not root in all but name, with children that it suspended."""

    def __init__(self, count: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", NODE, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=_give_up_administration,
        )

    def __enter__(self) -> tuple[subprocess.Popen[bytes], list[int]]:
        assert self._process.stdout is not None
        return self._process, json.loads(self._process.stdout.readline())

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _give_up_administration() -> None:
    """CAP_SYS_ADMIN, for what is executed next. Fails, for good, where nobody had it."""
    ctypes.CDLL(None).prctl(24, 21, 0, 0, 0)  # PR_CAPBSET_DROP
