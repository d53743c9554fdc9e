"""24 hours of bad sensors: few changes, no work beyond a limit; a policy without hysteresis is found out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from msgspec.structs import replace

from domain.harvest.policy import Answer, Policy, Run
from domain.harvest.profiles import PROFILES, Limits, Name
from domain.harvest.trace import Sample, replay
from tests.domain.harvest.noise import day
from tests.domain.harvest.oracle import out_of_bounds

EVERY_S = 5

CHANGES_MAX = 80
"""Of running to not running and back. A day has some 27 episodes, each with its beginning and its end."""


def without_hysteresis(limits: Limits) -> Limits:
    """The same stop values and nothing else: goes on at the next good reading."""
    return replace(without_gaps(limits), calm_s=0, short_calm_s=0)


def without_gaps(limits: Limits) -> Limits:
    return replace(
        limits,
        battery_resume_percent=limits.battery_stop_percent,
        battery_resume_c=limits.battery_stop_c,
        cpu_resume_c=limits.cpu_stop_c,
        cpu_resume_percent=limits.cpu_stop_percent,
        stall_resume_percent=limits.stall_stop_percent,
        memory_resume_mib=limits.memory_stop_mib,
    )


def a_day(seed: int, name: Name, limits: Limits, every_s: int = EVERY_S) -> list[tuple[Sample, Answer]]:
    return list(replay(Policy(limits=limits), day(seed, PROFILES[name], every_s=every_s)))


def flips(decided: list[tuple[Sample, Answer]]) -> int:
    """How often work began or ended."""
    runs = [isinstance(answer, Run) for _, answer in decided]
    return sum(before != after for before, after in pairwise(runs))


def worked(decided: list[tuple[Sample, Answer]]) -> float:
    return sum(isinstance(answer, Run) for _, answer in decided) / len(decided)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("seed", range(2))
def test_a_day_of_noise_changes_little_and_breaks_no_limit(seed: int, name: Name) -> None:
    limits = PROFILES[name]
    decided = a_day(seed, name, limits)
    assert 2 <= flips(decided) <= CHANGES_MAX
    assert worked(decided) > 0.2, "never to work would be no policy"
    assert list(out_of_bounds(limits, decided)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["laptop", "server"])
def test_without_hysteresis_the_same_day_flaps(name: Name) -> None:
    """So the day is bad enough to find a policy that has none. Calm alone would do against shaking sensors;
    the gap between stop and resume is there so that what was hot is cool again, and not just less hot.
    """
    whole = flips(a_day(0, name, PROFILES[name]))
    gaps = flips(a_day(0, name, replace(PROFILES[name], calm_s=0, short_calm_s=0)))
    calm = flips(a_day(0, name, without_gaps(PROFILES[name])))
    none = flips(a_day(0, name, without_hysteresis(PROFILES[name])))
    assert none > 5 * CHANGES_MAX
    assert whole < gaps < none
    assert whole <= calm < none


@pytest.mark.long
@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("seed", range(10, 13))
def test_many_days_second_by_second(seed: int, name: Name) -> None:
    limits = PROFILES[name]
    decided = a_day(seed, name, limits, every_s=1)
    assert 2 <= flips(decided) <= CHANGES_MAX
    assert list(out_of_bounds(limits, decided)) == []
