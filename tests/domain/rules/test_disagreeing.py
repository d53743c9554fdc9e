"""Runs that do not agree, or could have been copied: how many more it takes, and whom it costs a bond."""

from __future__ import annotations

from domain.payloads import LeaseReveal, SealedCommit
from domain.rules.records import SHARD
from tests.domain.rules.veteran import committed, hidden, veteran
from tests.domain.rules.world import result_of, salt_of


def test_a_checker_that_is_lost_gives_no_second_draw() -> None:
    world = veteran()
    committed(world, fate="checked")
    for attempt in range(1, 7):
        world.check(f"""
            who       c J 0 {attempt}
            release   c J 0 {attempt} tired        ok
            place
            shard     J 0 checking
            reveal    bob J 0 0 right 1000000000   too_early
        """)


def test_a_run_that_could_have_been_copied_makes_no_history() -> None:
    """Whoever is drawn into a dispute has seen both results: it agreed, and that makes no history."""
    world = veteran()
    committed(world, fate="checked", what="wrong")
    world.check("""
        who       c J 0 1
        seal      c J 0 1 right 1000000000     ok
        reveal    c J 0 1 right 1000000000     ok
        reveal    bob J 0 0 wrong 1000000000   ok
        place
        who       d J 0 2
        who       e J 0 3
    """)
    blind, late = (world.streaks.get(world.account(name), 0) for name in ("c", "d"))
    world.check(f"""
        seal      d J 0 2 right 1000000000     ok
        seal      e J 0 3 right 1000000000     ok
        reveal    d J 0 2 right 1000000000     ok
        reveal    e J 0 3 right 1000000000     ok
        streak    c {blind + 1}
        streak    d {late}
    """)


def test_who_takes_the_place_of_one_that_was_hidden_could_copy_so_it_takes_two() -> None:
    """Carol's lie is public when dave is drawn; bob hid, and lost his bond for it."""
    world = veteran(frank=5_000)
    world.check("offer frank slots=9 price=10 bond=990 ok")
    hidden(world, "wrong")
    world.check("""
        seal      d J 0 2 wrong 1000000000     ok
        reveal    d J 0 2 wrong 1000000000     too_early
        seal      e J 0 3 right 1000000000     ok
        reveal    d J 0 2 wrong 1000000000     ok
        reveal    e J 0 3 right 1000000000     ok
        shard     J 0 disputed
        place
        who       f J 0 4
        seal      f J 0 4 right 1000000000     ok
        reveal    f J 0 4 right 1000000000     ok
        place
        shard     J 0 disputed
    """)


def test_nobody_is_drawn_for_a_shard_whose_attempts_do_not_suffice() -> None:
    """Three runs are all that this network allows; one was hidden, so it would take a fourth."""
    world = veteran(params={"attempts_max": 3})
    committed(world, fate="checked", what="right")
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
        forfeit   bob J 0 0 990
        place
        run       J 0 1 c check unpaid reason=attempts_exhausted
        run       J 0 2 none
        forfeit   c J 0 1 none
    """)


def test_a_window_that_is_open_stays_open_for_all_whatever_the_first_one_says() -> None:
    """Bob hid, so carol's result takes two more; the one of them that contradicts her is heard first.

    Then it takes a fourth. The other one of the two may not be kept waiting for it until its own time to
    reveal is over: it would lose its bond by the rules' own doing.
    """
    world = veteran(frank=5_000)
    world.check("offer frank slots=9 price=10 bond=990 ok")
    hidden(world, "right")
    world.check("""
        seal      d J 0 2 right 1000000000     ok
        seal      e J 0 3 wrong 1000000000     ok
        place
        reveal    e J 0 3 wrong 1000000000     ok
        place
        run       J 0 4 none
        reveal    d J 0 2 right 1000000000     ok
        place
        who       f J 0 4
        seal      f J 0 4 right 1000000000     ok
        reveal    f J 0 4 right 1000000000     ok
        shard     J 0 settled right 1000000000
        forfeit   d J 0 2 none
        forfeit   e J 0 3 990
    """)


def test_two_who_say_the_same_do_not_convict_without_a_third() -> None:
    """One who was drawn may have copied the lie that it saw; the other one is drawn as well."""
    world = veteran(frank=5_000)
    world.check("offer frank slots=9 price=10 bond=990 ok")
    committed(world, fate="checked", what="wrong")
    world.check("""
        who       c J 0 1
        seal      c J 0 1 right 1000000000     ok
        reveal    c J 0 1 right 1000000000     ok
        reveal    bob J 0 0 wrong 1000000000   ok
        place
        who       d J 0 2
        who       e J 0 3
        seal      d J 0 2 wrong 1000000000     ok
        seal      e J 0 3 right 1000000000     ok
        reveal    d J 0 2 wrong 1000000000     ok
        reveal    e J 0 3 right 1000000000     ok
        shard     J 0 disputed
        place
        who       f J 0 4
        seal      f J 0 4 right 1000000000     ok
        reveal    f J 0 4 right 1000000000     ok
        shard     J 0 settled right 1000000000
        forfeit   bob J 0 0 990 refund=10 bounty=49
        forfeit   d J 0 2 990 refund=0 bounty=49
        forfeit   c J 0 1 none
        job       J done spent=30
    """)


def test_seven_who_do_not_agree_cost_nobody_a_bond() -> None:
    """Nobody can be told right from wrong."""
    names = ["frank", "gina", "henk", "ida"]
    world = veteran(**dict.fromkeys(names, 5_000))
    for name in names:
        world.check(f"offer {name} slots=9 price=10 bond=990 ok")
    committed(world, fate="checked")
    said = ["right", "wrong", "odd", "even", "wrong", "odd", "even"]
    for attempt, what in enumerate(said):
        world.check(f"who w{attempt} J 0 {attempt}" if attempt else "who w0 J 0 0")
        if attempt:
            world.check(f"seal w{attempt} J 0 {attempt} {what} 1000000000 ok")
        if attempt == 1 or attempt >= 3:
            for ready in {1: (0, 1), 3: (2, 3)}.get(attempt, (attempt,)):
                world.check(f"reveal w{ready} J 0 {ready} {said[ready]} 1000000000 ok")
            world.place()
    world.check("""
        shard     J 0 failed
        run       J 0 0 bob work unpaid reason=no_majority
    """)
    assert not world.forfeits
    assert all(pledged == 0 for _, _, pledged in world.balances.values())


def test_a_commitment_that_is_repeated_by_another_cannot_be_opened() -> None:
    """Of version 1 it could: with what the first one revealed."""
    world = veteran()
    committed(world, fate="checked")
    row = world.state.get(SHARD.name, world.jobs["J"] + b"\0\0")
    assert row is not None
    first = SHARD.decode(row).runs[0].commitment
    assert first is not None
    world.check("who c J 0 1")
    assert world.do("c", SealedCommit(world.jobs["J"], 0, 1, first)) == "ok"
    world.check("reveal bob J 0 0 right 1000000000  ok")
    salt = salt_of(world.account("bob"))
    opened = LeaseReveal(world.jobs["J"], 0, 1, result_of("right"), 1_000_000_000, salt)
    assert world.do("c", opened) == "wrong_opening"
