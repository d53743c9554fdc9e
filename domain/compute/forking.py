"""The template as the node sees it: asked for a child, it has one at once; a new process takes 0.1 s.

Children of one template have their addresses and their hash seed in common, as they are copies of one
process: who broke out of one could use in the next what it learnt of the first. So a template serves no more
than CHILDREN_MAX.

Linux only; elsewhere every child starts by itself. `domain.compute.template` is the inside.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import Final

import trio

from domain.compute import calls
from domain.compute.process import Child, Process, SandboxFailure, Started, start
from domain.compute.task import PID_SIZE

CHILDREN_MAX: Final = 64
"""Of one template: one for each child would cost what it saves, one for all would never change addresses."""

ANSWER_S_MAX: Final = 30.0
"""Loading takes it 0.1 s of processor; on a busy machine it comes to that late."""


class Template(Child):
    """Started at once, like any child; it is asked while it still loads."""

    def __init__(self, entry: str = Child.entry) -> None:
        """`entry`: what its children do."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            self.entry = f"from domain.compute.template import divide; divide(int(sys.argv[1])); {entry}"
            process = start(self.entry, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)
            assert process.stderr is not None
            with process.stderr:
                fds = [os.dup(fd) for fd in (ours.fileno(), ours.fileno(), process.stderr.fileno())]
            self._control = ours.dup()
        super().__init__(Started(process, *fds))
        self.children = 0
        self._turn = trio.Lock()

    @property
    def is_spent(self) -> bool:
        return self.children >= CHILDREN_MAX

    async def child(self) -> Child:
        """A new one that waits for its task. Raises SandboxFailure if there is none to be had from here."""
        async with self._turn:
            with ExitStack() as undone:
                theirs, ours = _pipes(undone)
                process = Forked(await self._divide(theirs))
                undone.pop_all()
            for fd in theirs:
                os.close(fd)
        self.children += 1
        return Child(Started(process, *ours))

    async def _divide(self, pipes: list[int]) -> int:
        """Also while being cancelled: of a child that is there somebody must know."""
        try:
            socket.send_fds(self._control, [b"+"], pipes)
        except OSError:
            raise await self._death() from None
        with trio.move_on_after(ANSWER_S_MAX) as patience:
            patience.shield = True
            pid = int.from_bytes(await self._receive(PID_SIZE), "big")
        if patience.cancelled_caught or not pid:
            self.kill()
            raise SandboxFailure("no room for another process", code="child_died")
        return pid

    async def close(self) -> None:
        """Its children go on: they are ours."""
        async with self._turn:
            self._control.close()
            await super().close()


class Forked(Process):
    """A child of ours that another process started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def can_fork() -> bool:
    return sys.platform == "linux" and calls.known()


def _pipes(undone: ExitStack) -> tuple[list[int], list[int]]:
    """(its ends, our ends) of task, reports, diagnostics; closed by `undone`."""
    pairs = []
    for _ in range(3):
        pairs.append(os.pipe())
        for fd in pairs[-1]:
            undone.callback(os.close, fd)
    (task, our_task), (our_reports, reports), (our_words, words) = pairs
    return [task, reports, words], [our_task, our_reports, our_words]
