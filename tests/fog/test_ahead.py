"""Leases ahead: as many as bridge the way to the next, and none where that would keep work from others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fog.ahead import AHEAD_MAX, RUN_S_MAX, TURN_S_MIN, Ahead

SECONDS = st.floats(0, 1e6)


def after(run_s: float, turn_s: float, times: int = 20, slots: int = 1) -> Ahead:
    ahead = Ahead(slots)
    for _ in range(times):
        ahead.ran(run_s)
        ahead.turned(turn_s)
    return ahead


def test_short_runs_are_leased_ahead_and_long_ones_are_not():
    assert after(run_s=0.2, turn_s=0.8).count == 10
    assert after(run_s=0.001, turn_s=0.4).count == AHEAD_MAX
    assert after(run_s=60, turn_s=0.4).count == 0


def test_together_slots_hold_what_all_of_them_do_meanwhile():
    assert after(run_s=4, turn_s=0.8, slots=1).count == 1
    assert after(run_s=4, turn_s=0.8, slots=16).count == 8
    assert after(run_s=0.001, turn_s=0.8, slots=16).count == 16 * AHEAD_MAX


def test_that_leases_came_quickly_while_little_ran_is_not_relied_on():
    assert after(run_s=0.2, turn_s=0.05).count == after(run_s=0.2, turn_s=TURN_S_MIN).count == 8


def test_nothing_is_held_ahead_before_anything_is_known():
    ahead = Ahead(1)
    assert ahead.count == 0
    ahead.ran(0.1)
    assert ahead.count == 0


def test_of_leases_that_may_not_wait_long_so_many_are_held_as_get_their_turn():
    ahead = after(run_s=0.5, turn_s=0.8)
    assert ahead.count == 4
    ahead.patience_s = 2.0
    ahead.ran(0.5)
    assert ahead.count == 2
    ahead.patience_s = 0.8
    ahead.ran(0.5)
    assert ahead.count == 0


def test_one_long_run_ends_it_at_once():
    """Whoever waits behind it could run elsewhere."""
    ahead = after(run_s=0.1, turn_s=0.4)
    ahead.ran(RUN_S_MAX * 2)
    assert ahead.count == 0


def test_a_lease_that_went_back_for_lack_of_a_turn_ends_it_until_runs_are_short_again():
    """The machine has become slow, and a run that does not end tells nothing."""
    ahead = after(run_s=0.1, turn_s=0.4)
    ahead.late()
    assert ahead.count == 0
    ahead.ran(1.0)
    ahead.ran(1.0)
    assert ahead.count == 0
    for _ in range(20):
        ahead.ran(0.1)
    assert ahead.count > 8


def test_small_changes_are_not_worth_an_event():
    ahead = after(run_s=0.2, turn_s=0.8)
    for _ in range(10):
        ahead.ran(0.25)
    assert ahead.count == 10


@given(st.lists(st.tuples(st.booleans(), SECONDS), max_size=50))
def test_it_stays_within_its_bound_whatever_is_measured(measured: list[tuple[bool, float]]):
    ahead = Ahead(1)
    for is_run, seconds in measured:
        (ahead.ran if is_run else ahead.turned)(seconds)
        assert 0 <= ahead.count <= AHEAD_MAX
