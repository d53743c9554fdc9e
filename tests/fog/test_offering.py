"""An offer is renewed by the time at which it was said, not by the time at which somebody looked."""

from __future__ import annotations

import pytest

from fog.offering import renewal_in_s


@pytest.mark.parametrize(
    ("left_ms", "in_s"), [(60_000, 30.0), (31_000, 1.0), (30_000, 0.0), (5_000, 0.0), (-5_000, 0.0)]
)
def test_half_of_its_time_before_it_ends(left_ms: int, in_s: float):
    """Looked at a second before, as after a turn of the gate, it is renewed in a second and not in thirty."""
    assert renewal_in_s(left_ms, 60_000) == in_s
