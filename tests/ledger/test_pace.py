"""Patience follows what is usual, and one long night does not make it endless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.pace import (
    ABSENT_MS,
    DOUBLINGS_MAX,
    PATIENCE_FIRST_MS,
    PATIENCE_MAX_MS,
    PATIENCE_MIN_MS,
    Pace,
)

LEADER, OTHER = b"leader", b"other"


def slot(pace: Pace, begun: int, took: int, leader: bytes = LEADER) -> int:
    """A slot that was wanted at `begun` and notarized `took` ms later; when that was."""
    pace.entered()
    pace.is_up(begun, leader, wanted=True)
    pace.is_up(begun + took, leader, wanted=True)
    pace.notarized(leader)
    return begun + took


def test_patience_is_four_times_what_is_usual():
    pace, now = Pace(), 0
    assert pace.patience(LEADER) == PATIENCE_FIRST_MS
    for _ in range(40):
        now = slot(pace, now, 400)
    assert 1_500 < pace.patience(LEADER) < 1_700
    for _ in range(40):
        now = slot(pace, now, 10)
    assert pace.patience(LEADER) == PATIENCE_MIN_MS


def test_a_slot_that_a_partition_interrupted_does_not_make_the_next_ones_wait():
    """Ten minutes in halves, where slots took a tenth of a second before: patience stays below a second."""
    pace, now = Pace(), 0
    for _ in range(20):
        now = slot(pace, now, 100)
    now = slot(pace, now, 600_000)
    assert pace.patience(LEADER) < 1_000


@pytest.mark.parametrize("leaders", [1, 2, 3, 4, 7])
def test_patience_grows_however_few_lead(leaders: int):
    """A network that has become much slower: each leader is one that missed its last turn."""
    pace, now = Pace(), 0
    for _ in range(20):
        now = slot(pace, now, 20)
    given = []
    for turn in range(20):
        leader = bytes([turn % leaders])
        given.append(pace.patience(leader))
        pace.skipped(leader)
    assert given[-1] == PATIENCE_MIN_MS << DOUBLINGS_MAX


def test_who_is_known_to_be_absent_is_passed_over_quickly():
    pace, now = Pace(), 0
    for _ in range(5):
        now = slot(pace, now, 20)
        for one in (b"away", b"away too"):
            pace.skipped(one)
    now = slot(pace, now, 20)
    assert pace.patience(b"away") == pace.patience(b"away too") == ABSENT_MS
    pace.skipped(b"away")
    assert pace.patience(b"away too") == ABSENT_MS


@given(st.lists(st.tuples(st.integers(0, 10**7), st.booleans(), st.sampled_from([LEADER, OTHER]))))
def test_patience_has_bounds_whatever_happened(story: list[tuple[int, bool, bytes]]):
    pace, now = Pace(), 0
    for took, went_well, leader in story:
        if went_well:
            now = slot(pace, now, took, leader)
        else:
            pace.skipped(leader)
        assert 0 < pace.patience(LEADER) <= PATIENCE_MAX_MS


@given(st.integers(1, 200), st.integers(500, 2_000))
def test_patience_comes_up_from_however_little(quick: int, slow: int):
    """Slots that seemed to take a moment, because a node heard of them when they were over, and then none
    that does: within twenty of them the leader is given the time that they take."""
    pace, now = Pace(), 0
    for _ in range(20):
        now = slot(pace, now, quick)
    for _ in range(20):
        now = slot(pace, now, slow)
    assert pace.patience(LEADER) > slow
