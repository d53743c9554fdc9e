"""How often a run is checked, and that nobody can know which, gain from it, or get around it."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.rules.checking import PPM, RATE_MIN, STREAK_MIN, by_history, floor, is_drawn, rate
from domain.rules.records import Standing
from domain.rules.reputation import history
from tests.domain.rules.veteran import committed, veteran
from tests.domain.rules.world import World

CREDITS = st.integers(0, 2**53)


@given(pay=CREDITS, bond=CREDITS, streak=st.integers(0, 10**6))
def test_a_made_up_run_never_earns_more_than_nothing(pay: int, bond: int, streak: int) -> None:
    """(1 - q) r - q S <= 0 for every price, bond and history: in integers, without a rounding to gain by."""
    q = rate(streak, pay, bond)
    assert RATE_MIN <= q <= PPM
    assert (PPM - q) * pay <= q * bond


@pytest.mark.parametrize(
    ("pay", "bond", "ppm"),
    [
        (1, 0, PPM),
        (100, 0, PPM),
        (100, 100, 500_000),
        (1, 2, 333_334),
        (100, 1_900, 50_000),
        (1, 999, 10_000),
    ],
)
def test_the_floor_is_the_pay_by_pay_and_bond(pay: int, bond: int, ppm: int) -> None:
    assert floor(pay, bond) == ppm


@pytest.mark.parametrize(
    ("streak", "ppm"),
    [(0, PPM), (9, PPM), (10, 100_000), (11, 90_910), (20, 50_000), (100, 10_000), (10**6, RATE_MIN)],
)
def test_after_ten_compared_runs_one_in_so_many_is_checked(streak: int, ppm: int) -> None:
    assert by_history(streak) == ppm


@given(streak=st.integers(0, 10**6), worth=CREDITS, bond=CREDITS)
def test_a_history_is_worth_no_more_than_was_at_stake_for_it(streak: int, worth: int, bond: int) -> None:
    n = history(Standing(streak=streak, worth=worth), bond)
    assert n <= streak
    assert n * bond <= worth or not bond


def test_runs_for_nothing_make_no_history_for_others() -> None:
    """A million compared runs with a bond of 1 are ten with a bond of 100,000."""
    cheap = Standing(streak=10**6, worth=10**6)
    assert by_history(history(cheap, 1)) == RATE_MIN
    assert by_history(history(cheap, 100_000)) == 100_000
    assert by_history(history(cheap, 110_000)) == PPM
    world = World(alice=10**6, **dict.fromkeys(("bob", "carol"), 10_000))
    world.check("""
        offer   bob slots=9 price=0 bond=990     ok
        offer   carol slots=9 price=10 bond=990  ok
    """)
    for n in range(STREAK_MIN + 5):
        world.check(f"""
            submit  alice E{n} bond=0 checks=2   ok
            place
            seal    bob E{n} 0 0 right 7         ok
            place
            seal    carol E{n} 0 1 right 7       ok
            reveal  carol E{n} 0 1 right 7       ok
            reveal  bob E{n} 0 0 right 7         ok
        """)
    world.check(f"streak bob {STREAK_MIN + 5}")
    for n in range(9):
        world.check(f"""
            submit  alice J{n} bond=990 checks=2 ok
            place
            seal    bob J{n} 0 0 right 7         ok
            place
            run     J{n} 0 1 carol check leased
        """)


def test_the_draw_hits_as_often_as_the_rate_says() -> None:
    """10,000 beacons at 5 %: 500 hits, give or take four deviations."""
    hits = sum(is_drawn(hashlib.sha256(b"%d" % n).digest(), b"spot", 0, 50_000) for n in range(10_000))
    assert abs(hits - 500) < 4 * 22
    assert not is_drawn(bytes(32), b"spot", 0, 0)
    assert is_drawn(bytes(32), b"spot", 0, PPM)


def test_a_trusted_run_is_paid_when_it_is_revealed_and_makes_no_history() -> None:
    world = veteran()
    committed(world, fate="trusted")
    streak = world.streaks.get(world.account("bob"), 1_000_000)
    free = world.balances[world.account("bob")][0]
    world.check(f"""
        run       J 0 0 bob work committed bond=990
        reveal    bob J 0 0 right 1000000000   ok
        run       J 0 0 bob work paid paid=1 bond=0
        run       J 0 1 none
        shard     J 0 settled right 1000000000
        job       J done settled=1 spent=1
        balance   bob {free + 1} 0 990
        forfeit   bob J 0 0 none
    """)
    assert world.streaks.get(world.account("bob"), 1_000_000) == streak


def test_a_run_that_is_drawn_is_compared_with_another() -> None:
    world = veteran()
    committed(world, fate="checked")
    world.check("""
        reveal    bob J 0 0 right 1000000000   too_early
        who       c J 0 1
        run       J 0 1 c check leased bond=990
        seal      c J 0 1 right 1000000000     ok
        reveal    c J 0 1 right 1000000000     ok
        reveal    bob J 0 0 right 1000000000   ok
        run       J 0 0 bob work paid paid=1
        run       J 0 1 c check paid paid=10
        job       J done settled=1 spent=11
    """)
    assert world.streaks[world.account("bob")] > 1_000_000


def test_a_wrong_run_forfeits_its_bond_and_its_history() -> None:
    """The submitter gets the third run's pay back, the one it contradicted a twentieth, the rest burns."""
    world = veteran()
    committed(world, fate="checked", what="wrong")
    world.check("""
        who       c J 0 1
        seal      c J 0 1 right 1000000000     ok
        reveal    c J 0 1 right 1000000000     ok
        reveal    bob J 0 0 wrong 1000000000   ok
        shard     J 0 disputed
        place
        who       d J 0 2
        who       e J 0 3
        run       J 0 2 d check leased bond=990
        run       J 0 3 e check leased bond=990
        seal      d J 0 2 right 1000000000     ok
        reveal    d J 0 2 right 1000000000     too_early
        seal      e J 0 3 right 1000000000     ok
        reveal    d J 0 2 right 1000000000     ok
        shard     J 0 disputed
        reveal    e J 0 3 right 1000000000     ok
        shard     J 0 settled right 1000000000
        run       J 0 0 bob work unpaid reason=wrong_result bond=0
        forfeit   bob J 0 0 990 refund=10 bounty=49
        forfeit   c J 0 1 none
        streak    bob 0
        job       J done settled=1 spent=30
    """)
    world.check("""
        submit    alice K bond=990 checks=2    ok
        place
        seal      bob K 0 0 right 1000000000   ok
        place
        run       K 0 0 bob work committed
        shard     K 0 checking
    """)


