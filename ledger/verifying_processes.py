"""Events of an archive judged by other processes, while this one goes on: how a log is audited on all cores.

Everything that the bytes of an event can be asked without knowing another one is asked here: the hashes of
its three blocks, canonical form, schema, limits, its signature (`ledger.events_of_archives`). Batches go to
workers through memory that both sides map, as they lie in the archive, and events come back through it in
parts, so that nobody parses them again; a byte through a pipe says that a batch is there, two bytes say what
became of it. When every worker has all the work it can hold, this process judges the batch itself. So the
work divides itself, nothing here waits before it must, and what is held is bounded.

Knows blocks and processes. Does not know what stands where in a history, or what is wrong with what is not
good: that is for one process to say, which looks at everything in order.

What must always hold: a batch is good exactly when `all_judged` takes it, and its events are those that it
gives, whichever process was asked. A worker that died is not missed: what it had is judged here.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final, Self

from ledger.cid import CID_SIZE, Cid
from ledger.errors import RemoteError
from ledger.event import Event
from ledger.events_of_archives import all_judged, heard, told

BATCH: Final = 64
"""Events in a batch, some 3 ms of work: a hundred times what handing it over takes."""

BATCH_BYTES: Final = 128 * 1024
"""A batch with so many bytes is full as well."""

SLOTS: Final = 32
"""Batches that one worker holds at most: those of a full checkpoint, which is executed meanwhile."""

WORTH_WORKERS: Final = 1024 * 1024
"""Bytes of an archive for which workers are started: 1,500 events, 0.15 s. It takes 0.1 s until one has
loaded what it needs."""

EVENT_BYTES_MAX: Final = 128 * 1024
"""Of the blocks of an event with their names: twice what its limits allow. More is no event."""

log = logging.getLogger(__name__)

_HEAD: Final = Struct(f">{CID_SIZE}sHI")  # network; number of events; bytes behind this
_ANSWER: Final = Struct(">I")  # bytes behind this
_SLOT_SIZE: Final = 3 * (BATCH_BYTES + EVENT_BYTES_MAX)
"""A batch, and then what comes of it: an event's bytes twice, whole and in parts, and its fields."""

assert SLOTS < 256, "a slot must have a byte for its name"
assert BATCH < 2**16, "and a count two bytes"


class Batch:
    """Events to be judged together. `good`: whether all of them are, once that is known."""

    __slots__ = ("_answer", "_events", "_sections", "good", "net", "size")

    def __init__(self, net: Cid) -> None:
        self.net = net
        self.size = 0
        self.good: bool | None = None
        self._sections: list[bytes] = []  # of the blocks of one event each
        self._answer: bytes | None = None
        self._events: Iterator[Event] | None = None

    def __len__(self) -> int:
        return len(self._sections)

    def add(self, sections: bytes) -> None:
        """Those of the three blocks of an event, as they lie in an archive."""
        if len(sections) > EVENT_BYTES_MAX:
            self.good = False
            return
        self._sections.append(sections)
        self.size += len(sections)

    @property
    def is_full(self) -> bool:
        return len(self) == BATCH or self.size >= BATCH_BYTES

    def packed(self) -> bytes:
        return _HEAD.pack(self.net, len(self), self.size) + b"".join(self._sections)

    def judge(self) -> None:
        found = _judged(self.packed())
        self.good = found is not None
        self._events = iter(found or ())

    def answered(self, answer: bytes | None) -> None:
        """By a worker: what `told` says of its events; None when one of them is not good."""
        self.good = answer is not None
        self._answer = answer
        self._sections.clear()

    def take(self) -> Event:
        """The next event of a good one, from the first on."""
        if self._events is None:
            assert self._answer is not None, "an event of a batch that is not good"
            self._events, self._answer = heard(self._answer, net=self.net), None
        return next(self._events)


