"""How often checkpoints come: quickly for a lone job, more rarely when many runs fill each of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.effects import JobIs, RunIs, RunState
from domain.rules.records import Checks
from fog.tempo import HALF_MS, NOTHING, SLOWEST_MS, Going, going_on, interval
from ledger.cid import Cid
from ledger.database import connect, writing
from projections import schedules
from projections.model import METADATA, Batch, Entry


def test_a_lone_job_waits_no_longer_than_the_setting_says():
    assert [interval(50, Going(live, 2 * live), waiting=0) for live in (1, 2)] == [50, 50]
    assert interval(50, NOTHING, waiting=0) == 50


def test_many_runs_wait_for_each_other():
    live = (3, 5, 8, 11, 12, 1000)
    assert [interval(50, Going(runs, 2 * runs), waiting=2) for runs in live] == [
        150,
        350,
        650,
        950,
        SLOWEST_MS,
        SLOWEST_MS,
    ]


def test_when_half_is_said_workers_may_soon_have_nothing_to_do():
    assert [interval(50, Going(20, 40), waiting) for waiting in (19, 20, 39)] == [
        SLOWEST_MS,
        HALF_MS,
        HALF_MS,
    ]
    assert interval(50, Going(3, 6), waiting=5) == 150


def test_when_everybody_has_spoken_nobody_waits_any_more():
    """As at the end of a job: nothing else is to come, and its submitter waits."""
    assert [interval(50, Going(20, 40), waiting) for waiting in (0, 39, 40, 90)] == [
        SLOWEST_MS,
        HALF_MS,
        50,
        50,
    ]


@given(usual=st.integers(10, 600_000), live=st.integers(0, 10_000), waiting=st.integers(0, 10_000))
def test_never_quicker_than_the_setting_nor_slower_than_that_or_the_bound(
    usual: int, live: int, waiting: int
):
    assert usual <= interval(usual, Going(live, 2 * live), waiting) <= max(usual, SLOWEST_MS)


def test_what_nobody_checks_is_said_in_two_events():
    """A commitment, and the reveal with it or later. What is revealed or over is owed by nobody."""
    assert going(
        Checks.NEVER, ("leased",), ("leased",), ("committed",), ("revealed",), ("expired",)
    ) == Going(runs=3, events=2 + 2 + 1)
    assert going(Checks.NEVER) == NOTHING


def test_what_is_checked_is_revealed_when_all_have_committed_and_a_checker_is_drawn_by_a_checkpoint():
    """So a checkpoint must not wait for words that wait for it."""
    checked = [("leased",), ("committed",), ("committed", "leased"), ("committed", "committed")]
    assert [going(Checks.ALWAYS, states).events for states in checked] == [1, 0, 1, 2]
    assert going(Checks.ALWAYS, *checked) == Going(runs=6, events=4)


def going(checks: int, *shards: tuple[RunState, ...]) -> Going:
    job = Cid.of(bytes([checks]))
    effects = [
        run_is(job, shard, attempt, state)
        for shard, states in enumerate(shards)
        for attempt, state in enumerate(states)
    ]
    engine = connect("sqlite://")
    with writing(engine) as conn:
        METADATA.create_all(conn)
        schedules.fold(conn, Batch([Entry(1, 1, 0, 0, None, None, "ok", (job_is(job, checks), *effects))]))
        return going_on(conn)


def job_is(job: Cid, checks: int) -> JobIs:
    return JobIs(job, bytes(32), "running", job, 5, 0, 0, 0, 0, 0, 0, 0, 0, checks)


def run_is(job: Cid, shard: int, attempt: int, state: RunState) -> RunIs:
    return RunIs(job, shard, attempt, bytes(32), bytes(32), "work", state, 0, 0)
