"""A benchmark that has a target says when it is missed: its exit code is what a script looks at."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import finality, finality_sim, proofs, replay, sync


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


def test_proofs_at_a_million_leaves() -> None:
    assert list(proofs.misses({"inclusion_hashes_max": 20})) == []
    assert len(list(proofs.misses({"inclusion_hashes_max": 21}))) == 1


def test_a_replay_that_gives_other_tables() -> None:
    """Its other targets are not met, and it says so in words and numbers."""
    assert replay.exit_code({"rebuild_equals_live": True}) == 0
    assert replay.exit_code({"rebuild_equals_live": False}) == 1


def row(differences: int, bytes: int, round_trips: int = 1) -> dict[str, Any]:
    return {**sync.Cost(differences, bytes, round_trips).row()}


def found_by_sync(**changed: dict[str, Any]) -> list[str]:
    """What is said of figures that are good, but for these of real nodes."""
    good = {"contiguous.0": row(0, 157), "contiguous.1": row(1, 2_000, 6), "contiguous.100": row(100, 4_000)}
    nodes = good | {name.replace("_", "."): value for name, value in changed.items()}
    return list(sync.misses({"sets": good, "lanes": {}, "nodes": nodes}))


def test_sync_of_logs_that_differ() -> None:
    assert found_by_sync() == []
    for missed in (
        {"contiguous_0": row(0, 157, 2)},
        {"contiguous_0": row(0, sync.EQUAL_BYTES_MAX)},
        {"contiguous_1": row(1, 2_000, 7)},
        {"scattered_1": row(1, 4_001, 6)},
        {"contiguous_100": row(100, 4_200)},
        {"contiguous_10000": row(10_000, 420_000)},
    ):
        assert len(found_by_sync(**missed)) == 1
    assert found_by_sync(scattered_100=row(100, 40_000)) == []  # what lies anywhere has no target
