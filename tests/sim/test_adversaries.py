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


TOGETHER = (
    ("amplifier badproposer censor deepforker doublespender equivocator", 60_000, 6_000),
    ("flooder foreigner forger impostor jumper omitter", 60_000, 6_000),
    ("poisoner ratedodger scribbler selective silent", 60_000, 6_000),
    ("skipper slanderer sponsortree", 60_000, 6_000),
    ("twins voteflooder withholder wrongclock", 60_000, 6_000),
    ("dropper finder", 200_000, 20_000),
    ("eclipser respeller", 240_000, 30_000),
    ("stalesnapshot", 200_000, 20_000),
    ("stalecopy", 400_000, 40_000),
    ("revenant", 400_000, 30_000),
)
"""Names; how long a run must be until all of them have lied; and how far apart honest bursts are, in ms."""


def test_everybody_is_seen_lying() -> None:
    assert sorted(name for names, *_ in TOGETHER for name in names.split()) == sorted(LIARS)


@pytest.mark.slow
@pytest.mark.parametrize(("names", "run_ms", "burst_gap_ms"), TOGETHER, ids=[names for names, *_ in TOGETHER])
def test_liars_lie_and_nothing_breaks(names: str, run_ms: int, burst_gap_ms: int) -> None:
    """Two nodes with all of these habits, in a busy network where epochs are short and disks are lost (not
    while two are silent, too: five of seven cannot spare another one).
    """
    habits = tuple(names.split())
    faults = ("partition",) if "silent" in habits else ("fresh_start", "partition")
    plan = replace(draw_plan(1, run_ms=run_ms), faults=faults, epoch=3)
    plan = replace(plan, liars={1: habits, 4: habits}, weather=Weather(10, 20), burst_gap_ms=burst_gap_ms)
    report = simulate(replace(plan, fault_gap_ms=8_000))
    assert report.ok, report
    assert [name for name in habits if not report.counts[f"lie.{name}"]] == []
    assert report.heights > 3
