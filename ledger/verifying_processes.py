"""Signatures verified by other processes, while this one goes on: how a log is audited on all cores.

Batches of events go to workers through memory that both sides map; a byte through a pipe says that a batch is
there, two bytes say how many of its events, from the first on, are signed by whom they say. When every worker
has all the work it can hold, this process verifies the batch itself. So the work divides itself, nothing here
waits before it must, and what is held is bounded.

Knows events, batches and processes. Does not know what a refusal means for whoever reads on.

What must always hold: the answer is that of `signing.verify_alone`, one event after the other in the order in
which they were added, whichever process was quicker; `good` counts only events before the first bad one. A
worker that died is not missed: what it had is verified here.
"""

from __future__ import annotations

import mmap
import os
import select
import subprocess
import sys
import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from ledger.event import HEADER_SIZE_MAX, Event
from ledger.signing import Domain, verify_alone

BATCH: Final = 64
"""Signatures in a batch, some 3 ms of work: a hundred times what handing it over takes."""

SLOTS: Final = 32
"""Batches that one worker holds at most: those of a full checkpoint, which is executed meanwhile."""

WORTH_WORKERS: Final = 2_000
"""Signatures, 0.1 s, before workers are started: it takes 0.1 s until one has loaded what it needs."""

_RECORD_SIZE_MAX: Final = 32 + 64 + 2 + HEADER_SIZE_MAX
_SLOT_SIZE: Final = 2 + BATCH * _RECORD_SIZE_MAX
assert SLOTS < 256, "a slot must have a byte for its name"
assert BATCH < 256, "and a count as well"


@dataclass(slots=True)
class _Batch:
    events: list[Event]
    good: int | None = None  # until it was answered


class Signatures:
    """A queue of events to verify with `jobs` processes, this one included. A context, for one thread."""

    def __init__(self, jobs: int, *, workers_after: int = WORTH_WORKERS) -> None:
        self.good = 0
        """How many events, from the first on, are known to be signed by whom they say."""
        self.added = 0
        self._jobs = jobs
        self._workers_after = workers_after
        self._filling: list[Event] = []
        self._open: deque[_Batch] = deque()  # in order; those that were answered leave from the left
        self._workers: list[_Worker] = []
        self.bad: Event | None = None
        """The one after `good`, once it is known to be badly signed; nothing is looked at after that."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.close()

    def add(self, event: Event) -> None:
        """One more, the next in order."""
        self._filling.append(event)
        self.added += 1
        if len(self._filling) == BATCH:
            self._hand_on()

    def finish(self) -> Event | None:
        """Wait for all that was added; the first that is badly signed, which is the one after `good`."""
        if self._filling:
            self._hand_on()
        while self._open and self.bad is None:
            self._collect(wait=True)
        return self.bad

    def _hand_on(self) -> None:
        batch, self._filling = _Batch(self._filling), []
        self._open.append(batch)
        if self._jobs > 1 and not self._workers and self.added >= self._workers_after:
            self._workers = [_Worker() for _ in range(self._jobs - 1)]
        self._collect(wait=False)
        free = [worker for worker in self._workers if worker.free]
        if not free or not max(free, key=_by_room).take(batch):
            batch.good = count_signed_alone(batch.events)

    def _collect(self, *, wait: bool) -> None:
        """Take what workers have answered; with `wait`, answer the oldest open batch before returning."""
        asked = {worker.answers: worker for worker in self._workers if worker.busy}
        must_wait = wait and bool(self._open) and self._open[0].good is None
        if asked:
            ready, _, _ = select.select(list(asked), [], [], None if must_wait else 0)
            for answers in ready:
                asked[answers].collect()
        while self._open and self.bad is None and self._open[0].good is not None:
            batch = self._open.popleft()
            assert batch.good is not None
            self.good += batch.good
            if batch.good < len(batch.events):
                self.bad = batch.events[batch.good]

    def __repr__(self) -> str:
        return f"<Signatures good={self.good} of {self.added} workers={len(self._workers)}>"


class _Worker:
    """One process, and the memory shared with it: SLOTS batches, each in a slot of its own."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.truncate(SLOTS * _SLOT_SIZE)
            self._memory = mmap.mmap(file.fileno(), SLOTS * _SLOT_SIZE)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START, _PACKAGES, str(file.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(file.fileno(),),
                bufsize=0,
                start_new_session=True,  # so that Ctrl-C is this process's to answer
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        self.answers = self._process.stdout
        self.free = list(range(SLOTS))
        self.busy: dict[int, _Batch] = {}

    def take(self, batch: _Batch) -> bool:
        """Whether the worker has it now; its answer comes with a later `collect`."""
        slot = self.free.pop()
        data = _packed(batch.events)
        self._memory[slot * _SLOT_SIZE : slot * _SLOT_SIZE + len(data)] = data
        try:
            self._requests.write(bytes((slot,)))
        except BrokenPipeError:
            self._give_up()
            return False
        self.busy[slot] = batch
        return True

    def collect(self) -> None:
        """Note the answers that are there."""
        answers = self.answers.read(2 * SLOTS)
        if len(answers) % 2 and (rest := self.answers.read(1)):
            answers += rest
        if not answers or len(answers) % 2:
            return self._give_up()
        for at in range(0, len(answers), 2):
            self.busy.pop(answers[at]).good = answers[at + 1]
            self.free.append(answers[at])
        return None

    def _give_up(self) -> None:
        """It is dead, by somebody else's hand: do what it had, and give it no more."""
        for batch in self.busy.values():
            batch.good = count_signed_alone(batch.events)
        self.busy.clear()
        self.free.clear()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._requests.close()
        self.answers.close()
        self._memory.close()


def _by_room(worker: _Worker) -> int:
    return len(worker.free)


def count_signed_alone(given: list[Event]) -> int:
    """How many events come before the first with a bad signature, in this thread alone."""
    for n, event in enumerate(given):
        if not verify_alone(event.header.by, _DOMAIN + event.header_bytes, event.signature):
            return n
    return len(given)


def _packed(given: list[Event]) -> bytes:
    parts = [len(given).to_bytes(2, "big")]
    for event in given:
        header = event.header_bytes
        parts += (event.header.by, event.signature, len(header).to_bytes(2, "big"), header)
    return b"".join(parts)


def _count_packed(data: bytes) -> int:
    """`count_signed_alone` of a packed batch."""
    at = 2
    count = int.from_bytes(data[:2], "big")
    for n in range(count):
        header = at + 98
        end = header + int.from_bytes(data[header - 2 : header], "big")
        if not verify_alone(data[at : at + 32], _DOMAIN + data[header:end], data[at + 32 : at + 96]):
            return n
        at = end
    return count


def work(memory_fd: int) -> None:
    """What a worker does until its requests end: that happens also when the one who asks is dead."""
    memory = mmap.mmap(memory_fd, SLOTS * _SLOT_SIZE)
    while request := os.read(0, 1):
        first = request[0] * _SLOT_SIZE
        os.write(1, request + bytes((_count_packed(memory[first : first + _SLOT_SIZE]),)))


_DOMAIN: Final = Domain.EVENT.value
_PACKAGES: Final = str(Path(__file__).resolve().parents[1])
_START: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from ledger.verifying_processes import work; work(int(sys.argv[2]))"
)
