"""`Executor`: `concurrent.futures` on other people's machines.

    from fog.executor import Executor

    with Executor() as fog:                                  # a node runs on this machine: `fog node`
        for factors in fog.map(factors_of, range(10**9, 10**9 + 1000)):
            print(factors)

    with Executor(program="count.c") as fog:                 # or a program: bytes in, standard output back
        counts = list(fog.map([b"one text", b"another"]))

It needs no trio and may be used from any thread. Calls that come within a moment of each other (`window_s`)
become one job, whose shards share them out: a thousand calls of a millisecond are one job and not a thousand.
What comes back has been run by two accounts that agree (`checks=1`), and its bytes are checked against the
Cids that the ledger settled.

A function travels as source (`fog.task_source`): it stands at the top of a module, is no lambda, no closure,
no method, and uses Python's standard library alone; helper functions and plain values that it refers to come
along, as they are at its first call here. Arguments and results are plain data (`fog.task_wire`). Never
pickles: a result is written by a stranger, and to load a stranger's pickle is to run the stranger's code.

What it does as the standard library's executors do: the order of `map`, its timeout, `as_completed`, `wait`,
exceptions of the program (a built-in one is raised as such, another as ProgramFailed; `__cause__` has the
remote traceback), RuntimeError after `shutdown`. What it does otherwise:

    cancel       works until the result is here, so `running()` is never true; a job of which all calls are
                 cancelled is cancelled in the ledger, and what was not run is refunded
    same input   every run has the same clock and the same random numbers (or two workers could not agree):
                 give a seed as an argument
    stopped      a call whose shard was given up, expired or was cancelled raises JobUnfinished; one that ran
                 out of fuel, memory or output raises ProgramFailed

What must always hold: every future ends, whatever the node does; a call that took others down with it is told
so alone, because those it took down are run again without it, once.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from fog import task_wire
from fog.paths import DataDir
from fog.task_job import Call, Job, Terms
from fog.task_source import script_of
from ledger.errors import UsageError

WINDOW_S_MAX: Final = 5.0
JOBS_MAX: Final = 8  # at once, of the 32 connections that a node serves; more calls wait, and so batch better
CALLS_PER_JOB_MAX: Final = 16_384  # with what they say: a job's description must fit a frame
ARGUMENTS_SIZE_MAX: Final = 64 << 20  # bytes of arguments in one job


class Executor(futures.Executor):
    """Calls of functions, or inputs for a program, run by the network. Raises NodeDown at the first use."""

    def __init__(
        self,
        program: str | os.PathLike[str] | None = None,
        *,
        args: Iterable[str] = (),
        home: str | os.PathLike[str] | None = None,
        window_s: float = 0.02,
        price: int = 2_000,
        fuel: int = 50_000_000_000,
        memory: int = 256 << 20,
        output_max: int = 16 << 20,
        lease_s: float = 600,
        deadline_s: float = 3_600,
        checks: int = 1,
    ) -> None:
        """`home` is the node's data directory; else FOG_DATA_DIR, else the platform's own.

        program, args  a .wasm, .c, .rs or .py that reads its input from standard input; None: functions
        window_s       how long a call may wait for others to come along, 0 to 5 s
        price          most to pay, micro-credits per Gfuel;  fuel: limit of a shard, for all its calls
        memory, output_max   bytes;  lease_s: how long a shard may take;  deadline_s: a job
        checks         1: two accounts run everything and must agree; 0: trust the first; 2: as often
                       as a worker's history and bond call for

        Raises UsageError (`bad_request`, `file`).
        """
        if program is not None and not Path(program).is_file():
            raise UsageError(f"there is no file {program}", code="file", next_step="check the path")
        if not 0 <= window_s <= WINDOW_S_MAX:
            raise UsageError(f"a window of {window_s} s; at most {WINDOW_S_MAX:g}", code="bad_request")
        self._home = DataDir.find(None if home is None else Path(home), os.environ)
        self._program = None if program is None else Path(program).absolute()
        self._terms = Terms(
            args=list(args),
            price=price,
            fuel=fuel,
            memory=memory,
            output_max=output_max,
            lease_ms=int(lease_s * 1000),
            deadline_ms=int(deadline_s * 1000),
            checks=checks,
        )
        self._terms.request(Path("/program"), "name", [], 1)  # is it a possible job at all?
        self._window_s = window_s
        self._scripts: weakref.WeakKeyDictionary[Callable[..., Any], str] = weakref.WeakKeyDictionary()
        self._fuel_each: dict[str, float] = {}  # by script: of one call, as the last jobs of it came to
        self._lock = threading.Lock()  # guards everything below
        self._waiting: deque[Call] = deque()
        self._open = 0  # futures that have not ended
        self._idle = threading.Condition(self._lock)
        self._timer: threading.Timer | None = None
        self._jobs: set[Job] = set()
        self._is_shut = False
        self._pool = ThreadPoolExecutor(JOBS_MAX, thread_name_prefix="fog-executor")
        self.counts: Counter[str] = Counter()  # jobs, shards, calls, again

    # -- concurrent.futures.Executor ---------------------------------------------------------------------

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn(*args, **kwargs)` somewhere; with a program, `fn` is the bytes of its input.

        Raises UsageError (`not_shippable`, `not_plain`), RuntimeError after `shutdown`.
        """
        call = self._call(fn, args, kwargs)
        self._enqueue([call])
        return call.future

    def map(
        self,
        fn: Any,
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
    ) -> Iterator[Any]:
        """Results in the order of the inputs; with a program, `map(inputs)`.

        chunksize  calls that one shard holds; None: as their fuel and number suggest
        timeout    seconds from now for each result to be there, else TimeoutError and the rest is cancelled
        """
        if chunksize is not None and chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._program is not None:
            if iterables:
                raise UsageError("a program is mapped over one iterable of bytes", code="bad_request")
            calls = [self._call(data, (), {}) for data in fn]
        else:
            calls = [self._call(fn, args, {}) for args in zip(*iterables, strict=False)]
        for call in calls:
            call.chunk = chunksize
        self._enqueue(calls)
        return _in_order([call.future for call in calls], deadline)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more calls from now on. Those that wait are sent, or cancelled; `wait`: until all ended."""
        with self._lock:
            self._is_shut = True
            pending = [*self._waiting, *(call for job in self._jobs for call in job.calls)]
        if cancel_futures:
            for call in pending:
                call.future.cancel()
        self._flush()
        if wait:
            with self._lock:
                self._idle.wait_for(lambda: self._open == 0)
            self._pool.shutdown(wait=True)

    # -- from calls to jobs ------------------------------------------------------------------------------

    def _call(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        if self._program is not None:
            if not isinstance(fn, bytes | bytearray | memoryview) or args or kwargs:
                raise UsageError(
                    f"{self._program.name} takes bytes as its input, not {type(fn).__name__}",
                    code="not_plain",
                    next_step="give the bytes of its standard input, and nothing else",
                )
            return Call(None, self._program.name, bytes(fn))
        script = self._script(fn)
        try:
            data = task_wire.dumps([list(args), kwargs]).encode()
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"an argument of {fn.__name__} cannot travel: {error}",
                code="not_plain",
                next_step="give plain data, and build other objects inside the function",
            ) from error
        return Call(script, fn.__name__, data)

    def _script(self, fn: Any) -> str:
        try:
            known = self._scripts.get(fn)
        except TypeError:  # nothing that a weak reference can hold, and so no function
            known = None
        if known is None:
            known = self._scripts[fn] = script_of(fn)
        return known

    def _enqueue(self, calls: list[Call]) -> None:
        with self._lock:
            if self._is_shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._open += len(calls)
            self._waiting += calls
        for call in calls:
            call.future.add_done_callback(self._ended)
            call.future.add_done_callback(call.cancelled)
        self._ring()

    def _ring(self) -> None:
        """Flush after the window, which begins with the first call that waits."""
        with self._lock:
            if self._timer is None and self._waiting and len(self._jobs) < JOBS_MAX:
                self._timer = threading.Timer(self._window_s, self._flush)
                self._timer.start()

    def _flush(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            while self._waiting and len(self._jobs) < JOBS_MAX:
                calls = self._take()
                if calls:
                    each = self._fuel_each.get(calls[0].script or "")
                    job = Job(self._home, self._program, self._terms, calls, each)
                    self._jobs.add(job)
                    self.counts.update(jobs=1, calls=len(calls), shards=len(job.shards))
                    self._pool.submit(self._carry, job)

    def _take(self) -> list[Call]:
        """The first that waits, and those behind it that can be of one job with it."""
        first, left, taken, size = self._waiting[0], deque[Call](), list[Call](), 0
        for call in self._waiting:
            if call.future.cancelled():
                continue
            fits = len(taken) < CALLS_PER_JOB_MAX and size + len(call.data) <= ARGUMENTS_SIZE_MAX
            if call.like == first.like and (fits or not taken):
                taken.append(call)
                size += len(call.data)
            else:
                left.append(call)
        self._waiting = left
        return taken

    def _carry(self, job: Job) -> None:
        """In a thread of the pool: one job, from its first event to the end of all its calls."""
        again: list[Call] = []
        try:
            again = job.run()
        finally:
            with self._lock:
                self._jobs.discard(job)
                self._waiting.extendleft(reversed(again))
                self.counts += Counter(again=len(again))
                if job.fuel_each is not None:
                    self._fuel_each[job.calls[0].script or ""] = job.fuel_each
            self._ring()

    def _ended(self, future: Future[Any]) -> None:
        with self._lock:
            self._open -= 1
            if self._open == 0:
                self._idle.notify_all()

    def __repr__(self) -> str:
        return f"<Executor {self._open} calls open, {len(self._jobs)} jobs>"


def _in_order(waiting: list[Future[Any]], deadline: float | None) -> Iterator[Any]:
    """As `concurrent.futures.Executor.map` gives them: whoever stops reading cancels the rest."""
    waiting.reverse()
    try:
        while waiting:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            future = waiting.pop()
            try:
                yield future.result(left)
            finally:
                future.cancel()
    finally:
        for future in waiting:
            future.cancel()
