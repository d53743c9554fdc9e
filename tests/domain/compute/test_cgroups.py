"""Control groups: what is written where, on a folder that imitates the kernel's; and with a real kernel's.

Few machines lend their tests a cgroup v2 tree, so the long test boots a kernel of its own (User Mode Linux)
and looks at what it does with a child.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.compute import cgroups
from domain.compute.cgroups import Groups, claim
from tests.domain.compute.bench import Bench

ROOT = Path(__file__).parents[3]
INSIDE = Path(__file__).parent / "inside_cgroups.py"

Lend = Callable[..., Path]


@pytest.fixture
def lend(tmp_path: Path) -> Lend:
    """A process's view of a system that lends it /unit, with these controllers; returns its /proc/self."""

    def lent(controllers: str, own: str = "/unit", inside: tuple[int, ...] = (os.getpid(),)) -> Path:
        point, proc = tmp_path / "cgroup", tmp_path / "self"
        unit = point / own.lstrip("/")
        (unit / "node").mkdir(parents=True)
        proc.mkdir()
        for name in ("cgroup.controllers", "cgroup.procs", "cgroup.subtree_control", "node/cgroup.procs"):
            (unit / name).touch()
        (unit / "cgroup.controllers").write_text(controllers + "\n")
        (unit / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in inside))
        (proc / "mountinfo").write_text(
            f"30 1 0:26 / /sys rw shared:7 - sysfs sysfs rw\n"
            f"41 30 0:38 / {point} rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
        )
        (proc / "cgroup").write_text(f"4:memory:/old\n0::{own}\n")
        return proc

    return lent


def test_the_node_moves_into_a_leaf_and_asks_for_what_is_offered(lend: Lend, tmp_path: Path) -> None:
    """A group with controllers below it may have no process; `io` is offered, and not our business."""
    groups = claim(lend("cpu io memory"))
    assert groups is not None
    assert groups.controllers == ("memory", "cpu")
    assert (tmp_path / "cgroup/unit/node/cgroup.procs").read_text() == str(os.getpid())


@pytest.mark.parametrize(
    ("controllers", "own"), [("hugetlb", "/unit"), ("", "/unit"), ("cpu memory pids", "/")]
)
def test_where_nothing_is_lent_nothing_is_claimed(lend: Lend, controllers: str, own: str) -> None:
    """The machine's own root is never taken, even by root."""
    assert claim(lend(controllers, own)) is None


def test_who_is_not_alone_does_not_move(lend: Lend) -> None:
    """As in a terminal: its group is the shell's too."""
    assert claim(lend("cpu memory pids", inside=(os.getppid(), os.getpid()))) is None


def test_a_system_without_control_groups_lends_nothing(tmp_path: Path) -> None:
    assert claim(tmp_path) is None


def test_a_group_that_cannot_be_made_is_no_failure(tmp_path: Path) -> None:
    """The walls of `confine` stand without it."""
    groups = Groups(tmp_path / "gone", cgroups.CONTROLLERS)
    assert groups.enclose(1, 1 << 30) == []
    assert not groups.ran_out_of_memory(1)


@pytest.mark.trio
async def test_a_shard_says_that_it_ran_in_a_group_only_if_it_did(bench: Bench) -> None:
    """This very system, whatever it lends: this process does not move, so its groups are not tried here."""
    outcome = await bench.outcome("hello.c")
    assert not any(word.startswith("cgroup") for word in outcome.confined)


@pytest.mark.long
def test_a_real_kernel_holds_a_child_within_its_group(tmp_path: Path) -> None:
    """Memory that no rlimit counts, a second process, and a result beside them: as `inside_cgroups` says."""
    uml = shutil.which("linux.uml")
    assert uml, "apt-get install user-mode-linux"
    init = tmp_path / "init"
    init.write_text(
        f"""#!/bin/sh
        mount -t proc proc /proc
        mount -t tmpfs none /sys && mkdir -p /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup
        mkdir /sys/fs/cgroup/unit
        echo "+memory +pids +cpu" > /sys/fs/cgroup/cgroup.subtree_control
        cd {ROOT}
        PYTHONPATH={ROOT} sh -c 'echo $$ > /sys/fs/cgroup/unit/cgroup.procs; exec "$@"' unit \\
            {sys.executable} -B {INSIDE} {tmp_path} > {tmp_path}/said 2>&1
        sync
        echo o > /proc/sysrq-trigger
        sleep 60
        """
    )
    init.chmod(0o755)
    command = [uml, "mem=3G", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", f"init={init}"]
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "TMPDIR": "/tmp"}
    subprocess.run(
        [*command, "con=null"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=900,
        env=environment,
        check=True,
    )
    assert (tmp_path / "said").read_text().splitlines() == [
        "claimed memory pids cpu",
        "stands cgroup_cpu cgroup_memory cgroup_pids",
        "hello",
        "much shared memory: host_memory",
        "a second process: EAGAIN",
        "left behind: nothing",
    ]
