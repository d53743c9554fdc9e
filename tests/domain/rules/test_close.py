"""What happens by itself at the end of a checkpoint, and when the next one must come."""

from __future__ import annotations

import pytest

from domain.rules import close
from tests.domain.rules.world import CREATED, World


def test_a_close_with_nothing_to_do_changes_nothing() -> None:
    world = World(alice=100)
    before = world.state
    world.close()
    assert world.state is before
    assert world.receipts[-1].effects == ()
    world.check("due never")


def test_a_lease_begins_with_a_fresh_clock() -> None:
    """After an hour of silence ledger time is an hour late; the lease is not."""
    world = World(alice=1000)
    world.check("""
        offer   bob slots=1 until=+7200000          ok
        submit  alice J lease=1000 deadline=+7200000   ok
        close   3600000
        run     J 0 0 none
    """)
    fresh = world.time
    world.close(1)
    run = next(iter(world.history.runs.values()))
    assert (run.leased, run.until) == (fresh, fresh + 1000)


def test_the_time_to_reveal_begins_with_a_fresh_clock_too() -> None:
    world = World(alice=1000)
    world.check("""
        offer   bob slots=1 price=1      ok
        offer   carol slots=1 price=2    ok
        submit  alice J lease=1000       ok
        place
        commit  bob J 0 0 right 7        ok
        place
        commit  carol J 0 1 right 7      ok
        close   90000
        due     -89999
    """)
    fresh = world.time
    world.close(1)
    assert {run.until for run in world.history.runs.values()} == {fresh + 1000}


def test_what_stirs_asks_for_one_checkpoint_more_and_then_there_is_peace() -> None:
    world = World(alice=1000)
    world.check("""
        submit  alice J                  ok
        close
        due     1600001
        offer   bob slots=1              ok
        close   1
        due     +0
        close   1
        run     J 0 0 bob work leased
        due     1011002
    """)


def test_a_late_close_deals_with_everything_in_the_order_of_its_time() -> None:
    """A lease that ran out before its job's deadline counts as lost, however late the close."""
    world = World(alice=1000)
    world.check("""
        offer     bob slots=1 until=+30000           ok
        submit    alice J lease=5000 deadline=+20000 ok
        place
        run       J 0 0 bob work leased
        close     1000000
        close
        run       J 0 0 bob work expired
        standing  bob lost=1
        shard     J 0 expired
        job       J expired
        busy      bob 0 of 0
        due       never
    """)


def test_lapses_are_bounded_in_one_close_and_the_rest_is_due_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(close, "LAPSES_MAX", 3)
    world = World(alice=10**6)
    world.check("""
        offer     bob slots=8           ok
        submit    alice J shards=8 lease=5000 deadline=+6000    ok
        place
        busy      bob 8 of 8
        close     5000
        close     1
        busy      bob 5 of 8
        close     1
        busy      bob 2 of 8
        close     1
        busy      bob 0 of 8
        standing  bob lost=8
    """)


def test_the_shards_of_jobs_that_end_together_count_as_work_of_a_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else many jobs with one deadline would make one close, and its receipt, as long as anybody likes."""
    monkeypatch.setattr(close, "LAPSES_MAX", 6)
    world = World(alice=10**6)
    world.check("""
        offer     bob slots=12 until=+60000                        ok
        submit    alice J shards=4 lease=5000 deadline=+100000    ok
        submit    alice K shards=4 lease=5000 deadline=+100000    ok
        submit    alice L shards=4 lease=5000 deadline=+100000    ok
        place
        busy      bob 12 of 12
        offer     bob slots=0                                      ok
        close     5000
        place
        shard     L 3 open
        close     100000
        close     1
    """)
    assert sorted(world.job_is[world.jobs[job]].state for job in "JKL") == ["expired", "expired", "running"]
    world.close(1)
    assert {job.state for job in world.job_is.values()} == {"expired"}
    world.check("due never")


def test_the_last_shard_ends_the_job_and_with_it_its_deadline() -> None:
    world = World(alice=1000)
    world.check("""
        offer     bob slots=1 until=+70000         ok
        submit    alice J checks=0 deadline=+60000 ok
        place
        commit    bob J 0 0 right 7                ok
        reveal    bob J 0 0 right 7                ok
        job       J done
    """)
    world.place()
    assert world.rules.due(world.state) == CREATED + 1 + 70_000
    kept = {"account", "bond", "agenda", "idle", "offer", "params", "supply", "validators"}
    assert set(world.state.tables()) == kept, "a job that is over left something"
