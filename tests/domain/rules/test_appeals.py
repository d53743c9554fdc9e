"""A result that was taken, and doubted: who pays, who is slashed, and that doubting alone is no weapon."""

from __future__ import annotations

from domain.rules.waiting import APPEAL_WAITS_MAX, WAITS_MAX
from tests.domain.rules.world import World

PARAMS = {"appeal_ms": 60_000}
PEOPLE = ("bob", "carol", "dave", "erin", "frank", "gina")


def settled(what: str = "wrong", *, checks: int = 0) -> World:
    """Bob alone was paid for shard 1 of J; his bond of 990 stays pledged."""
    world = World(PARAMS, alice=10_000, zoe=1_000, **dict.fromkeys(PEOPLE, 5_000))
    world.check("offer bob slots=9 price=1 bond=990 ok")
    world.check(f"""
        submit    alice J shards=2 bond=990 checks={checks} price=10   ok
        place
        run       J 1 0 bob work leased
        seal      bob J 1 0 {what} 1000000000   ok
    """)
    for name in PEOPLE[1:]:
        world.check(f"offer {name} slots=9 price=10 bond=990 ok")
    if not checks:
        world.check(f"""
            reveal    bob J 1 0 {what} 1000000000   ok
            shard     J 1 settled {what} 1000000000
            run       J 1 0 bob work paid paid=1
            balance   bob 3021 0 1980
        """)
    return world


def jury(world: World, *says: str, job: str = "A", shard: int = 1) -> None:
    """Whoever is drawn says this, each stage after the other commits."""
    world.place()
    done = 0
    for stage in (2, 4, 5, 6, 7):
        stage = min(stage, len(says))
        for attempt in range(done, stage):
            world.check(f"who j{attempt} {job} {shard} {attempt}")
            world.check(f"seal j{attempt} {job} {shard} {attempt} {says[attempt]} 1000000000 ok")
        for attempt in range(done, stage):
            world.check(f"reveal j{attempt} {job} {shard} {attempt} {says[attempt]} 1000000000 ok")
        if stage == len(says):
            return
        world.place()
        done = stage


def test_a_wrong_result_is_overturned_by_strangers() -> None:
    """Alice has her pay back, zoe what the jury cost and a twentieth of the rest; the rest is burned."""
    world = settled()
    world.check("""
        appeal    zoe A J 1                 ok
        balance   zoe 921 30 49
        job       A running settled=0 shards=1
        verdict   A open
        appeal    alice B J 1               already_appealed
        cancel    zoe A                     appeal_stands
    """)
    jury(world, "right", "right")
    world.check("""
        shard     A 1 settled right 1000000000
        job       A done spent=20 settled=1
        verdict   A overturned
        forfeit   bob J 1 0 990 refund=1 bounty=68
        balance   zoe 1048 0
        standing  bob wrong=1
        streak    bob 0
        appeal    zoe B J 1                 no_verdict
    """)


def test_a_right_result_is_upheld_and_the_doubt_costs_the_jury() -> None:
    """So nobody is pestered for nothing: bob has zoe's deposit, and his bond is free at once."""
    world = settled("right")
    world.check("appeal zoe A J 1 ok")
    jury(world, "right", "right")
    world.check("""
        verdict   A upheld
        forfeit   bob J 1 0 none
        balance   bob 4060 0 990
        balance   zoe 931 0
        standing  bob
        appeal    alice B J 1               no_verdict
    """)


def test_a_doubt_costs_something_where_work_costs_nothing() -> None:
    """At price 0 the jury is paid nothing; a twentieth of the bond goes to those who were doubted."""
    world = World(PARAMS, alice=10_000, zoe=60, **dict.fromkeys(PEOPLE, 5_000))
    for name in PEOPLE:
        world.check(f"offer {name} slots=9 price=0 bond=990 ok")
    world.check("""
        submit    alice J bond=990 checks=1 price=0  ok
        place
        who       w J 0 0
        seal      w J 0 0 right 5                 ok
        place
        who       c J 0 1
        seal      c J 0 1 right 5                 ok
        reveal    w J 0 0 right 5                 ok
        reveal    c J 0 1 right 5                 ok
        balance   w 4010 0 990
        appeal    zoe A J 0                       ok
        balance   zoe 11 0 49
    """)
    world.place()
    for attempt in (0, 1):
        world.check(f"who j{attempt} A 0 {attempt}")
        world.check(f"seal j{attempt} A 0 {attempt} right 5 ok")
    for attempt in (0, 1):
        world.check(f"reveal j{attempt} A 0 {attempt} right 5 ok")
    world.check("""
        verdict   A upheld
        balance   zoe 11 0
        balance   w 5024 0
        balance   c 5024 0
        pay       zoe alice 12                    insufficient_funds
    """)


def test_one_liar_on_the_jury_does_not_overturn_a_right_result() -> None:
    """It is contradicted, two more are drawn, and it loses its own bond."""
    world = settled("right")
    world.check("appeal zoe A J 1 ok")
    jury(world, "wrong", "right", "right", "right")
    world.check("""
        verdict   A upheld
        forfeit   bob J 1 0 none
        forfeit   j0 A 1 0 990
    """)


def test_nobody_who_had_to_do_with_the_result_judges_it() -> None:
    """Not who was paid for it, and not who doubts it: also when nobody else is there."""
    world = settled()
    world.check("""
        offer     zoe slots=9 price=1 bond=990    ok
        appeal    zoe A J 1                       ok
    """)
    for name in PEOPLE[1:]:
        world.check(f"offer {name} slots=0 ok")
    world.check("""
        place
        run       A 1 0 none
        close     80000
        close
        verdict   A void
        balance   zoe 1000 0
        job       A expired
    """)


