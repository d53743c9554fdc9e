"""How often checkpoints come: quickly for a lone job, more rarely when many runs fill each of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fog.tempo import SLOWEST_MS, interval


def test_a_lone_job_waits_no_longer_than_the_setting_says():
    assert [interval(50, live) for live in (0, 1, 2)] == [50, 50, 50]


def test_many_runs_wait_for_each_other():
    assert [interval(50, live) for live in (3, 4, 8, 1000)] == [100, 150, 350, SLOWEST_MS]


@given(usual=st.integers(10, 600_000), live=st.integers(0, 10_000))
def test_never_quicker_than_the_setting_nor_slower_than_that_or_the_bound(usual: int, live: int):
    assert usual <= interval(usual, live) <= max(usual, SLOWEST_MS)
