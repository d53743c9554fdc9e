"""The executor in a real network: what `concurrent.futures` promises, in the spirit of CPython's own tests.

Most of it with a program of a few instructions, because it is compiled in no time; functions, which need an
interpreter to be compiled on two workers first, in the test that is marked `long`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

from fog.executor import Executor
from fog.exits import NodeDown, ProgramFailed, Refused
from tests.nodes import programs
from tests.nodes.cluster import BUYS, CREDIT, LENDS, Cluster, eventually
from tests.nodes.conftest import Market
from tests.nodes.jobs import runs_of, state_of

pytestmark = pytest.mark.slow

WAIT_S = 120.0

TERMS: dict[str, Any] = {"memory": 4 << 20, "fuel": 10_000_000_000, "lease_s": 120, "deadline_s": 600}


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return programs.write(tmp_path_factory.mktemp("programs"), "copies", programs.copies(1_000))


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return programs.write(tmp_path_factory.mktemp("programs"), "endless", programs.ENDLESS)


@pytest.fixture
def copier(market: Market, copies: Path) -> Iterator[Executor]:
    with Executor(copies, home=market.buyer.home.root, **TERMS) as executor:
        yield executor


def jobs_of(market: Market) -> list[dict[str, Any]]:
    return list(market.buyer.ask("job.list")["jobs"])


def test_map_gives_results_in_the_order_of_its_inputs_and_many_calls_are_one_job(
    market: Market, copier: Executor
):
    before = len(jobs_of(market))
    texts = [f"the text of {number}\n".encode() * (number % 50) for number in range(200)]
    assert list(copier.map(texts, timeout=WAIT_S)) == texts
    assert len(jobs_of(market)) == before + 1
    assert copier.counts == {"jobs": 1, "calls": 200, "shards": 16}


def test_what_came_back_was_run_by_two_accounts_that_agree(market: Market, copier: Executor):
    assert copier.submit(b"twice").result(WAIT_S) == b"twice"
    job = jobs_of(market)[0]["job"]
    runs = runs_of(market.buyer, job)
    assert len({run["worker"] for run in runs if run["state"] == "paid"}) == 2


def test_an_output_too_large_to_stand_in_a_result_is_whole(copier: Executor):
    large = bytes(range(256)) * 2_500  # several chunks
    assert copier.submit(large).result(WAIT_S) == large


def test_as_completed_and_wait_see_every_future_end(copier: Executor):
    calls = {copier.submit(text): text for text in (b"a", b"b", b"c")}
    for future in futures.as_completed(calls, timeout=WAIT_S):
        assert future.result() == calls[future]
    assert futures.wait(calls, timeout=0).not_done == set()


def test_calls_of_several_threads_come_together(copier: Executor):
    found: dict[int, bytes] = {}

    def ask(number: int) -> None:
        found[number] = copier.submit(b"%d" % number).result(WAIT_S)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: b"%d" % number for number in range(8)}


def test_map_gives_up_after_its_timeout_and_cancels_the_rest(market: Market, endless: Path):
    with Executor(endless, home=market.buyer.home.root, checks=0, **TERMS | {"fuel": 10**12}) as executor:
        results = executor.map([b"1", b"2"], timeout=1)
        with pytest.raises(TimeoutError):
            next(results)
    eventually(lambda: jobs_of(market)[0]["state"] == "cancelled", "nobody waits for it: it is cancelled")


def test_a_cancelled_call_ends_at_once_and_costs_nothing_when_it_was_the_last(market: Market, endless: Path):
    with Executor(endless, home=market.buyer.home.root, **TERMS | {"fuel": 10**12}) as executor:
        future = executor.submit(b"")
        eventually(lambda: any(job["state"] == "running" for job in jobs_of(market)), "it was submitted")
        assert future.cancel()
        assert future.cancelled()
        assert futures.wait([future], timeout=5).done == {future}
        with pytest.raises(futures.CancelledError):
            future.result()
    job = jobs_of(market)[0]["job"]
    eventually(lambda: state_of(market.buyer, job)["state"] == "cancelled", "the job is cancelled")
    assert int(state_of(market.buyer, job)["spent"]) == 0


def test_a_call_that_is_cancelled_in_its_window_is_never_sent(market: Market, copies: Path):
    before = len(jobs_of(market))
    with Executor(copies, home=market.buyer.home.root, window_s=5, **TERMS) as executor:
        future = executor.submit(b"never")
        assert future.cancel()
    assert len(jobs_of(market)) == before


def test_one_bad_call_takes_no_other_with_it(market: Market, tmp_path: Path):
    """The calls of a shard share its fuel: those that were left without are run again alone."""
    source = programs.copies(1_000).replace(
        "(br_if $more (i32.load (i32.const 8))))",
        # input that begins with `x` is turned over for ever
        "(br_if $more (i32.load (i32.const 8)))"
        "(br_if $more (i32.eq (i32.load8_u (i32.const 64)) (i32.const 120))))",
    )
    program = programs.write(tmp_path, "turns", source)
    with Executor(program, home=market.buyer.home.root, **TERMS | {"fuel": 100_000_000}) as executor:
        calls = [executor.submit(text) for text in (b"a", b"xx", b"b", b"c")]
        for call in calls:
            call.exception(WAIT_S)
        shards = list(executor.map([b"a", b"b"], timeout=WAIT_S, chunksize=2))
    assert [call.exception() is None for call in calls] == [True, False, True, True]
    error = calls[1].exception()
    assert isinstance(error, ProgramFailed)
    assert error.code == "out_of_fuel"
    assert shards == [b"a", b"b"]


@pytest.mark.parametrize(
    ("source", "code"), [(programs.BOMB, "exit"), (programs.TRAP, "trap"), (programs.FLOOD, "output_limit")]
)
def test_how_a_program_ended_is_the_exception_of_its_call(
    market: Market, tmp_path: Path, source: str, code: str
):
    program = programs.write(tmp_path, code.replace("_", "-"), source)
    with Executor(program, home=market.buyer.home.root, output_max=1 << 20, **TERMS) as executor:
        error = executor.submit(b"").exception(WAIT_S)
    assert isinstance(error, ProgramFailed)
    assert error.code == code


def test_a_job_that_the_rules_refuse_is_the_exception_of_all_its_calls(market: Market, copies: Path):
    with Executor(copies, home=market.buyer.home.root, price=10**12, **TERMS) as executor:
        errors = [future.exception(WAIT_S) for future in [executor.submit(b"1"), executor.submit(b"2")]]
    assert all(isinstance(error, Refused) and error.code == "insufficient_funds" for error in errors)


def test_after_shutdown_nothing_is_taken_and_what_was_taken_ends(copies: Path, market: Market):
    executor = Executor(copies, home=market.buyer.home.root, **TERMS)
    future = executor.submit(b"last")
    executor.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(b"late")
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.map([b"late"])
    assert future.result(WAIT_S) == b"last"
    executor.shutdown()


def test_shutdown_can_cancel_what_has_not_ended(market: Market, endless: Path):
    executor = Executor(endless, home=market.buyer.home.root, **TERMS | {"fuel": 10**12})
    waiting = [executor.submit(b"%d" % number) for number in range(3)]
    executor.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in waiting)


def test_an_executor_without_a_node_says_so_in_every_call(tmp_path: Path, copies: Path):
    with Executor(copies, home=tmp_path / "nowhere", **TERMS) as executor:
        error = executor.submit(b"").exception(WAIT_S)
    assert isinstance(error, NodeDown)


def test_a_node_that_is_killed_and_comes_back_loses_no_call(tmp_path: Path, copies: Path):
    """The job is in the ledger; the executor asks again, for what it has not heard."""
    slow = programs.write(tmp_path, "slow", programs.copies(20_000_000))
    with Cluster(tmp_path) as cluster:
        anchor = cluster.found("anchor", LENDS)
        (buyer,) = cluster.join(buyer=BUYS)
        anchor.ask("wallet.send", to=buyer.account, amount=100 * CREDIT)
        with Executor(slow, home=buyer.home.root, checks=0, **TERMS) as executor:
            texts = [b"%d" % number for number in range(4)]
            calls = [executor.submit(text) for text in texts]
            calls[0].result(WAIT_S)
            buyer.kill()
            buyer.start()
            assert [call.result(WAIT_S) for call in calls] == texts


# -- functions --------------------------------------------------------------------------------------------


def shares(whole: int, parts: int = 3) -> tuple[int, ...]:
    least, more = divmod(whole, parts)
    return tuple(least + (part < more) for part in range(parts))


def fussy(number: int) -> int:
    if number == 3:
        raise ZeroDivisionError("three", number)
    if number == 5:
        raise SystemExit(4)
    while number == 7:
        pass
    return number * number


@pytest.mark.long
def test_functions_run_in_the_sandbox_and_their_faults_are_their_own(tmp_path: Path):
    """An exception, the end of the interpreter and an endless loop, each among calls that end well."""
    with Cluster(tmp_path) as cluster:
        anchor = cluster.found("anchor", LENDS)
        _, buyer = cluster.join(lender=LENDS, buyer=BUYS)
        anchor.ask("wallet.send", to=buyer.account, amount=1_000 * CREDIT)
        terms = {"home": buyer.home.root, "fuel": 4_000_000_000, "lease_s": 900, "deadline_s": 3_600}
        with Executor(**terms) as executor:
            assert list(executor.map(shares, range(2))) == [shares(0), shares(1)]  # compiles the interpreter
            begun = time.monotonic()
            assert list(executor.map(shares, range(300), itertools.repeat(4))) == [
                shares(number, 4) for number in range(300)
            ]
            assert executor.counts["jobs"] == 2
            calls = [executor.submit(fussy, number) for number in range(40)]
            ends = [call.exception() for call in calls]
        assert [number for number, end in enumerate(ends) if end is not None] == [3, 5, 7]
        assert isinstance(ends[3], ZeroDivisionError)
        assert ends[3].args == ("three", 3)
        assert "in fussy" in str(ends[3].__cause__)
        assert isinstance(ends[5], ProgramFailed)
        assert isinstance(ends[7], ProgramFailed)
        assert ends[7].code == "out_of_fuel"
        assert [call.result() for call in calls if call.exception() is None] == [
            number * number for number in range(40) if number not in (3, 5, 7)
        ]
        assert time.monotonic() - begun < 600