def test_who_hides_what_is_to_be_compared_loses_as_if_it_were_wrong() -> None:
    world = veteran()
    committed(world, fate="checked", what="wrong")
    world.check("""
        who       c J 0 1
        seal      c J 0 1 right 1000000000     ok
        place
        reveal    c J 0 1 right 1000000000     ok
        close     1
        close     1
        close     1
        close     300000
        close
        run       J 0 0 bob work expired reason=hidden_result
        forfeit   bob J 0 0 990 refund=0 bounty=0
        streak    bob 0
        run       J 0 1 c check revealed bond=990
    """)


def test_a_short_lease_leaves_five_minutes_to_reveal_where_silence_costs_a_bond() -> None:
    """A lease of a second: a laptop whose lid is shut, or that changes networks, is away for longer."""
    world = veteran()
    committed(world, fate="checked", more="lease=1000")
    world.check("""
        who       c J 0 1
        seal      c J 0 1 right 1000000000     ok
        place
        close     120000
        close     179000
        run       J 0 0 bob work committed
        reveal    bob J 0 0 right 1000000000   ok
        reveal    c J 0 1 right 1000000000     ok
        run       J 0 0 bob work paid paid=1
    """)


def test_a_clock_that_jumps_leaves_checkpoints_to_reveal_in() -> None:
    """The network stood still for an hour: nobody could say anything, so nobody hid anything."""
    world = veteran()
    committed(world, fate="checked")
    world.check("""
        who       c J 0 1
        seal      c J 0 1 right 1000000000     ok
        close     1
        close     300000
        close     300000
        run       J 0 0 bob work committed
        reveal    bob J 0 0 right 1000000000   ok
        close     300000
        close     300000
        close     300000
        run       J 0 1 c check expired reason=hidden_result
        forfeit   c J 0 1 990
    """)


