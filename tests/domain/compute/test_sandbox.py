"""The parent: children are warm, watched, and dead when they should be."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from domain.compute.process import Child
from domain.compute.programs import Program
from domain.compute.sandbox import Sandbox, SandboxFailure, open_sandbox
from domain.compute.spec import INPUTS_PER_SHARD_MAX
from ledger import blob
from ledger.errors import UsageError
from tests.domain.compute.attacks.modules import MODULES
from tests.domain.compute.bench import EXAMPLES, MIB, Bench

pytestmark = pytest.mark.trio

FOREVER = 10**15
KILL_S_MAX = 0.1


def kill(pid: int) -> None:
    """From outside, as the system would: not through the sandbox."""
    os.kill(pid, signal.SIGKILL)


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class Watched(Sandbox):
    """A sandbox that remembers which children it used."""

    def __init__(self, cache: Path) -> None:
        super().__init__(cache)
        self.pids: list[int] = []

    async def take(self) -> Child:
        child = await super().take()
        self.pids.append(child.pid)
        return child


@pytest.fixture
async def watched(tmp_path: Path, cache: Path) -> AsyncIterator[Bench]:
    sandbox = Watched(cache)
    yield Bench(tmp_path, cache, sandbox)
    await sandbox.aclose()
    assert not any(exists(pid) for pid in sandbox.pids)


def pids(bench: Bench) -> list[int]:
    assert isinstance(bench.sandbox, Watched)
    return bench.sandbox.pids


async def test_cancelling_kills_the_child_at_once(watched: Bench) -> None:
    """The user came back: within 100 ms nothing of the guest is left. The median, as machines are busy."""
    program = await watched.program("endless.c")
    took = sorted([await seconds_to_cancel(watched, program) for _ in range(5)])
    assert took[2] < KILL_S_MAX, took


async def seconds_to_cancel(watched: Bench, program: Program) -> float:
    """From the cancellation of a running guest until its process is gone."""
    began = trio.Event()

    async def run() -> None:
        await watched.outcome(program, fuel=FOREVER, progress=lambda done, total: began.set())

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await began.wait()
            assert any(exists(pid) for pid in pids(watched))
            cancelled = trio.current_time()
            nursery.cancel_scope.cancel()
    took = trio.current_time() - cancelled
    assert not any(exists(pid) for pid in pids(watched))
    return took


async def test_a_shard_that_takes_too_long_is_a_failure_of_this_machine(watched: Bench) -> None:
    """Another machine may be faster: nothing is known about the job."""
    program = await watched.program("endless.c")
    with pytest.raises(SandboxFailure) as caught:
        await watched.outcome(program, fuel=FOREVER, wall_s=0.2)
    assert caught.value.code == "wall_limit"


async def test_a_child_killed_by_the_system_is_a_failure_of_this_machine(watched: Bench) -> None:
    """As when memory runs out: no result, no blame."""
    program = await watched.program("endless.c")
    with trio.fail_after(20), pytest.raises(SandboxFailure) as caught:
        await watched.outcome(program, fuel=FOREVER, progress=lambda done, total: kill(pids(watched)[0]))
    assert caught.value.code == "killed"


async def test_progress_counts_the_runs(bench: Bench) -> None:
    seen: list[tuple[int, int]] = []
    await bench.outcome(
        "hello.c", {"a": b"", "b": b"", "c": b""}, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


async def test_a_shard_without_inputs_runs_once(bench: Bench) -> None:
    """Standard input is empty, and no name is added to the arguments."""
    run = await bench.run("hello.c")
    assert (run.name, run.status, bench.text(run.stdout)) == ("", "ok", "hello, world\n")


async def test_a_run_leaves_nothing_to_the_next(bench: Bench) -> None:
    """A shard may have 256 inputs: each run's memory is given back before the next one begins."""
    inputs = {f"{n}": b"" for n in range(INPUTS_PER_SHARD_MAX)}
    outcome = await bench.outcome("hello.c", inputs, wall_s=300)
    assert outcome.result.ok


async def test_the_walls_of_the_kernel_stand(bench: Bench) -> None:
    """All that this system has; a system without one of them says so by leaving it out."""
    outcome = await bench.outcome("hello.c")
    walls = {"nice", "rlimits", "oom_first", "no_new_privs", "no_capabilities", "landlock", "seccomp"}
    assert walls <= set(outcome.confined) == set(bench.sandbox.walls)


async def test_large_outputs_are_files_named_by_their_cid(bench: Bench) -> None:
    """More than 512 bytes do not stand in the result; the Cid is the blob's."""
    source = (EXAMPLES / "textstats.c").read_bytes()
    outcome = await bench.outcome("output_flood.c", {"i": source}, output=300_000)
    (run,) = outcome.result.runs
    assert run.stdout.cid is not None
    data = outcome.blobs[run.stdout.cid].read_bytes()
    assert len(data) == run.stdout.size > blob.BLOCK_SIZE_MAX
    assert blob.cid_of(data) == run.stdout.cid
    assert outcome.result.blobs == set(outcome.blobs)


async def test_each_shard_has_a_child_of_its_own_and_the_template_stays(tmp_path: Path, cache: Path) -> None:
    """Until the sandbox is closed: then it is gone too."""
    async with open_sandbox(cache) as sandbox:
        first = sandbox.template_pid
        bench = Bench(tmp_path, cache, sandbox)
        children: list[int] = []
        for _ in range(2):
            await bench.outcome("hello.c", progress=lambda done, total: children.extend(sandbox.running_pids))
        assert first is not None
        assert sandbox.template_pid == first
        assert len({first, *children}) == 3
        assert not any(map(exists, children))
    assert not exists(first)


async def test_a_job_of_another_engine_is_not_run(bench: Bench) -> None:
    with pytest.raises(UsageError) as caught:
        await bench.run("hello.c", engine=bytes(32))
    assert caught.value.code == "engine_mismatch"


async def test_a_missing_input_is_a_failure_of_this_machine(bench: Bench) -> None:
    """The file was fetched and is gone: the child says so instead of making a result without it."""
    task = await bench.task("hello.c", {"a": b"x"})
    task.inputs[0].unlink()
    with pytest.raises(SandboxFailure) as caught:
        await bench.sandbox.run(task, scratch=bench.folder)
    assert caught.value.code == "host_io"


async def test_what_a_shard_used_is_measured_from_outside(bench: Bench) -> None:
    """Processor time, wall clock and memory, by the parent; the result says nothing of it."""
    outcome = await bench.outcome("memory_bomb.c", memory=256 * MIB)
    used = outcome.usage
    assert 0 < used.cpu_ms < 30_000
    assert used.wall_ms > 0
    assert 100 * MIB < used.memory_peak < 2048 * MIB
    assert bench.sandbox.used["shards"] == 1
    assert bench.sandbox.used["cpu_ms"] == used.cpu_ms


async def test_a_module_that_keeps_the_compiler_busy_does_so_once(bench: Bench) -> None:
    """A second later another machine may compile it; this one gives the next lease back at once."""
    sandbox = Sandbox(bench.cache, compile_s=1)
    hasty = Bench(bench.folder, bench.cache, sandbox)
    for used in (True, False):
        before = sandbox.used["cpu_ms"]
        with pytest.raises(SandboxFailure) as caught:
            await hasty.run(MODULES["compiler_kept_busy"])
        assert caught.value.code == "compile_limit"
        assert (sandbox.used["cpu_ms"] - before > 500) == used
