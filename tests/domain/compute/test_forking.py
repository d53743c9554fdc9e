"""Children that are copies of a template: each is the node's own, and heard nothing of those before it."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from domain.compute.forking import CHILDREN_MAX, Template
from domain.compute.process import SandboxFailure
from domain.compute.sandbox import open_sandbox
from domain.compute.task import Failed, Report
from tests.domain.compute.bench import Bench

pytestmark = pytest.mark.trio

TELLING = """
import os, resource, sys
from domain.compute import child
from domain.compute.task import Failed, write_report
told = {told}
{then}
write_report(1, Failed("told", str(told)))
os.read(0, 1)
"""


@asynccontextmanager
async def template(entry: str) -> AsyncIterator[Template]:
    made = Template(entry)
    try:
        with trio.fail_after(60):
            yield made
    finally:
        await made.close()


def telling(told: str, then: str = "") -> str:
    """Look, do something, then say what was seen."""
    return TELLING.replace("{told}", told).replace("{then}", then)


async def said_by(made: Template) -> str:
    """What one child of it tells."""
    child = await made.child()
    try:
        report: Report = await child.report(4096)
    finally:
        await child.close()
    assert isinstance(report, Failed)
    return report.message


async def test_what_one_child_leaves_behind_the_next_does_not_find() -> None:
    """Modules, variables, the folder it is in, limits: a copy is of the template, not of a sibling."""
    seen = "[hasattr(child, 'mark'), 'MARK' in os.environ, os.getcwd(), resource.getrlimit(4)]"
    then = "child.mark = os.environ['MARK'] = 'x'; os.chdir('/tmp'); resource.setrlimit(4, (1, 1))"
    leaving = telling(seen, then)
    async with template(leaving) as made:
        first = await said_by(made)
        assert first.startswith("[False, False, '/', (")
        assert await said_by(made) == first


async def test_a_child_has_three_pipes_and_nothing_else_open() -> None:
    """Not the template's line to the node: through that it could have more children made."""
    async with template(telling("sorted(map(int, os.listdir('/proc/self/fd')))[:-1]")) as made:
        assert [await said_by(made) for _ in range(2)] == ["[0, 1, 2]"] * 2


async def test_a_child_is_the_nodes_and_in_a_session_of_its_own() -> None:
    """So that the node can stop, end and reap it, and weigh it against the owner's programs."""
    async with template(telling("[os.getppid(), os.getsid(0) == os.getpgid(0) == os.getpid()]")) as made:
        assert await said_by(made) == f"[{os.getpid()}, True]"


async def test_no_memory_is_shared_that_anybody_could_write() -> None:
    """Else a child that broke out could change what the next one runs."""
    async with template(telling("os.getpid()")) as made:
        await said_by(made)
        maps = Path(f"/proc/{made.pid}/maps").read_text().splitlines()
    assert maps
    assert [line for line in maps if "w" in line.split()[1] and "s" in line.split()[1]] == []


async def test_processor_time_of_a_child_begins_with_it() -> None:
    """What its template used to load, or its siblings, is not on its account."""
    busy = telling("sum(range(3_000_000)) and 'done'")
    async with template(busy) as made:
        used = []
        for _ in range(2):
            child = await made.child()
            child.meter.begin()
            await child.report(4096)
            await child.close()
            used.append(child.meter.usage)
    assert 0 < used[1].cpu_ms < 2 * used[0].cpu_ms + 20, used
    assert all(one.memory_peak > 1 << 20 for one in used)


async def test_children_outlive_their_template() -> None:
    async with template(telling("'here'")) as made:
        child = await made.child()
    try:
        assert isinstance(await child.report(4096), Failed)
    finally:
        await child.close()
    assert not Path(f"/proc/{child.pid}").exists()


async def test_a_template_that_is_gone_says_so() -> None:
    async with template(telling("0")) as made:
        await said_by(made)
        os.kill(made.pid, signal.SIGKILL)
        with pytest.raises(SandboxFailure):
            await made.child()


async def test_a_template_that_goes_before_it_listens_says_so() -> None:
    async with template(telling("0")) as made:
        await said_by(made)
        os.kill(made.pid, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def ask() -> None:
                with pytest.raises(SandboxFailure):
                    await made.child()

            await trio.testing.wait_all_tasks_blocked()
            os.kill(made.pid, signal.SIGKILL)


async def test_a_sandbox_goes_on_when_its_template_died(tmp_path: Path, cache: Path) -> None:
    async with open_sandbox(cache) as sandbox:
        bench = Bench(tmp_path, cache, sandbox)
        first = sandbox.template_pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert (await bench.outcome("hello.c")).result.ok
        assert sandbox.template_pid not in (None, first)


async def test_a_template_serves_so_many_and_no_more(tmp_path: Path, cache: Path) -> None:
    """Its addresses are those of its children: whoever learnt them once shall not know them for ever."""
    async with open_sandbox(cache) as sandbox:
        first = sandbox.template_pid
        for _ in range(CHILDREN_MAX):
            assert sandbox.template_pid == first
            await (await sandbox.take()).close()
        assert sandbox.template_pid != first
        assert not Path(f"/proc/{first}").exists()
        assert (await Bench(tmp_path, cache, sandbox).outcome("hello.c")).result.ok
