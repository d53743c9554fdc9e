"""A control group for each child, where the system lends this node a part of its tree (cgroup v2, Linux).

    memory.max, memory.swap.max   all that a child can hold, also what rlimits do not count: page tables,
                                  pipes, shared memory. The kernel ends the child, and nobody else
    pids.max                      one process with one thread
    cpu.idle (or cpu.weight)      every other group of the machine comes first, also other sessions
    cgroup.kill                   the child and whatever it may have started, at once

A tree is lent by systemd to a unit with `Delegate=yes`, or by whoever gives a folder away. Where none is,
`claim` says None, and the walls of `confine` stand alone.

What must always hold: nothing outside of the folder that was lent is written to; a group that cannot be made
is no failure of the shard.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

CONTROLLERS: Final = ("memory", "pids", "cpu")
PROCESSES_MAX: Final = 1
OWN: Final = "node"
"""Where the node itself goes: a group that has controllers below it may not have processes."""


class Groups:
    """The folder that was lent, and the groups of children in it."""

    def __init__(self, root: Path, controllers: Iterable[str]) -> None:
        self._root = root
        self.controllers = tuple(name for name in CONTROLLERS if name in set(controllers))

    def enclose(self, pid: int, memory: int) -> list[str]:
        """Put a child into a group of its own, of so many bytes. What stands then, as words for people."""
        group = self._group(pid)
        try:
            group.mkdir()
            standing = [
                word
                for controller, word, limits in (
                    ("memory", "cgroup_memory", {"memory.max": memory, "memory.swap.max": 0}),
                    ("pids", "cgroup_pids", {"pids.max": PROCESSES_MAX}),
                    ("cpu", "cgroup_cpu", {"cpu.weight": 1, "cpu.idle": 1}),
                )
                if controller in self.controllers and _limit(group, limits)
            ]
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            self.release(pid)
            return []
        return standing

    def ran_out_of_memory(self, pid: int) -> bool:
        """Whether the kernel ended this child because of `memory.max`."""
        with suppress(OSError):
            events = (self._group(pid) / "memory.events").read_text().split()
            return int(dict(zip(events[::2], events[1::2], strict=True)).get("oom_kill", 0)) > 0
        return False

    def release(self, pid: int) -> None:
        """End what is left in a child's group, and remove it. Safe to repeat."""
        _write(self._group(pid) / "cgroup.kill", 1)
        with suppress(OSError):
            self._group(pid).rmdir()

    def _group(self, pid: int) -> Path:
        return self._root / f"child-{pid}"

    def __repr__(self) -> str:
        return f"<Groups in {self._root}: {', '.join(self.controllers)}>"


def claim(proc: Path = Path("/proc/self")) -> Groups | None:
    """The groups that this process may make, moving itself into a leaf for it; None if it may not.

    Only a program that is alone in its group moves: in a shell's it would have to move the shell as well.
    """
    root = _lent(proc)
    if root is None or not set(_read(root / "cgroup.procs").split()) <= {str(os.getpid())}:
        return None
    offered = _read(root / "cgroup.controllers").split()
    wanted = [name for name in CONTROLLERS if name in offered]
    if not wanted:
        return None
    with suppress(FileExistsError):
        (root / OWN).mkdir()
    if not _write(root / OWN / "cgroup.procs", os.getpid()):
        return None
    for group in root.glob("child-*"):  # of a node that was killed
        with suppress(OSError):
            group.rmdir()
    standing = [name for name in wanted if _write(root / "cgroup.subtree_control", f"+{name}")]
    return Groups(root, standing) if standing else None


def _lent(proc: Path) -> Path | None:
    """This process's own group in the v2 tree, if it may make groups there; never the machine's root."""
    mounts = [line.split() for line in _read(proc / "mountinfo").splitlines()]
    points = [Path(fields[4]) for fields in mounts if fields[fields.index("-") + 1] == "cgroup2"]
    own = [line[3:] for line in _read(proc / "cgroup").splitlines() if line.startswith("0::")]
    if not points or not own or own[0] == "/":
        return None
    root = points[0] / own[0].lstrip("/")
    if root.name == OWN:  # moved there by an earlier claim of this process's parent
        root = root.parent
    return root if os.access(root, os.W_OK) and os.access(root / "cgroup.procs", os.W_OK) else None


def _limit(group: Path, limits: dict[str, int]) -> bool:
    """Whether any of them is known: swap and idle came later, or are not built in."""
    done = [_write(group / name, value) for name, value in limits.items()]
    return any(done)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _write(path: Path, value: int | str) -> bool:
    """Into a file that the kernel made: none is created here."""
    try:
        with path.open("r+") as file:
            file.write(str(value))
    except OSError:
        return False
    return True
