"""One job of an `Executor`: its calls shared out over shards, sent, and every answer given to its future.

    function   an input holds one call or more (`fog.task_wire`), and is a shard
    program    an input is a call, and a shard holds one or more

How many calls a shard gets: as many as together use SHARD_FUEL_AIM, by what such calls used before; but
never so many that there are fewer than SHARDS_LEAST shards. Nothing known: FIRST_SHARDS.

A run that ended badly says nothing about the calls behind the one that it ended in, and, where they shared
fuel and output, little about that one: those are given back, to be run again, each call alone.

What must always hold: `run` returns or raises only when every call has ended or is given back; bytes that are
not what their Cid says are never read further.
"""

from __future__ import annotations

import builtins
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from domain.compute.spec import INPUTS_PER_SHARD_MAX, Output, Run, ShardResult
from domain.compute.wasi import STDERR_MAX
from domain.payloads import SHARDS_MAX
from fog import control, methods, task_wire
from fog.collect_methods import SETTLED, UNREADABLE, Collect, Piece
from fog.exits import JobUnfinished, NodeDown, ProgramFailed
from fog.methods import JobLine, JobName, JobResult, JobSubmit, Recorded
from fog.paths import DataDir
from ledger import blob
from ledger.errors import FogError, RemoteError

SHARD_FUEL_AIM: Final = 4_000_000_000  # a second or two, beside which a lease and a fresh child are little
START_FUEL: Final = 250_000_000  # of CPython for WASI, before the first call
SHARDS_LEAST: Final = 4
FIRST_SHARDS: Final = 16
INPUT_SIZE_AIM: Final = 4 << 20  # bytes of calls in one input; a call that is larger has one for itself

PATIENCE_S: Final = 60.0  # for a node that is being restarted: the job goes on without it
RETRY_S: Final = 0.5

AWAY: Final = frozenset({"node_down", "node_left", "node_silent"})
SHARED: Final = frozenset({"out_of_fuel", "output_limit", "not_run"})
"""How a run ends that may have ended otherwise with a shard for itself."""


NOT_RAISED: Final = (StopIteration, StopAsyncIteration)
"""Built-in exceptions that would be taken for something else where `result()` is called."""


