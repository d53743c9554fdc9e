"""Who is paid when results agree, and when they do not."""

from __future__ import annotations

from tests.domain.rules.world import World


def disputed() -> World:
    """Bob and one of the others gave different results for shard 0; a third run is drawn."""
    world = World(alice=1000)
    world.check("""
        offer     bob slots=1 price=1     ok
        offer     carol slots=1 price=5   ok
        offer     dave slots=1 price=5    ok
        submit    alice J                 ok
        place
        who       first J 0 0
        commit    first J 0 0 wrong 1000000000   ok
        place
        who       second J 0 1
        commit    second J 0 1 right 1000000000  ok
        reveal    first J 0 0 wrong 1000000000   ok
        reveal    second J 0 1 right 1000000000  ok
        shard     J 0 disputed
        run       J 0 0 first work revealed
        place
        who       third J 0 2
    """)
    return world


def test_the_majority_of_three_is_paid_and_the_third_was_wrong() -> None:
    world = disputed()
    world.check("""
        run       J 0 2 third check leased
        reveal    third J 0 2 right 1000000000   not_committed
        commit    third J 0 2 right 1000000000   ok
        reveal    third J 0 2 right 1000000000   ok
        shard     J 0 settled right 1000000000
        run       J 0 0 first work unpaid reason=wrong_result
        run       J 0 1 second check paid paid=5
        run       J 0 2 third check paid paid=5
        standing  first wrong=1
        standing  second agreed=1
        standing  third agreed=1
        job       J done settled=1 spent=10
        balance   alice 990 0
        balance   first 0
    """)


def test_a_checker_that_was_wrong_is_the_one_not_paid() -> None:
    disputed().check("""
        commit    third J 0 2 wrong 1000000000   ok
        reveal    third J 0 2 wrong 1000000000   ok
        shard     J 0 settled wrong 1000000000
        run       J 0 1 second check unpaid
        run       J 0 0 first work paid paid=1
        standing  second wrong=1
    """)


def test_three_different_results_settle_nothing_and_blame_nobody() -> None:
    disputed().check("""
        commit    third J 0 2 odd 1000000000     ok
        reveal    third J 0 2 odd 1000000000     ok
        shard     J 0 failed
        run       J 0 2 third check unpaid reason=no_majority
        standing  first
        standing  third
        job       J done settled=0 failed=1 spent=0
        balance   alice 1000 0
    """)


def test_the_same_output_for_different_fuel_is_a_different_result() -> None:
    """Fuel is what is paid for, so a claim of more is a lie like any other."""
    world = World(alice=1000)
    world.check("""
        offer     bob slots=1         ok
        offer     carol slots=1       ok
        submit    alice J             ok
        place
        who       first J 0 0
        commit    first J 0 0 right 8        ok
        place
        who       second J 0 1
        commit    second J 0 1 right 7       ok
        reveal    second J 0 1 right 7       ok
        reveal    first J 0 0 right 8        ok
        shard     J 0 disputed
    """)


def test_a_shard_without_a_third_account_waits_and_is_refunded_in_the_end() -> None:
    world = World(alice=1000)
    world.check("""
        offer     bob slots=1         ok
        offer     carol slots=1       ok
        submit    alice J deadline=+60000    ok
        place
        who       first J 0 0
        commit    first J 0 0 right 8        ok
        place
        who       second J 0 1
        commit    second J 0 1 right 7       ok
        reveal    second J 0 1 right 7       ok
        reveal    first J 0 0 right 8        ok
        place
        run       J 0 2 none
        close     60000
        close     60000
        close
        shard     J 0 expired
        run       J 0 0 first work unpaid reason=out_of_time
        balance   alice 1000 0
        standing  first
    """)


def test_a_shard_fails_when_its_attempts_are_used_up() -> None:
    world = World({"attempts_max": 3}, alice=1000)
    world.check("""
        offer     bob slots=1         ok
        submit    alice J shards=2    ok
        place
        release   bob J 0 0 tired     ok
        place
        release   bob J 0 1 tired     ok
        place
        release   bob J 0 2 tired     ok
        shard     J 0 failed
        job       J running failed=1
        balance   alice 970 30
        standing  bob lost=3
        place
        run       J 1 0 bob work leased
    """)


def test_a_commitment_that_finds_no_second_run_in_time_is_dropped_without_blame() -> None:
    world = World({"attempts_max": 3}, alice=1000)
    world.check("""
        offer     bob slots=1         ok
        submit    alice J             ok
        place
        commit    bob J 0 0 right 7   ok
        offer     carol slots=1       ok
        place
        release   carol J 0 1 tired   ok
        place
        release   carol J 0 2 tired   ok
        shard     J 0 failed
        run       J 0 0 bob work unpaid reason=attempts_exhausted
        standing  bob
        standing  carol lost=2
        job       J done failed=1
        balance   alice 1000 0
    """)
