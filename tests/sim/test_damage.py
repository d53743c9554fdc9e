"""What was final may be gone from a disk of which it is known that it was damaged, and from no other.

The damage may be found long after the start that let it pass, with more made final in between.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from fog.sim.links import Weather
from fog.sim.observer import Violation
from fog.sim.plan import draw_plan
from fog.sim.world import World
from ledger.errors import StoreCorrupt

pytestmark = pytest.mark.slow


def world_with_heights() -> World:
    plan = replace(draw_plan(1, nodes=4), liars={}, faults=(), weather=Weather(10, 20), burst_gap_ms=2_000)
    world = World(plan)
    for node in world.ground.nodes:
        node.start()
    world.workload.start()
    world.ground.scheduler.run(4_000)
    assert world.ground.nodes[0].replica.height
    return world


def test_a_node_that_finds_its_damage_late_starts_from_nothing() -> None:
    world = world_with_heights()
    node = world.ground.nodes[0]
    node.is_damaged = True

    def find() -> None:
        raise StoreCorrupt("a place is not what its event says")

    node.enter(find)
    assert not node.up
    node.start()
    assert node.up
    assert node.replica.height == 0
    assert world.ground.counts["damage_found"] == 1


def test_a_whole_disk_that_starts_from_nothing_breaks_the_run() -> None:
    world = world_with_heights()
    node = world.ground.nodes[0]
    node.crash()
    node.disk.lose()
    with pytest.raises(Violation, match="I5"):
        node.start()
