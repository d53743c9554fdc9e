"""Patience ends: after so much time in which nothing came, however the tries went, and not before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fog.patience import ALONE_S_MAX, PAUSE_S_MAX, PAUSE_S_MIN, Patience


def test_pauses_grow_and_there_are_few_tries():
    patience, pauses = Patience(300.0), list[float]()
    while (pause := patience.failed(1.0, brought=False, alone=False)) is not None:
        pauses.append(pause)
    assert pauses[:5] == [PAUSE_S_MIN, 4.0, 8.0, 16.0, 32.0]
    assert max(pauses) == PAUSE_S_MAX
    assert patience.tries == len(pauses) + 1 < 12
    assert 300.0 <= patience.spent_s < 300.0 + 60.0 + 1.0


def test_a_try_that_brought_something_begins_anew():
    patience = Patience(5.0)
    for _ in range(100):
        assert patience.failed(60.0, brought=True, alone=False) == PAUSE_S_MIN
    assert patience.failed(60.0, brought=False, alone=False) is None


def test_time_alone_does_not_count_but_is_not_endless():
    patience, waited = Patience(5.0), 0.0
    while (pause := patience.failed(0.0, brought=False, alone=True)) is not None:
        waited += pause
    assert waited + PAUSE_S_MAX >= ALONE_S_MAX
    assert patience.tries == 0


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=200), st.floats(0, 1000))
def test_it_always_ends(tries: list[tuple[float, bool]], whole_s: float):
    """Whatever came before; tries that take no time at all are bounded by their pauses."""
    patience = Patience(whole_s)
    for took_s, brought in tries:
        patience.failed(took_s, brought=brought, alone=False)
    count = 0
    while patience.failed(0.0, brought=False, alone=False) is not None:
        count += 1
    assert count <= 8 + whole_s / PAUSE_S_MAX
