"""Every adversary and fault that the design names is somebody here, and everybody here is one of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fog.sim.adversaries import ADVERSARIES, FAULTS_NAMED, LIARS
from fog.sim.faults import FAULTS
from fog.sim.links import Weather
from fog.sim.plan import draw_plan
from fog.sim.world import simulate


def test_everybody_whom_the_design_names_is_there() -> None:
    assert {name for names in ADVERSARIES.values() for name in names} == set(LIARS)
    assert {name for names in FAULTS_NAMED.values() for name in names} == set(FAULTS)


def test_each_says_in_a_sentence_what_it_does() -> None:
    for who in (*LIARS.values(), *FAULTS.values()):
        assert who.__doc__
        assert who.__doc__.strip().endswith(".")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["omitter", "ratedodger", "slanderer", "revenant", "stalesnapshot"])
def test_a_liar_lies_and_nothing_breaks(name: str) -> None:
    """Two of them, in a network that is busy, where disks are lost and epochs are short."""
    plan = replace(draw_plan(1, run_ms=120_000), faults=("fresh_start", "partition"), epoch=3)
    plan = replace(plan, liars={1: (name,), 4: (name,)}, weather=Weather(10, 20), burst_gap_ms=8_000)
    plan = replace(plan, fault_gap_ms=8_000)
    report = simulate(plan)
    assert report.ok, report
    assert report.counts[f"lie.{name}"] > 0
    assert report.counts["event.lease.reveal.ok"] > 0
