"""A run that nobody is there to check locks its bond for a while only; and no lie is paid meanwhile."""

from __future__ import annotations

from domain.rules.records import STANDING, Standing
from domain.rules.waiting import WAITS_MAX
from tests.domain.rules.world import World

LOOK = 60_000
PARAMS = {"appeal_ms": LOOK}


def alone(checks: int = 1, **others: int) -> World:
    """Bob pledges 990, as nobody else does, and has a history; his run has committed."""
    world = World(PARAMS, alice=10_000, bob=2_000, **others)
    row = STANDING.encode(Standing(agreed=10**6, streak=10**6, worth=10**12))
    world.state = world.state.put(STANDING.name, world.account("bob"), row)
    world.check(f"""
        offer     bob slots=9 price=1 bond=990             ok
        offer     poor slots=9 price=1 bond=990            ok
        offer     alice slots=9 price=1 bond=990           ok
        submit    alice J bond=990 checks={checks} price=10 deadline=+80000000 ok
        place
        run       J 0 0 bob work leased
        seal      bob J 0 0 right 1000000000               ok
        place
        balance   bob 1010 0 990
    """)
    return world


def test_a_bond_comes_back_when_nobody_stands_who_could_check() -> None:
    """Not the submitter, and not who has no credits: at the next look, a day before the job ends."""
    world = alone()
    for _ in range(5):
        world.close(1)
    world.check(f"""
        close     {LOOK}
        balance   bob 1010 0 990
        close
        run       J 0 0 bob work unpaid reason=no_checker
        balance   bob 2000
        forfeit   bob J 0 0 none
        standing  bob
        shard     J 0 failed
        job       J done failed=1
        balance   alice 10000
    """)


def test_nothing_is_taken_on_trust_while_nobody_stands_who_could_check() -> None:
    """Else who pledges what nobody else has is paid for most of its lies, and not punished for the rest."""
    for height in range(12):
        world = World(PARAMS, alice=10_000, bob=100_000)
        row = STANDING.encode(Standing(agreed=10**6, streak=10**6, worth=10**12))
        world.state = world.state.put(STANDING.name, world.account("bob"), row)
        world.height += 100 * height
        world.check("""
            offer     bob slots=9 price=1 bond=990             ok
            submit    alice J shards=4 bond=990 checks=2 price=10  ok
            place
        """)
        for shard in range(4):
            world.check(f"seal bob J {shard} 0 wrong 1000000000 ok")
        world.place()
        for shard in range(4):
            world.check(f"shard J {shard} checking")


def test_as_soon_as_somebody_stands_the_fate_is_drawn() -> None:
    world = alone(checks=2, carol=990)
    world.check("""
        shard     J 0 checking
        offer     carol slots=1 price=9 bond=990           ok
        place
    """)
    assert world.state.get("coin", world.jobs["J"] + b"\0\0") is None


def test_while_somebody_stands_who_is_busy_the_run_waits_on() -> None:
    world = alone(carol=2_000)
    world.check("""
        offer     bob slots=0                              ok
        submit    alice K bond=990 checks=0 price=10 lease=80000  ok
        offer     carol slots=1 price=9 bond=990           ok
        place
    """)
    busy = "J" if (world.jobs["J"], 0, 1) in world.history.runs else "K"
    assert busy == "J", "checkers are drawn first"
    world.check("""
        release   carol J 0 1 tired                        ok
        place
        run       J 0 2 carol check leased
        offer     carol slots=0                            ok
        release   carol J 0 2 tired                        ok
    """)


def test_who_stands_and_never_is_idle_holds_a_bond_for_hours_and_not_for_ever() -> None:
    """Carol's only slot is busy with a lease of a day."""
    world = World(PARAMS, alice=10_000, bob=2_000, carol=990)
    world.check("""
        offer     carol slots=1 price=1 bond=990           ok
        submit    alice K checks=0 lease=80000000 deadline=+86000000 ok
        place
        run       K 0 0 carol work leased
        offer     bob slots=1 price=1 bond=990             ok
        submit    alice J bond=990 checks=1 price=10 deadline=+86000000 ok
        place
        seal      bob J 0 0 right 5                        ok
        close     1
        close     1
        close     1
        close     1
    """)
    for _ in range(WAITS_MAX - 1):
        world.close(LOOK)
    world.check(f"""
        close     {LOOK}
        run       J 0 0 bob work committed
        balance   bob 1010 0 990
        close     {LOOK}
        close
        run       J 0 0 bob work unpaid reason=no_checker
        balance   bob 2000
    """)


def test_a_network_that_stood_still_gives_nobody_up() -> None:
    """An hour passes from one checkpoint to the next: nobody could have been drawn in it."""
    world = World(PARAMS, alice=10_000, bob=2_000, carol=990)
    world.check("""
        offer     bob slots=1 price=1 bond=990             ok
        submit    alice J bond=990 checks=1 price=10 deadline=+80000000 ok
        place
        seal      bob J 0 0 right 5                        ok
        close     3600000
        close     1
        run       J 0 0 bob work committed
        offer     carol slots=1 price=1 bond=990           ok
        place
        run       J 0 1 carol check leased
    """)


def test_what_is_revealed_and_differs_is_not_given_up_before_the_job_ends() -> None:
    """One of the two lies: a wait that ends would let it keep its bond."""
    world = alone(carol=990)
    world.check("""
        offer     carol slots=1 price=9 bond=990           ok
        place
        run       J 0 1 carol check leased
        seal      carol J 0 1 wrong 5                      ok
        reveal    carol J 0 1 wrong 5                      ok
        reveal    bob J 0 0 right 1000000000               ok
        shard     J 0 disputed
    """)
    for _ in range(50):
        world.close(LOOK)
    world.check("""
        shard     J 0 disputed
        balance   carol 0 0 990
    """)
