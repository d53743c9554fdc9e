"""The child as its parent sees it: a process with three pipes, which can always be ended.

Knows frames and signals. Does not know what a shard is.

What must always hold: after `close` the whole process group is dead and reaped; a pipe that breaks is a
`SandboxFailure`, never a hang; once it is ended, or known to have ended, no signal is sent any more, because
its number may be another's by then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
import trio

from domain.compute import confine
from domain.compute.task import FRAME_SIZE_MAX, LENGTH_SIZE, Report, Task, decode_report, frame
from ledger.errors import FogError

DIAGNOSTIC_SIZE_MAX: Final = 4096  # of what a dying child says

_PACKAGES: Final = str(Path(__file__).resolve().parents[2])
_START: Final = (
    # Tied to us before anything else: a stopped child does not see that its pipe was closed.
    "import sys; sys.path[:] = sys.argv[2:]; from domain.compute import confine;"
    " confine.die_with(int(sys.argv[1])); from domain.compute.child import main; main()"
)


class SandboxFailure(FogError):
    """This machine did not finish the run; nothing is known about the job. `code` says what failed."""

    code = "sandbox_failed"


class Child:
    """One process. Started at once, given its task when there is one."""

    def __init__(self) -> None:
        # Directly and not through a thread: the kernel ends the child with the *thread* that started it.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, str(os.getpid()), *_import_path()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},
            cwd="/",
            umask=0o077,
            start_new_session=True,
        )
        self._ending = False
        self._stops = 0  # how often it was suspended
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._tasks = trio.lowlevel.FdStream(os.dup(process.stdin.fileno()))
        self._reports = trio.lowlevel.FdStream(os.dup(process.stdout.fileno()))
        self._diagnostics = trio.lowlevel.FdStream(os.dup(process.stderr.fileno()))
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def begin(self, task: Task) -> None:
        """Raises SandboxFailure if the child is already gone."""
        try:
            await self._tasks.send_all(frame(task))
        except trio.BrokenResourceError:
            raise await self._death() from None

    async def report(self) -> Report:
        """The next report. Raises SandboxFailure if the child ends or breaks the framing instead."""
        size = int.from_bytes(await self._receive(LENGTH_SIZE), "big")
        if size > FRAME_SIZE_MAX:
            raise SandboxFailure(f"the child announced a report of {size} bytes", code="child_broken")
        try:
            return decode_report(await self._receive(size))
        except msgspec.DecodeError as error:
            raise SandboxFailure(
                f"an unreadable report from the child: {error}", code="child_broken"
            ) from error

    def suspend(self) -> None:
        """Stop the whole group where it is, and let it get there at once. Safe to repeat."""
        self._stops += 1
        if self._may_be_told:
            os.killpg(self._process.pid, signal.SIGSTOP)
            confine.let_stop(self._process.pid)

    async def resume(self) -> None:
        """Go on as if nothing had been, at the lowest priority again; not if suspended anew meanwhile."""
        stops = self._stops
        while self._may_be_told and not confine.let_wait(self._process.pid):
            await trio.sleep(confine.AUTOGROUP_PAUSE_S)
            if self._stops != stops:
                return
        if self._may_be_told:
            os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """The whole group, at once, also while suspended. Safe to repeat."""
        if self._may_be_told:
            os.killpg(self._process.pid, signal.SIGKILL)
            confine.let_stop(self._process.pid)
        self._ending = True

    @property
    def _may_be_told(self) -> bool:
        """Whether the number is certainly still this group's: a thread may be reaping it from `kill` on."""
        return not self._ending and self._process.returncode is None

    async def close(self) -> None:
        """Kill and reap, also while being cancelled."""
        self.kill()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._process.wait)
            for pipe in (self._tasks, self._reports, self._diagnostics):
                await pipe.aclose()

    def __repr__(self) -> str:
        return f"<Child {self.pid} {'alive' if self.alive else f'ended {self._process.returncode}'}>"

    async def _receive(self, size: int) -> bytearray:
        data = bytearray()
        while len(data) < size:
            part = await self._reports.receive_some(min(size - len(data), 1 << 20))
            if not part:
                raise await self._death()
            data += part
        return data

    async def _death(self) -> SandboxFailure:
        """Why a child that should still be talking is not."""
        self.kill()
        with trio.CancelScope(shield=True):
            status = await trio.to_thread.run_sync(self._process.wait)
            said = bytes(await self._diagnostics.receive_some(DIAGNOSTIC_SIZE_MAX)).decode(errors="replace")
        code = {-signal.SIGXCPU: "cpu_limit", -signal.SIGKILL: "killed"}.get(status, "child_died")
        return SandboxFailure(f"the sandbox ended early (status {status}): {said.strip()[-500:]}", code=code)


def _import_path() -> list[str]:
    """Where the child finds its modules: it starts without `site`, which would cost it half its time."""
    return [_PACKAGES, *(entry for entry in sys.path if os.path.isabs(entry) and entry != _PACKAGES)]
