"""With a third of the stake or more lying the vote can be split; what must hold then: it shows who did it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fog.sim.links import Weather
from fog.sim.plan import draw_plan
from fog.sim.world import World

LIARS = (0, 3, 5)
LEFT, RIGHT = (1, 2), (4, 6)


def split_in_two(seed: int) -> World:
    """Three of seven are twins, and the honest fall into two pairs that hear only their own twins."""
    plan = replace(
        draw_plan(seed, run_ms=40_000),
        liars=dict.fromkeys(LIARS, ("twins",)),
        faults=(),
        weather=Weather(5, 10),
        burst_gap_ms=2_000,
        settle_ms=60_000,
    )
    world = World(plan)
    links, ground = world.ground.links, world.ground

    def split() -> None:
        pairs = [(one, other) for one in LEFT for other in RIGHT]
        links.cut(pairs + [(other, one) for one, other in pairs])
        ground.half = dict.fromkeys(LEFT)

    ground.scheduler.after(5_000, split)
    return world


@pytest.mark.slow
def test_two_finals_at_one_height_name_more_than_a_third_of_the_stake() -> None:
    """I10: I3 breaks, as it must be able to; the votes on the wire convict the three and nobody else."""
    world = split_in_two(1)
    report = world.run()
    assert [name for name, _ in report.broken] == ["I3"], report
    guilty, total = world.observer.votes.guilty()
    assert 3 * guilty > total
    assert guilty == sum(report.plan.stakes[liar] for liar in LIARS)
