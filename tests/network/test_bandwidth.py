"""A token bucket: never more than the rate and what was saved up, and nobody waits for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from network.bandwidth import BURST_S, Bucket


@given(
    st.integers(1, 10**9),
    st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 100)), max_size=50),
)
def test_what_passes_is_the_rate_and_one_burst_and_one_unit(rate: int, wishes: list[tuple[int, float]]):
    """`wishes`: bytes, and how long after the last one they are wanted."""
    bucket = Bucket(rate, 0.0)
    now, passed, largest = 0.0, 0, 0
    for size, later in wishes:
        now += later
        now += bucket.wait(now)
        assert bucket.wait(now) <= 1e-6 * max(1.0, now), "after waiting, it is one's turn"
        bucket.take(size, now)
        passed, largest = passed + size, max(largest, size)
        assert passed <= rate * (now + BURST_S) * (1 + 1e-9) + largest + 1


def test_it_is_full_at_first_and_after_a_pause():
    bucket = Bucket(1_000, 0.0)
    for now in (0.0, 100.0):
        for _ in range(10):
            assert bucket.wait(now) == 0
            bucket.take(100, now)
        assert bucket.wait(now) == 0
        bucket.take(100, now)
        assert bucket.wait(now) == 0.1


def test_what_was_taken_and_did_not_pass_is_given_back():
    bucket = Bucket(1_000, 0.0)
    bucket.take(3_000, 0.0)
    assert bucket.wait(0.0) == 2.0
    bucket.take(-2_500, 0.0)
    assert bucket.wait(0.0) == 0.0
    assert bucket.wait(50.0) == 0.0