class Judges:
    """`jobs` processes that judge batches, this one included. A context, for one thread. Workers are started
    with the first batch."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._workers: list[_Worker] = []
        self._is_started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.close()

    @property
    def room(self) -> int:
        """How many events it is of use to give before one waits for an answer: twice what the workers hold,
        so that there is some to judge here when they are behind."""
        return 2 * SLOTS * BATCH * max(1, self._jobs - 1)

    def give(self, batch: Batch) -> None:
        """To a worker that has room; else it is judged here."""
        if batch.good is not None:
            return
        if not self._is_started:
            self._start()
        self._collect(wait=False)
        free = [worker for worker in self._workers if worker.free]
        if not free or not max(free, key=_by_room).take(batch):
            batch.judge()

    def _start(self) -> None:
        """As many as there is room for on this machine, which may be none: the rest is judged here."""
        self._is_started = True
        try:
            while len(self._workers) < self._jobs - 1:
                self._workers.append(_Worker())
        except OSError as error:
            log.warning(
                "an audit goes on with %d of %d workers: %s", len(self._workers), self._jobs - 1, error
            )

    def is_good(self, batch: Batch) -> bool:
        """Whether all events of a batch that was given are good; waits until that is known."""
        while batch.good is None:
            self._collect(wait=True)
        return batch.good

    def _collect(self, *, wait: bool) -> None:
        asked = {worker.answers: worker for worker in self._workers if worker.busy}
        if asked:
            ready, _, _ = select.select(list(asked), [], [], None if wait else 0)
            for answers in ready:
                asked[answers].collect()

    def __repr__(self) -> str:
        return f"<Judges jobs={self._jobs} workers={len(self._workers)}>"


def worth(jobs: int, size: int) -> int:
    """Of so many processes, how many it is of use to have for an archive of `size` bytes."""
    return jobs if size >= WORTH_WORKERS else 1


class _Worker:
    """One process, and the memory shared with it: SLOTS batches, each in a slot of its own."""

    def __init__(self) -> None:
        """Raises OSError when there is no room for one more."""
        with tempfile.TemporaryFile() as file:
            _reserve(file.fileno(), SLOTS * _SLOT_SIZE)
            self._memory = mmap.mmap(file.fileno(), SLOTS * _SLOT_SIZE)
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", _START, _PACKAGES, str(file.fileno())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    pass_fds=(file.fileno(),),
                    bufsize=0,
                    start_new_session=True,  # so that Ctrl-C is this process's to answer
                )
            except OSError:
                self._memory.close()
                raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        self.answers = self._process.stdout
        self.free = list(range(SLOTS))
        self.busy: dict[int, Batch] = {}

    def take(self, batch: Batch) -> bool:
        """Whether the worker has it now; its answer comes with a later `collect`."""
        slot = self.free.pop()
        data = batch.packed()
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
            slot, is_good = answers[at], answers[at + 1] == 1
            self.busy.pop(slot).answered(self._answer_in(slot) if is_good else None)
            self.free.append(slot)
        return None

    def _answer_in(self, slot: int) -> bytes:
        first = slot * _SLOT_SIZE + _ANSWER.size
        [size] = _ANSWER.unpack_from(self._memory, first - _ANSWER.size)
        return self._memory[first : first + size]

    def _give_up(self) -> None:
        """It is dead, by somebody else's hand: do what it had, and give it no more."""
        for batch in self.busy.values():
            batch.judge()
        self.busy.clear()
        self.free.clear()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._requests.close()
        self.answers.close()
        self._memory.close()


def _reserve(fd: int, size: int) -> None:
    """Make a file so long, and its room on the disk its own: a hole in it, once the disk is full, would end
    whoever writes there with a signal. macOS has only the hole, and some file systems, where the C library
    does not fill it itself (musl)."""
    if sys.platform == "linux":
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        else:
            return
    os.ftruncate(fd, size)


def _by_room(worker: _Worker) -> int:
    return len(worker.free)


def _judged(data: bytes) -> list[Event] | None:
    """The events of a packed batch; None when one of them is not good."""
    net, count, size = _HEAD.unpack_from(data)
    try:
        return all_judged(data[_HEAD.size : _HEAD.size + size], count, net=Cid(net))
    except RemoteError:
        return None


def work(memory_fd: int) -> None:
    """What a worker does until its requests end: that happens also when the one who asks is dead."""
    memory = mmap.mmap(memory_fd, SLOTS * _SLOT_SIZE)
    while request := os.read(0, 1):
        first = request[0] * _SLOT_SIZE
        *_, size = _HEAD.unpack_from(memory, first)
        found = _judged(memory[first : first + _HEAD.size + size])
        if found is not None:
            answer = told(found)
            assert _ANSWER.size + len(answer) <= _SLOT_SIZE, "an answer that the next slot would suffer from"
            begin = first + _ANSWER.size
            _ANSWER.pack_into(memory, first, len(answer))
            memory[begin : begin + len(answer)] = answer
        os.write(1, request + bytes((found is not None,)))


_PACKAGES: Final = str(Path(__file__).resolve().parents[1])
_START: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from ledger.verifying_processes import work; work(int(sys.argv[2]))"
)
