"""A node of the simulator that comes back says nothing before it heard where its lane ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fog.sim.links import Weather
from fog.sim.plan import draw_plan
from fog.sim.world import simulate

pytestmark = pytest.mark.slow


def test_a_lost_disk_goes_on_with_the_lane_that_it_had() -> None:
    plan = replace(draw_plan(1, run_ms=60_000), faults=("disk_loss",), liars={}, weather=Weather(10, 20))
    report = simulate(replace(plan, fault_gap_ms=6_000, burst_gap_ms=2_000))
    assert report.ok, report
    assert report.counts["heard_our_lane"]
    assert not report.counts["lane_forked_after_loss"]
