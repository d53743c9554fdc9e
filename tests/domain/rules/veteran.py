"""Bob, who has a history, those who may check him, and how far their stories have come."""

from __future__ import annotations

from domain.rules.records import STANDING, Standing
from tests.domain.rules.world import World


def veteran(
    streak: int = 1_000_000, *, bond: int = 990, params: dict[str, int] | None = None, **more: int
) -> World:
    """Bob is alone cheap enough to work, and has a history; carol, dave and erin may check him."""
    workers = dict.fromkeys(("bob", "carol", "dave", "erin"), 5_000)
    world = World({"appeal_ms": 1_000} | (params or {}), alice=100_000, **workers, **more)
    row = STANDING.encode(Standing(agreed=streak, streak=streak, worth=streak * 990))
    world.state = world.state.put(STANDING.name, world.account("bob"), row)
    world.check(f"""
        offer  bob slots=9 price=1 bond={bond}     ok
        offer  carol slots=9 price=10 bond={bond}  ok
        offer  dave slots=9 price=10 bond={bond}   ok
        offer  erin slots=9 price=10 bond={bond}   ok
    """)
    return world


def committed(world: World, *, fate: str, what: str = "right", more: str = "") -> None:
    """Bob has committed to `what`, and time goes on until the draw says what is wanted of it.

    The beacon is a function of the height: where the draw says the other thing, the story is begun again a
    height later.
    """
    for name in (f"J{n}" for n in range(400)):
        world.check(f"""
            submit  alice {name} bond=990 checks=2 price=10 {more}  ok
            place
            run     {name} 0 0 bob work leased
            seal    bob {name} 0 0 {what} 1000000000  ok
            shard   {name} 0 checking
            place
        """)
        world.jobs["J"] = world.jobs[name]
        if world.history.shards[world.jobs[name], 0].state == (
            "trusted" if fate == "trusted" else "checking"
        ):
            return
        finish(world, what)
    raise AssertionError(f"400 draws, and none was {fate}")


def finish(world: World, what: str) -> None:
    """Whatever was drawn, this shard ends well, and bob has the history he had."""
    if world.history.shards[world.jobs["J"], 0].state == "checking":
        world.check(f"""
            who     c J 0 1
            seal    c J 0 1 {what} 1000000000     ok
            reveal  c J 0 1 {what} 1000000000     ok
        """)
    world.check(f"""
        reveal  bob J 0 0 {what} 1000000000       ok
        close   1000
        close
    """)


def hidden(world: World, said: str) -> None:
    """Bob hid his result and lost his bond for it. Carol, who checked him, had `said` hers before; dave and
    erin are drawn in his place, and could copy it."""
    committed(world, fate="checked")
    world.check(f"""
        who       c J 0 1
        seal      c J 0 1 {said} 1000000000     ok
        place
        reveal    c J 0 1 {said} 1000000000     ok
        close     1
        close     1
        close     1
        close     300000
        close
        run       J 0 0 bob work expired reason=hidden_result
        place
        who       d J 0 2
        who       e J 0 3
    """)
