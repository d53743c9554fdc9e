"""Who knows a draw moves money: none of it makes the draw fall on an account of theirs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.payloads import Transfer
from tests.domain.rules.world import World

HONEST = ("carol", "dave", "erin")
SYBILS = tuple(f"sybil{n}" for n in range(12))
BOND = 100

Move = tuple[str, str, int]
movers = st.sampled_from((*SYBILS, "whale"))
moves = st.lists(st.tuples(movers, movers, st.sampled_from((1, BOND, BOND, 3 * BOND))), max_size=8)


def drawn(height: int, funded: frozenset[str], moved: list[Move]) -> str | None:
    """Who checks bob's run, if this is `moved` in the checkpoint of the draw, its beacon known."""
    world = World(alice=10_000, bob=BOND, whale=3 * BOND, **dict.fromkeys((*HONEST, *sorted(funded)), BOND))
    world.height += height  # another beacon
    for name in (*HONEST, *SYBILS):
        world.check(f"offer {name} slots=1 price=3 bond={BOND} ok")
    world.check(f"""
        offer   bob slots=1 price=1 bond={BOND}       ok
        submit  alice J bond={BOND} checks=1          ok
        place
        run     J 0 0 bob work leased
        seal    bob J 0 0 wrong 7                     ok
        close   1
        run     J 0 1 none
    """)
    for source, target, amount in moved:
        world.do(source, Transfer(world.account(target), amount))
    world.close(1)
    run = world.history.runs.get((world.jobs["J"], 0, 1))
    return None if run is None else world.name(run.worker)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 590), st.frozensets(st.sampled_from(SYBILS), max_size=3), moves)
def test_money_that_moves_when_the_draw_is_known_takes_it_from_nobody_else(
    height: int, funded: frozenset[str], moved: list[Move]
) -> None:
    """Whoever would be drawn is, or has itself stepped aside."""
    expected = drawn(height, funded, [])
    if expected in HONEST:
        assert drawn(height, funded, moved) == expected
    else:
        assert drawn(height, funded, moved) in {expected, *HONEST, *funded}


def test_of_many_accounts_that_offer_the_one_behind_the_point_is_not_funded_in_time() -> None:
    """The attack: whichever of twelve it would be, the money for its bond is sent to it."""
    for height in range(8):
        for sybil in SYBILS:
            assert drawn(height, frozenset(), [("whale", sybil, BOND)]) in HONEST


def test_credits_that_came_just_before_count_at_the_next_draw() -> None:
    """Also when nothing else happens then: the close that could not yet draw asks for the next."""
    world = World(alice=10_000, bob=BOND, whale=BOND)
    world.check(f"""
        offer   bob slots=1 price=1 bond={BOND}       ok
        offer   carol slots=1 price=3 bond={BOND}     ok
        submit  alice J bond={BOND} checks=1          ok
        place
        seal    bob J 0 0 right 7                     ok
        close   1
        pay     whale carol {BOND}                    ok
        close   1
        run     J 0 1 none
        due     +0
        close   1
        run     J 0 1 carol check leased
    """)


def test_a_bond_that_comes_back_is_new_money() -> None:
    """Who gives a lease back, the draw known, has the credits from the next height on."""
    world = World(alice=10_000, bob=BOND, carol=BOND)
    world.check(f"""
        offer   carol slots=2 price=1 bond={BOND}     ok
        submit  alice K bond={BOND} checks=1          ok
        place
        run     K 0 0 carol work leased
        offer   bob slots=1 price=3 bond={BOND}       ok
        submit  alice J bond={BOND} checks=1          ok
        place
        seal    bob J 0 0 right 7                     ok
        cancel  alice K                               ok
        close   1
        balance carol {BOND}
    """)
    world.close(1)
    world.check("run J 0 1 carol check leased")


def test_a_job_that_waits_for_a_bond_is_looked_at_when_bonds_come_back() -> None:
    """Nothing else happens when the time to appeal ends."""
    world = World({"appeal_ms": 60_000}, alice=10_000, bob=BOND)
    world.check(f"""
        offer   bob slots=1 price=1 bond={BOND}       ok
        submit  alice J shards=2 bond={BOND} checks=0 ok
        place
        seal    bob J 0 0 right 7                     ok
        reveal  bob J 0 0 right 7                     ok
        place
        run     J 1 0 none
        close   60000
        close
        place
        run     J 1 0 bob work leased
    """)
