"""A job holds the escrow for all it may cost, and gives back all it did not."""

from __future__ import annotations

import pytest

from domain.rules import jobs, terms
from ledger.types import INT63_MAX
from tests.domain.rules.world import CREATED, World


def test_a_job_takes_its_escrow_when_it_is_submitted() -> None:
    """Three runs a shard when results are checked, one when not; each rounded up."""
    world = World(alice=1000)
    world.check("""
        submit   alice J shards=4 price=10                     ok
        balance  alice 880 120
        submit   alice K shards=4 price=10 checks=0            ok
        balance  alice 840 160
        submit   alice L shards=1 price=1 fuel=1 checks=0      ok
        balance  alice 839 161
        submit   alice M shards=1 price=0                      ok
        balance  alice 839 161
        submit   alice N shards=280 price=1                    insufficient_funds
        submit   bob   O                                       insufficient_funds
    """)


def test_escrow_beyond_any_balance_is_refused_not_overflowed() -> None:
    world = World(alice=INT63_MAX - 1)
    world.check(f"submit alice J shards=4096 price={INT63_MAX} fuel={INT63_MAX}  insufficient_funds")


def test_times_that_make_no_sense_are_refused() -> None:
    world = World({"lease_min_ms": 2000, "deadline_max_ms": 60_000}, alice=1000)
    world.check("""
        submit  alice J lease=1999 deadline=+60000    lease_too_short
        submit  alice J lease=2000 deadline=+1999     deadline_too_soon
        submit  alice J lease=2000 deadline=+60001    deadline_too_far
        submit  alice J lease=2000 deadline=+2000     ok
    """)


def test_submitting_writes_the_same_few_rows_for_one_shard_and_for_4096() -> None:
    """Shards have no row and no effect before their first lease."""
    small, large = World(alice=10**9), World(alice=10**9)
    small.check("submit alice J shards=1 ok")
    large.check("submit alice J shards=4096 ok")
    assert len(small.state.changes) == len(large.state.changes)
    assert len(large.receipts[-1].effects) == 2
    large.check("""
        shard  J 4095 none
        job    J running settled=0
    """)


def test_a_cancelled_job_gives_back_what_was_not_begun_and_ends() -> None:
    world = World(alice=1000)
    world.check("""
        submit   alice J shards=3    ok
        balance  alice 910 90
        cancel   bob J               not_yours
        cancel   alice J             ok
        balance  alice 1000 0
        job      J cancelled spent=0
        cancel   alice J             unknown_job
        due      never
    """)


def test_cancelling_drops_runs_that_have_not_committed_without_blame() -> None:
    world = World(alice=1000)
    world.check("""
        offer     bob slots=1            ok
        submit    alice J shards=2       ok
        place
        run       J 0 0 bob work leased
        cancel    alice J                ok
        run       J 0 0 bob work unpaid reason=job_ended
        shard     J 0 cancelled
        shard     J 1 none
        busy      bob 0 of 1
        standing  bob
        balance   alice 1000 0
        commit    bob J 0 0 right 5      unknown_job
    """)


def test_what_has_committed_when_its_job_is_cancelled_is_checked_and_paid() -> None:
    world = World(alice=1000)
    world.check("""
        offer     bob slots=1 price=5       ok
        offer     carol slots=1 price=7     ok
        submit    alice J shards=2          ok
        place
        commit    bob J 0 0 right 1000000000     ok
        cancel    alice J                   ok
        cancel    alice J                   job_not_running
        shard     J 1 cancelled
        balance   alice 970 30
        place
        run       J 0 1 carol check leased
        commit    carol J 0 1 right 1000000000   ok
        reveal    bob J 0 0 right 1000000000     ok
        reveal    carol J 0 1 right 1000000000   ok
        shard     J 0 settled right 1000000000
        job       J cancelled settled=1 spent=12
        balance   alice 988 0
        balance   bob 5
        balance   carol 7
    """)


def test_at_the_deadline_what_is_not_committed_is_refunded() -> None:
    """A lease is only given while a whole one fits, so nobody is caught computing."""
    world = World(alice=1000)
    world.check("""
        offer     bob slots=1              ok
        submit    alice J shards=3 lease=10000 deadline=+25000   ok
        place
        run       J 0 0 bob work leased
        close     10000
        close     10000
        run       J 0 0 bob work expired reason=out_of_time
        standing  bob lost=1
        place
        run       J 0 1 none
        run       J 1 0 none
        close     5000
        close
        job       J expired spent=0
        balance   alice 1000 0
        shard     J 0 expired
    """)


def test_what_waits_for_a_checker_that_never_comes_ends_at_the_last_moment() -> None:
    """Nobody is paid unchecked, nobody is blamed, and no escrow is locked for ever."""
    world = World(alice=1000)
    world.check("""
        offer     bob slots=1              ok
        submit    alice J shards=1 lease=10000 deadline=+20000   ok
        place
        commit    bob J 0 0 right 7        ok
        place
        due       1020001
        close     20000
        close
        job       J expired
        balance   alice 970 30
        due       1060001
        close     40000
        close
        shard     J 0 expired
        run       J 0 0 bob work unpaid reason=out_of_time
        standing  bob
        balance   alice 1000 0
    """)


def test_the_network_runs_a_bounded_number_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "JOBS_MAX", 2)
    world = World(alice=1000)
    world.check("""
        submit  alice J     ok
        submit  alice K     ok
        submit  alice L     jobs_full
        cancel  alice J     ok
        submit  alice L     ok
    """)


def test_charges_round_up_and_payments_round_down() -> None:
    assert terms.unit(1, 1) == 1
    assert terms.payment(999_999_999, 1) == 0
    assert terms.escrow(shards=3, fuel=1_500_000_000, price=3, checks=1) == 3 * 3 * 5
    assert terms.escrow(shards=3, fuel=1_500_000_000, price=3, checks=0) == 3 * 5


def test_who_committed_has_a_whole_lease_to_reveal() -> None:
    """No checker is drawn who would leave the one it checks less."""
    story = """
        offer     bob slots=1 until=+90000              ok
        submit    alice J lease=10000 deadline=+20000   ok
        place
        commit    bob J 0 0 right 7        ok
        close     20000
        close     {wait}
        offer     carol slots=1            ok
        place
        run       J 0 1 {drawn}
    """
    world = World(alice=1000)
    world.check(story.format(wait=19_900, drawn="carol check leased"))
    world.check("""
        close     9800
        commit    carol J 0 1 right 7      ok
        place
    """)
    last = CREATED + 1 + 20_000 + 4 * 10_000
    (until,) = {run.until for run in world.history.runs.values()}
    assert last - 500 < until <= last
    late = World(alice=1000)
    late.check(story.format(wait=20_000, drawn="none"))
