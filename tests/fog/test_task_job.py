"""One job of an executor: calls are shared out in order, and of what a worker wrote nothing is believed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.compute.engine import ENGINE
from domain.compute.spec import INPUTS_PER_SHARD_MAX, Output, OutputFile, Run, ShardResult, Status
from domain.compute.wasi import STDERR_MAX
from domain.payloads import SHARDS_MAX
from fog.collect_methods import Piece
from fog.executor import Executor
from fog.exits import JobUnfinished, ProgramFailed
from fog.methods import plain
from fog.paths import DataDir
from fog.task_job import FIRST_SHARDS, SHARD_FUEL_AIM, Call, Job, Terms, share_out
from fog.task_wire import dumps
from ledger import blob
from ledger.cid import Cid
from ledger.errors import FogError, RemoteError, UsageError

EMPTY = Output(0, data=b"")
OUTPUT_MAX = 4 << 10
TERMS = Terms([], 1, 1, 1 << 20, OUTPUT_MAX, 1_000, 10_000, 1)


def job_of(calls: Sequence[Call], folder: Path = Path("/nowhere")) -> Job:
    return Job(DataDir(folder), None, TERMS, calls, None)


def functions(count: int, **known: Any) -> list[Call]:
    return [Call("script", "task", b"[[],{}]", **known) for _ in range(count)]


def output(data: bytes) -> Output:
    return Output(len(data), data=data) if len(data) <= 512 else Output(len(data), cid=blob.cid_of(data))


def answers(*lines: str, status: Status = "ok") -> Run:
    """A run with these lines of answers."""
    text = "".join(f"{line}\n" for line in lines).encode()
    return Run("0", status, 1_000, EMPTY, EMPTY, files=(OutputFile("answers", output(text)),))


def told(job: Job, *runs: Run, shard: int = 0, outputs: Sequence[bytes] = (), cid: Cid | None = None) -> None:
    """What the node says of a shard that was settled."""
    data = ShardResult(ENGINE, runs).encode()
    for out in outputs:
        job._piece(plain(Piece(shard=shard, cid=str(blob.cid_of(out)), data=out)))
    named = str(cid or blob.cid_of(data))
    job._piece(plain(Piece(shard=shard, cid=named, data=data, state="settled")))


@example(count=SHARDS_MAX, each=None, chunk=1, script="script")
@example(count=SHARDS_MAX + 1, each=1e12, chunk=1, script="script")
@example(count=SHARDS_MAX + 1, each=1e12, chunk=None, script=None)
@example(count=10_000, each=1.0, chunk=20_000, script="script")
@example(count=10_000, each=None, chunk=1, script=None)
@given(
    count=st.integers(1, 2_000),
    each=st.none() | st.floats(1, 1e12),
    chunk=st.none() | st.integers(1, 20_000),
    script=st.none() | st.just("script"),
)
def test_every_call_is_in_one_shard_in_order_and_no_limit_is_passed(
    count: int, each: float | None, chunk: int | None, script: str | None
):
    calls = [Call(script, "task", b"", chunk=chunk) for _ in range(count)]
    shards = share_out(calls, each)
    assert [call for shard in shards for batch in shard for call in batch] == calls
    assert len(shards) <= SHARDS_MAX
    assert all(1 <= len(shard) <= INPUTS_PER_SHARD_MAX for shard in shards)
    assert all(batch for shard in shards for batch in shard)
    if script is None:  # as the node shares them out
        sizes = [len(shard) for shard in shards]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] - sizes[-1] <= 1


def test_how_many_calls_a_shard_gets_follows_what_they_used():
    def sizes(fuel: float | None) -> set[int]:
        return {len(batch) for [batch] in share_out(functions(1600), fuel)}

    assert sizes(None) == {1600 // FIRST_SHARDS}
    assert sizes(SHARD_FUEL_AIM / 10) == {10}
    assert sizes(SHARD_FUEL_AIM * 3) == {1}
    assert sizes(1.0) == {400}  # there are workers for four at least


def test_answers_go_to_their_calls_in_order():
    calls = functions(2)
    job = job_of(calls)
    told(job, answers(dumps({"value": 1})))
    told(job, answers(dumps({"raised": ["KeyError", ["k"], "where"]})), shard=1)
    assert calls[0].future.result(0) == 1
    error = calls[1].future.exception(0)
    assert isinstance(error, KeyError)
    assert error.args == ("k",)
    assert "where" in str(error.__cause__)


@pytest.mark.parametrize(
    "kind", ["Oops", "SystemExit", "KeyboardInterrupt", "StopIteration", "print", "UnicodeError"]
)
def test_an_exception_that_is_not_here_or_would_mislead_comes_by_name(kind: str):
    (call,) = functions(1)
    told(job_of([call]), answers(dumps({"raised": [kind, ["words"], "where"]})))
    error = call.future.exception(0)
    assert type(error) in (ProgramFailed, UnicodeError)
    assert "words" in str(error)


def test_calls_behind_the_one_that_ended_the_run_are_given_back_to_run_alone():
    calls = functions(40)
    job = job_of(calls)
    (batch,) = job.shards[0]
    assert len(batch) == 3
    told(job, answers(dumps({"value": 1}), status="out_of_fuel"))
    assert [call.has_ended for call in batch] == [True, False, False]
    assert job._again == batch[1:]


def test_a_call_alone_that_ends_the_run_is_told_how():
    (call,) = functions(1, alone=True)
    told(job_of([call]), Run("0", "trap", 5, EMPTY, output(b"why\n"), detail="unreachable"))
    error = call.future.exception(0)
    assert isinstance(error, ProgramFailed)
    assert (error.code, str(error)) == ("trap", "it ended with trap unreachable")
    assert "why" in str(error.__cause__)


@pytest.mark.parametrize(
    "line", ["", "{}", "5", '{"value":1,"raised":2}', '{"raised":[1,2,3]}', '{"raised":5}', "\x80"]
)
def test_an_answer_that_is_none_fails_its_call_and_no_other(line: str):
    calls = functions(20)
    (batch,) = job_of(calls).shards[0]
    told(calls[0].job or job_of([]), answers(line, dumps({"value": 2})))
    assert isinstance(batch[0].future.exception(0), RemoteError)
    assert batch[1].future.result(0) == 2


def test_bytes_that_are_not_what_was_settled_are_not_read():
    (call,) = functions(1)
    told(job_of([call]), answers(dumps({"value": 1})), cid=blob.cid_of(b"something else"))
    error = call.future.exception(0)
    assert isinstance(error, RemoteError)
    assert error.code == "bad_result"


def test_an_output_that_is_not_what_its_result_names_is_not_read():
    (call,) = functions(1)
    large = dumps({"value": "x" * 1000}) + "\n"
    job = job_of([call])
    run = answers(large[:-1])
    told(job, run, outputs=[large.replace("x", "y").encode()])
    assert isinstance(call.future.exception(0), RemoteError)
    (other,) = functions(1)
    told(job_of([other]), run, outputs=[large.encode()])
    assert other.future.result(0) == "x" * 1000


@pytest.mark.parametrize("size", [OUTPUT_MAX + 1, 8 << 20])
def test_a_result_of_more_than_was_asked_for_fails_its_call_and_fills_no_memory(size: int):
    (call,) = functions(1)
    job = job_of([call])
    line = dumps({"value": "x" * (size - 13)})
    told(job, answers(line), outputs=[f"{line}\n".encode()] * 2)
    error = call.future.exception(0)
    assert isinstance(error, RemoteError)
    assert error.code == "bad_result"
    assert sum(map(len, job._parts.values())) <= OUTPUT_MAX + STDERR_MAX


def test_an_output_of_another_size_than_its_result_says_is_not_read():
    (call,) = functions(1)
    lines = f"{dumps({'value': 'x' * 1000})}\n".encode()
    named = OutputFile("answers", Output(len(lines) + 1, cid=blob.cid_of(lines)))
    told(job_of([call]), Run("0", "ok", 1, EMPTY, EMPTY, files=(named,)), outputs=[lines])
    assert isinstance(call.future.exception(0), RemoteError)


def test_a_result_with_other_runs_than_its_shard_has_fails_its_calls():
    (call,) = functions(1)
    told(job_of([call]), answers(), answers())
    assert isinstance(call.future.exception(0), RemoteError)


@pytest.mark.parametrize("state", ["failed", "expired", "cancelled"])
def test_a_shard_without_a_result_fails_its_calls_with_its_state(state: str):
    (call,) = functions(1)
    job_of([call])._piece(plain(Piece(shard=0, cid=None, data=b"", state=state)))
    error = call.future.exception(0)
    assert isinstance(error, JobUnfinished)
    assert error.code == state


@given(st.binary(max_size=200))
def test_any_bytes_in_place_of_a_result_are_an_error_of_its_calls(data: bytes):
    (call,) = functions(1)
    job_of([call])._piece(plain(Piece(shard=0, cid=str(blob.cid_of(data)), data=data, state="settled")))
    assert isinstance(call.future.exception(0), FogError)


def test_without_a_node_every_call_ends_with_that(tmp_path: Path):
    calls = functions(3)
    assert job_of(calls, tmp_path).run() == []
    assert {type(call.future.exception(0)).__name__ for call in calls} == {"NodeDown"}


class Thing(msgspec.Struct):
    x: int


def test_what_cannot_be_a_call_is_refused_where_it_is_made(tmp_path: Path):
    with Executor(home=tmp_path) as executor:
        with pytest.raises(UsageError) as refused:
            executor.submit(plain_task, Thing(1))
        assert refused.value.code == "not_plain"
        with pytest.raises(UsageError) as refused:
            executor.submit(lambda: 1)
        assert refused.value.code == "not_shippable"
        with pytest.raises(ValueError, match="chunksize"):
            executor.map(plain_task, [1], chunksize=0)
    with pytest.raises(UsageError) as refused:
        Executor(tmp_path / "nothing.wasm")
    assert refused.value.code == "file"
    with pytest.raises(UsageError) as refused:
        Executor(checks=3)
    assert refused.value.code == "bad_request"
    program = tmp_path / "p.wasm"
    program.write_bytes(b"")
    with Executor(program, home=tmp_path) as executor, pytest.raises(UsageError) as refused:
        executor.submit("text")
    assert refused.value.code == "not_plain"


def plain_task(x: int) -> int:
    return x


def test_a_result_that_nobody_has_any_more_is_an_exception_that_says_so():
    """Of its calls and of no others."""
    calls = functions(2)
    job = job_of(calls)
    reason = b"bafy is at none of 3 nodes"
    job._piece(plain(Piece(shard=0, cid=None, data=reason, state="result_lost")))
    error = calls[0].future.exception(0)
    assert isinstance(error, JobUnfinished)
    assert (error.code, reason.decode() in str(error)) == ("result_lost", True)
    assert "fog job fetch" in (error.next_step or "")
    assert not calls[1].has_ended