def test_an_appeal_without_a_jury_leaves_the_time_to_appeal_again() -> None:
    world = settled()
    for name in PEOPLE[1:]:
        world.check(f"offer {name} slots=0 ok")
    world.check("""
        appeal    zoe A J 1                       ok
        close     80000
        close
        verdict   A void
        appeal    alice B J 1                     ok
    """)


def test_appeals_without_a_jury_do_not_hold_a_bond_for_ever() -> None:
    """They cost nothing, so there is a second one and no third."""
    world = settled()
    for name in PEOPLE[1:]:
        world.check(f"offer {name} slots=0 ok")
    world.check("""
        appeal    zoe A J 1                       ok
        close     80000
        close
        verdict   A void
        appeal    zoe B J 1                       ok
        close     80000
        close
        verdict   B void
        balance   bob 4011 0 990
        appeal    zoe C J 1                       no_verdict
    """)


def doubted_for_days(**others: int) -> World:
    """Bob was paid for a run with a lease of a day, so an appeal has eight days."""
    world = World(PARAMS, alice=10_000, bob=1_000, **others)
    world.check("""
        offer     bob slots=1 price=1 bond=990     ok
        submit    alice J bond=990 checks=0 price=10 lease=80000000 deadline=+90000000 ok
        place
        seal      bob J 0 0 right 1000000000       ok
        reveal    bob J 0 0 right 1000000000       ok
        balance   bob 11 0 990
        offer     bob slots=0                      ok
    """)
    return world


def test_an_appeal_that_nobody_can_judge_holds_no_bond_for_days() -> None:
    """Else alice would lock what bob has, and get back what it costs her."""
    world = doubted_for_days()
    for name in ("A", "B"):
        world.check(f"""
            appeal    alice {name} J 0             ok
            close     1
            close     1
            close     1
            close     60000
        """)
        for _ in range(APPEAL_WAITS_MAX):
            world.check(f"verdict {name} open")
            world.close(60_000)
        world.check(f"verdict {name} void")
    world.check("balance bob 1001")


def test_an_appeal_waits_while_somebody_stands_who_could_judge() -> None:
    """Carol is busy for hours: a liar gains nothing by that."""
    world = doubted_for_days(carol=1_000)
    world.check("""
        offer     carol slots=1 price=1 bond=990   ok
        submit    alice K checks=0 lease=80000000 deadline=+90000000 ok
        place
        run       K 0 0 carol work leased
        offer     carol slots=1 price=1 bond=990 until=+86000000  ok
        appeal    alice A J 0                      ok
    """)
    for _ in range(2 * WAITS_MAX):
        world.close(60_000)
    world.check("""
        verdict   A open
        release   carol K 0 0 tired                ok
        place
        run       A 0 0 carol check leased
    """)


def test_who_paid_for_the_result_is_not_drawn_to_judge_it() -> None:
    world = settled()
    for name in PEOPLE[1:]:
        world.check(f"offer {name} slots=0 ok")
    world.check("""
        offer     alice slots=9 price=10 bond=990 ok
        close     1
        appeal    zoe A J 1                       ok
        place
        run       A 1 0 none
    """)


def test_a_jury_could_copy_what_is_doubted_and_so_makes_no_history() -> None:
    world = settled("right")
    world.check("appeal zoe A J 1 ok")
    jury(world, "right", "right")
    world.check("""
        standing  j0 agreed=1
        standing  j1 agreed=1
        streak    j0 0
        streak    j1 0
    """)


def test_all_of_a_jury_are_drawn_and_none_is_cheaper() -> None:
    """Work goes to the cheapest, whom a liar can be; a judge is drawn."""
    names = set()
    for height in range(12):
        world = settled("right")
        for _ in range(height):
            world.close(1)
        world.check("offer carol slots=9 price=0 bond=990 ok")
        world.close(1)
        world.check("appeal zoe A J 1 ok")
        world.place()
        run = world.history.runs[world.jobs["A"], 1, 0]
        assert run.role == "check"
        names.add(world.name(run.worker))
    assert len(names) > 1


def test_the_time_to_appeal_ends_and_the_bond_is_free() -> None:
    world = settled()
    world.check("""
        close     59000
        balance   bob 3021 0 1980
        close     2000
        close
        appeal    zoe A J 1                       no_verdict
        run       J 0 0 bob work expired
        balance   bob 5001 0 0
    """)


def test_two_who_agreed_on_a_lie_both_lose_their_bonds() -> None:
    """The check was by a partner; somebody who knew the answer doubts it."""
    world = settled(checks=1)
    world.check("""
        place
        who       c J 1 1
        seal      c J 1 1 wrong 1000000000        ok
        reveal    bob J 1 0 wrong 1000000000      ok
        reveal    c J 1 1 wrong 1000000000        ok
        shard     J 1 settled wrong 1000000000
        standing  bob agreed=1
        appeal    alice A J 1                     ok
    """)
    jury(world, "right", "right")
    world.check("""
        verdict   A overturned
        forfeit   bob J 1 0 990 refund=1 bounty=68
        forfeit   c J 1 1 990 refund=10 bounty=49
        standing  bob agreed=1 wrong=1
        streak    bob 0
    """)


def test_what_had_no_bond_or_did_not_settle_cannot_be_appealed() -> None:
    world = World(PARAMS, alice=10_000)
    world.check("""
        offer     bob slots=1                     ok
        submit    alice J checks=0                ok
        appeal    alice A J 0                     no_verdict
        place
        commit    bob J 0 0 right 5               ok
        reveal    bob J 0 0 right 5               ok
        appeal    alice A J 0                     no_verdict
    """)


def test_an_appeal_needs_credits_for_the_jury() -> None:
    settled().check("appeal nobody A J 1 insufficient_funds")
