"""A benchmark that has a target says when it is missed: its exit code is what a script looks at."""

from __future__ import annotations

import pytest

from benchmarks import finality, finality_sim


@pytest.mark.parametrize(
    ("p50_ms", "p99_ms", "missed"),
    [
        (500, 2_000, []),
        (501, 2_000, ["p50_ms"]),
        (500, 2_001, ["p99_ms"]),
        (900, 9_000, ["p50_ms", "p99_ms"]),
    ],
)
def test_finality_of_four_validators(p50_ms: int, p99_ms: int, missed: list[str]) -> None:
    found = finality.misses({"p50_ms": p50_ms, "p99_ms": p99_ms, "longest_ms": 10_000, "per_s": 50.0})
    assert [line.split()[0] for line in found] == missed


def test_finality_in_message_delays() -> None:
    assert list(finality_sim.misses(4.0)) == []
    assert len(list(finality_sim.misses(4.01))) == 1