class RemoteTraceback(Exception):
    """The cause of an exception that was raised on another machine: where, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


@dataclass(eq=False, slots=True)
class Call:
    """One call, and whoever waits for it. `script` None: of a program."""

    script: str | None
    name: str
    data: bytes
    chunk: int | None = None
    alone: bool = False
    future: Future[Any] = field(default_factory=Future)
    job: Job | None = None
    _ending: threading.Lock = field(default_factory=threading.Lock)  # taken once, by whoever ends it

    @property
    def like(self) -> tuple[str | None, bool, int | None]:
        """Calls that are alike in this can be of one job."""
        return self.script, self.alone, self.chunk

    @property
    def has_ended(self) -> bool:
        return self._ending.locked()

    def give(self, value: Any) -> None:
        if self._ending.acquire(blocking=False) and self.future.set_running_or_notify_cancel():
            self.future.set_result(value)

    def fail(self, error: BaseException) -> None:
        if self._ending.acquire(blocking=False) and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def cancelled(self, future: Future[Any]) -> None:
        """A callback of the future, which has ended somehow."""
        if future.cancelled() and self._ending.acquire(blocking=False):
            future.set_running_or_notify_cancel()
            if self.job is not None:
                self.job.look_whether_wanted()


@dataclass(frozen=True, slots=True)
class Terms:
    """What every job of an executor asks for."""

    args: list[str]
    price: int
    fuel: int
    memory: int
    output_max: int
    lease_ms: int
    deadline_ms: int
    checks: int

    def request(self, program: Path, name: str, files: Sequence[Path], shards: int) -> JobSubmit:
        """Raises UsageError (`bad_request`)."""
        asked = {
            "program": str(program),
            "args": self.args,
            "files": [str(path) for path in files],
            "name": name,
            "output": None,
            "shards": shards,
            "price": self.price,
            "fuel": self.fuel,
            "memory": self.memory,
            "output_max": self.output_max,
            "lease_ms": self.lease_ms,
            "deadline_ms": self.deadline_ms,
            "checks": self.checks,
            "wait": False,
        }
        return methods.shape(JobSubmit, asked)


class Job:
    """`shards`: for each shard its inputs, for each of those its calls. `fuel_each`: of a call, as found."""

    def __init__(
        self,
        home: DataDir,
        program: Path | None,
        terms: Terms,
        calls: Sequence[Call],
        fuel_each: float | None,
    ) -> None:
        self.calls = calls
        self.shards = share_out(calls, fuel_each)
        self.fuel_each: float | None = None
        self._home = home
        self._program = program
        self._terms = terms
        self._id: str | None = None
        self._told: set[int] = set()
        self._parts: dict[tuple[int, str], bytearray] = {}
        self._room: dict[int, int] = {}  # of each shard: bytes of outputs that may still come
        self._again: list[Call] = []
        self._used = [0, 0]  # fuel, and by how many calls
        for call in calls:
            call.job = self

    def run(self) -> list[Call]:
        """Send it and wait for its end. The calls that are to be run again."""
        try:
            with tempfile.TemporaryDirectory(prefix="fog-calls-") as folder:
                request = self._request(Path(folder))
                sent = self._ask(JobResult, "job.submit", request)
            self._id = sent.job.job
            self.look_whether_wanted()
            self._collect(self._id)
        except FogError as error:
            self._fail(error)
        except BaseException as error:
            self._fail(RuntimeError(f"the executor broke: {error!r}"))
            raise
        if self._used[1]:
            self.fuel_each = max(1.0, self._used[0] / self._used[1])
        again = [call for call in self._again if not call.has_ended]
        self._fail(JobUnfinished("its shard told no end"), but=again)
        for call in again:
            call.alone, call.job = True, None
        return again

    def look_whether_wanted(self) -> None:
        """Cancel the job when nobody waits for any of its calls."""
        if self._id is not None and all(call.has_ended for call in self.calls):
            threading.Thread(target=self._cancel, args=(self._id,), name="fog-cancel", daemon=True).start()

    def _cancel(self, id: str) -> None:
        try:
            self._ask(Recorded, "job.cancel", methods.shape(JobName, {"job": id}))
        except FogError:
            return  # it is over already, or the node is gone: its deadline ends it

    def _fail(self, error: BaseException, but: Iterable[Call] = ()) -> None:
        spared = {id(call) for call in but}
        for call in self.calls:
            if id(call) not in spared:
                call.fail(error)

    # -- there -------------------------------------------------------------------------------------------

    def _request(self, folder: Path) -> JobSubmit:
        first = self.calls[0]
        program = self._program
        if program is None:
            assert first.script is not None, "a call of a function has a script"
            program = folder / f"{first.name}.py"
            program.write_text(first.script)
        files = []
        for number, batch in enumerate(self._inputs()):
            path = folder / f"{number}"
            path.write_bytes(_input_of(batch))
            files.append(path)
        return self._terms.request(program, first.name, files, len(self.shards))

    def _inputs(self) -> Iterator[list[Call]]:
        return (batch for shard in self.shards for batch in shard)

    def _ask(
        self,
        reply: type[methods.Message],
        method: str,
        params: methods.Message,
        on_progress: Callable[[dict[str, Any]], None] = lambda progress: None,
    ) -> Any:
        return methods.shape(
            reply, control.call(self._home.control, method, methods.plain(params), on_progress)
        )

    # -- and back ----------------------------------------------------------------------------------------

    def _collect(self, id: str) -> None:
        """Until the job ended; while the node is away, for PATIENCE_S each time, again."""
        given_up = None
        while True:
            self._parts.clear()
            self._room.clear()
            before = len(self._told)
            try:
                self._ask(
                    JobLine, "job.collect", Collect(job=id, have=tuple(sorted(self._told))), self._piece
                )
                return
            except (NodeDown, RemoteError) as error:
                if error.code not in AWAY:
                    raise
                if given_up is None or len(self._told) > before:
                    given_up = time.monotonic() + PATIENCE_S
                if time.monotonic() > given_up:
                    raise
            threading.Event().wait(RETRY_S)

    def _piece(self, update: dict[str, Any]) -> None:
        piece = methods.shape(Piece, update)
        if piece.state is None:
            assert piece.cid is not None, "an output has a Cid"
            room = self._room.get(piece.shard, self._room_of(piece.shard)) - len(piece.data)
            self._room[piece.shard] = room
            if room >= 0:  # else its bytes are not those of an output, which `_bytes` finds
                self._parts.setdefault((piece.shard, piece.cid), bytearray()).extend(piece.data)
            return None
        self._told.add(piece.shard)
        calls = [call for batch in self.shards[piece.shard] for call in batch]
        try:
            if piece.state == SETTLED:
                return self._settled(piece)
            if piece.state == UNREADABLE:
                raise RemoteError("its shard was settled with what is no result", code="bad_result")
            if piece.data:
                raise self._lost(piece)
            raise JobUnfinished(f"its shard has no result: it is {piece.state}", code=piece.state)
        except FogError as error:
            for call in calls:
                call.fail(error)

    def _room_of(self, shard: int) -> int:
        """Bytes of outputs that its result may name."""
        return self._terms.output_max + STDERR_MAX * len(self.shards[shard])

    def _lost(self, piece: Piece) -> JobUnfinished:
        return JobUnfinished(
            f"its result was settled and is not here: {piece.data.decode(errors='replace')}",
            code=piece.state,
            next_step=f"call it again, or bring that result home: fog job fetch {(self._id or '')[-8:]}",
        )

    def _settled(self, piece: Piece) -> None:
        """Raises RemoteError (`bad_result`)."""
        if piece.cid is None or str(blob.cid_of(piece.data)) != piece.cid:
            raise RemoteError("the bytes are not those of the result that was settled", code="bad_result")
        result = ShardResult.decode(piece.data)
        result.require_within(self._terms.output_max)
        batches = self.shards[piece.shard]
        if len(result.runs) != len(batches):
            raise RemoteError("its runs are not those of its shard", code="bad_result")
        answered = 0
        for run, batch in zip(result.runs, batches, strict=True):
            if batch[0].script is None:
                answered += self._take_output(piece.shard, run, batch[0], is_shared=len(batches) > 1)
            else:
                answered += self._take_answers(piece.shard, run, batch)
        start = START_FUEL * len(batches) if batches[0][0].script is not None else 0
        self._used[0] += max(0, result.fuel - start)
        self._used[1] += answered

    def _take_output(self, shard: int, run: Run, call: Call, *, is_shared: bool) -> int:
        if run.status == "ok":
            call.give(self._bytes(shard, run.stdout))
            return 1
        if run.status in SHARED and is_shared:
            self._again.append(call)
        else:
            call.fail(self._ended_badly(shard, run))
        return 0

    def _take_answers(self, shard: int, run: Run, batch: list[Call]) -> int:
        """Calls in the order of their answers; without one: where the run ended, and those behind."""
        lines = next((self._bytes(shard, file.content) for file in run.files if file.name == "answers"), b"")
        *answers, _ = lines.split(b"\n")
        for call, line in zip(batch, answers, strict=False):
            _answer(call, line)
        left = batch[len(answers) :]
        if left and len(batch) > 1:
            self._again += left
        elif left:
            left[0].fail(self._ended_badly(shard, run))
        return min(len(answers), len(batch))

    def _ended_badly(self, shard: int, run: Run) -> ProgramFailed:
        words = {"exit": f"exit code {run.exit_code}", "ok": "it ended the program itself"}
        said = self._bytes(shard, run.stderr).decode(errors="replace").strip()[-2_000:]
        text = f"it ended with {words.get(run.status, run.status)} {run.detail}".strip()
        error = ProgramFailed(text, code=run.status)
        if said:
            error.__cause__ = RemoteTraceback(said)
        return error

    def _bytes(self, shard: int, output: Output) -> bytes:
        """The whole output, checked. Raises RemoteError (`bad_result`)."""
        if output.data is not None:
            return output.data
        data = bytes(self._parts.get((shard, str(output.cid)), b""))
        if len(data) != output.size or blob.cid_of(data) != output.cid:
            raise RemoteError("the bytes are not those of the output that was settled", code="bad_result")
        return data


def share_out(calls: Sequence[Call], fuel_each: float | None) -> list[list[list[Call]]]:
    """Shards of inputs of calls, all in order. `calls` are alike."""
    first = calls[0]
    if first.alone:
        each = 1
    elif first.chunk is not None:
        each = first.chunk
    elif fuel_each is None:
        each = -(-len(calls) // FIRST_SHARDS)
    else:
        each = min(max(1, int(SHARD_FUEL_AIM / fuel_each)), -(-len(calls) // SHARDS_LEAST))
    each = max(each, -(-len(calls) // SHARDS_MAX))
    if first.script is not None:
        return [[batch] for batch in _batches(calls, each)]
    # The node shares inputs out in order, one more to the first shards: as it does, so do we.
    count = -(-len(calls) // min(each, INPUTS_PER_SHARD_MAX))
    least, more = divmod(len(calls), count)
    sizes = [least + (shard < more) for shard in range(count)]
    rest = iter(calls)
    return [[[next(rest)] for _ in range(size)] for size in sizes]


def _batches(calls: Sequence[Call], each: int) -> list[list[Call]]:
    batches: list[list[Call]] = [[]]
    size = 0
    for call in calls:
        is_full = len(batches[-1]) == each or size + len(call.data) > INPUT_SIZE_AIM
        if batches[-1] and is_full and len(batches) < SHARDS_MAX:
            batches.append([])
            size = 0
        batches[-1].append(call)
        size += len(call.data)
    return batches


def _input_of(batch: list[Call]) -> bytes:
    if batch[0].script is None:
        return batch[0].data
    return b'{"calls":[' + b",".join(call.data for call in batch) + b"]}"


def _answer(call: Call, line: bytes) -> None:
    """What a stranger's run says of one call. Plain data or an exception, whatever the bytes."""
    try:
        answer = task_wire.loads(line.decode())
        if not isinstance(answer, dict) or answer.keys() not in ({"value"}, {"raised"}):
            raise ValueError("neither a value nor an exception")
        if "value" in answer:
            return call.give(answer["value"])
        kind, arguments, text = answer["raised"]
        if not (isinstance(kind, str) and isinstance(arguments, list) and isinstance(text, str)):
            raise ValueError("not an exception")
    except (ValueError, TypeError) as error:
        return call.fail(RemoteError(f"no answer to the call: {error}", code="bad_result"))
    return call.fail(_raised(kind, arguments, text))


def _raised(kind: str, arguments: list[Any], text: str) -> BaseException:
    """A built-in exception as itself; of others, whose class is not here, the name and the words."""
    known = getattr(builtins, kind, None)
    error: BaseException | None = None
    if isinstance(known, type) and issubclass(known, Exception) and known not in NOT_RAISED:
        try:
            error = known(*arguments)
        except (TypeError, ValueError, OverflowError):  # not the arguments that its class takes
            error = None
    if error is None:
        words = ", ".join(str(argument) for argument in arguments)
        error = ProgramFailed(f"{kind}: {words}" if words else kind, code="raised")
    error.__cause__ = RemoteTraceback(text)
    return error