def test_what_is_said_in_the_first_checkpoint_after_a_standstill_is_heard() -> None:
    """Checkpoints came in quick succession, and then none for some minutes: bob's word waited in everybody's
    memory, and the checkpoint that orders it is the first whose clock is past his time."""
    world = veteran()
    committed(world, fate="checked")
    world.check("""
        who       c J 0 1
        seal      c J 0 1 right 1000000000     ok
        place
        close     1
        close     1
        close     1
        close     1
        close     400000
        reveal    bob J 0 0 right 1000000000   ok
        close
        forfeit   bob J 0 0 none
        run       J 0 1 c check expired reason=hidden_result
        reveal    c J 0 1 right 1000000000     run_ended
    """)


def test_a_trusted_run_that_is_not_revealed_loses_only_its_pay() -> None:
    """There is nothing to hide from; and the next run of the shard gets a fate of its own."""
    world = veteran()
    committed(world, fate="trusted")
    world.check("""
        place
        close     1
        close     1
        close     1
        close     300000
        close
        run       J 0 0 bob work expired reason=out_of_time
        forfeit   bob J 0 0 none
        shard     J 0 open
        place
        who       w J 0 1
        seal      w J 0 1 right 1000000000     ok
        shard     J 0 checking
    """)


def test_leases_given_back_or_lost_before_a_commitment_cost_no_bond() -> None:
    """A user who came back, a stack that overflowed, a host without memory: released, and not to blame."""
    world = veteran()
    free = world.balances[world.account("bob")][0]
    world.check(f"""
        submit    alice J shards=2 bond=990 checks=2  ok
        place
        balance   bob {free - 2 * 990} 0 1980
        release   bob J 0 0 out_of_memory             ok
        balance   bob {free - 990} 0 990
        close     10000
        close
        run       J 1 0 bob work expired reason=out_of_time
        balance   bob {free} 0 0
        streak    bob 1000000
    """)


def test_every_run_has_a_bond_of_its_own() -> None:
    """An account with credits for two bonds is not leased a third run, whatever slots it offers."""
    world = World(alice=100_000, bob=250)
    world.check("""
        offer     bob slots=9 bond=100            ok
        submit    alice J shards=5 bond=100       ok
        place
        run       J 1 0 bob work leased
        run       J 2 0 none
        balance   bob 50 0 200
        seal      bob J 0 0 right 5               ok
        place
        run       J 2 0 none
        balance   bob 50 0 200
    """)


def test_whoever_pledges_less_than_a_job_asks_for_is_not_leased_it() -> None:
    world = World(alice=100_000, bob=1_000)
    world.check("""
        offer     bob slots=1 bond=99             ok
        offer     carol slots=1 bond=100          ok
        submit    alice J bond=100                ok
        place
        run       J 0 0 none
        offer     bob slots=1 bond=100            ok
        place
        run       J 0 0 bob work leased
        offer     bob slots=0                     ok
        pay       bob alice 900                   ok
        pay       bob alice 1                     insufficient_funds
    """)


def test_no_commitment_is_judged_by_a_beacon_that_its_author_could_know() -> None:
    """The checkpoint that orders it may be busy, and its close ready: the draw waits for the next."""
    world = veteran()
    world.check("""
        submit    alice J bond=990 checks=2    ok
        place
        submit    alice K bond=990 checks=2    ok
        close     1
        seal      bob J 0 0 right 1000000000   ok
        close     1
        shard     J 0 checking
        run       J 0 1 none
    """)
    assert world.state.get("coin", world.jobs["J"] + b"\0\0") is not None
    world.close(1)
    assert world.state.get("coin", world.jobs["J"] + b"\0\0") is None


def test_without_a_bond_or_a_history_everything_is_checked() -> None:
    world = veteran(streak=STREAK_MIN - 1)
    for name in ("K", "L", "M"):
        world.check(f"""
            submit    alice {name} bond=990 checks=2  ok
            place
            seal      bob {name} 0 0 right 1          ok
            place
            shard     {name} 0 checking
            run       {name} 0 0 bob work committed
        """)
        assert (world.jobs[name], 0, 1) in world.history.runs
    poor = veteran()
    for name in ("K", "L", "M"):
        poor.check(f"""
            submit    alice {name} bond=0 checks=2    ok
            place
            seal      bob {name} 0 0 right 1          ok
            place
            shard     {name} 0 checking
        """)
        assert (poor.jobs[name], 0, 1) in poor.history.runs
