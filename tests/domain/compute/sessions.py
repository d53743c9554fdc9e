"""Another login session on this machine, and what the kernel says of who got the processor.

A `Hog` stands for the owner's own program: a process in a session of its own, as a terminal or a desktop
makes them, so that the kernel groups it apart from the node (autogroup). It burns one core while not stopped.

Times are those of `/proc/PID/task/TID/schedstat`: nanoseconds on a processor, exact, of every thread.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Final

BURN: Final = "import os, sys; {}; sys.stdout.write('!'); sys.stdout.flush()\nwhile True: pass"
LOOK_S: Final = 0.0005
STOP_S_MAX: Final = 60.0
POLITE: Final = {
    "nothing": "pass",
    "nice 19": "os.nice(19)",
    "SCHED_IDLE": "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))",
}
"""What a program may do to be polite that is not enough across sessions."""


class Hog:
    """A process in a session of its own that takes what it can get of one core."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def rest(self) -> None:
        os.kill(self.pid, SIGSTOP)

    def work(self) -> None:
        os.kill(self.pid, SIGCONT)


@contextmanager
def session(core: int, politeness: str = "nothing") -> Iterator[Hog]:
    """A hog on `core`, burning when the block begins, gone when it ends."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", BURN.format(POLITE[politeness])],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={},
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.read(1) == b"!"
            pin(process.pid, core)
            yield Hog(process.pid)
        finally:
            process.kill()


def last_core() -> int:
    return max(os.sched_getaffinity(0))


def pin(pid: int, core: int) -> None:
    """All threads of a process to one core."""
    for thread in threads(pid):
        os.sched_setaffinity(int(thread.name), {core})


def threads(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def cpu_ns(pid: int) -> int:
    """Nanoseconds on a processor so far, all threads together."""
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads(pid))


def is_stopped(pid: int) -> bool:
    """Whether every thread is in state T."""
    return all(_state(thread) == "T" for thread in threads(pid))


def _state(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


def share(job: int, hog: int, seconds: float) -> float:
    """What the process `job` got of the core that it shares with `hog`: of all that the two of them got.

    What others take of that core, on a machine that is not ours alone, goes off both.
    """
    before = cpu_ns(job), cpu_ns(hog)
    time.sleep(seconds)
    ran = cpu_ns(job) - before[0], cpu_ns(hog) - before[1]
    return ran[0] / sum(ran)


@contextmanager
def on_time() -> Iterator[bool]:
    """Watch from above all others, so that what is measured is not when the watcher got its own turn.

    Takes root; False without. What is started meanwhile is ordinary.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class Stopping:
    """Watches a process stop. What it ran for the last time is what the owner of the machine feels.

    A process that is told to stop while others have its core gets there when its turn comes; until then it
    takes nothing from anybody.
    """

    def __init__(self, pid: int) -> None:
        """The watch begins."""
        self._pid = pid
        self._began = self._ran_last = self._now = time.perf_counter()
        self._ran = cpu_ns(pid)

    def is_over(self) -> bool:
        """Whether every thread is in state T. To be asked again and again."""
        over, ran = is_stopped(self._pid), cpu_ns(self._pid)
        self._now = time.perf_counter()
        if ran != self._ran:
            self._ran, self._ran_last = ran, self._now
        assert over or self._now - self._began < STOP_S_MAX, f"{self._pid} does not stop"
        return over

    @property
    def seconds(self) -> tuple[float, float]:
        """From the beginning until (it ran for the last time, all its threads had stopped)."""
        return self._ran_last - self._began, self._now - self._began


def seconds_to_stop(pid: int, suspend: Callable[[], None]) -> tuple[float, float]:
    """From asking until (it ran for the last time, all its threads had stopped)."""
    watch = Stopping(pid)
    suspend()
    while not watch.is_over():
        time.sleep(LOOK_S)  # a core is not ours alone to spin on
    return watch.seconds
