"""Run by `test_cgroups` as the only program of a kernel of its own: what real control groups do."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import trio

from domain.compute.cgroups import Groups, claim
from domain.compute.process import Child
from domain.compute.sandbox import Sandbox, SandboxFailure
from tests.domain.compute.attacks.modules import wat
from tests.domain.compute.bench import MIB, Bench

UNIT = Path("/sys/fs/cgroup/unit")
SHARED = 600 * MIB
HELLO = wat(
    """(data (i32.const 0) "\\08\\00\\00\\00\\06\\00\\00\\00hello\\0a")
    (func (export "_start")
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64))))""",
    "fd_write",
)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Greedy(Child):
    """Holds memory that RLIMIT_DATA does not count, before any wall but its group stands."""

    entry = (
        "import mmap, os; os.read(0, 1)\n"
        f"kept = mmap.mmap(-1, {SHARED}, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)\n"
        f"for at in range(0, {SHARED}, 4096): kept[at] = 1\n"
        "os._exit(0)"
    )


class Small(Groups):
    """Groups of a fixed size, whatever the shard may have: so that the test is short."""

    def enclose(self, pid: int, memory: int) -> list[str]:
        return super().enclose(pid, 300 * MIB)


class Greed(Sandbox):
    async def take(self) -> Child:
        return Greedy()


def fork_in(groups: Groups) -> str:
    """What a process in a group of its own is told when it wants to be two."""
    reader, writer = os.pipe()
    go_reader, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(go_reader, 1)
        try:
            os.fork()
        except OSError as error:
            os.write(writer, errno.errorcode[error.errno or 0].encode())
        else:
            os.write(writer, b"THROUGH")
        os._exit(0)
    groups.enclose(pid, 300 * MIB)
    os.write(go, b"x")
    answer = os.read(reader, 16).decode()
    os.waitpid(pid, 0)
    groups.release(pid)
    return answer


async def main(folder: Path) -> None:
    groups = claim()
    assert groups is not None, (UNIT / "cgroup.controllers").read_text()
    say(f"claimed {' '.join(groups.controllers)}")
    bench = Bench(folder, folder / "cache", Sandbox(folder / "cache", groups=groups))
    outcome = await bench.outcome(HELLO, wall_s=300)
    say("stands " + " ".join(sorted(word for word in outcome.confined if word.startswith("cgroup"))))
    say(bench.text(outcome.result.runs[0].stdout).strip())
    small = Small(UNIT, groups.controllers)
    greed = Bench(folder, folder / "cache", Greed(folder / "cache", groups=small))
    try:
        await greed.run(HELLO, wall_s=300)
    except SandboxFailure as failure:
        say(f"much shared memory: {failure.code}")
    say(f"a second process: {fork_in(groups)}")
    say(f"left behind: {' '.join(group.name for group in UNIT.glob('child-*')) or 'nothing'}")


trio.run(main, Path(sys.argv[1]))
