"""A blob from four real processes: one sends garbage, one is killed half way (`benchmarks/fetch.py`)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def numbers_of(mib: int, garbage_after: int) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.fetch",
        "--mib",
        f"{mib}",
        "--alone",
        "--garbage-after",
        f"{garbage_after}",
    ]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=3_600)
    numbers: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, numbers
    return numbers


def check(numbers: dict[str, Any]) -> None:
    assert numbers["whole_and_verified"]
    assert numbers["garbage_blamed"] >= 1
    assert numbers["peers_lost"] >= 1
    assert numbers["blocks_fetched"] == numbers["blocks"], "no block is taken twice"
    assert numbers["discarded_bytes"] == 0
    assert numbers["rss_above_idle_mib"] < 64


@pytest.mark.slow
@pytest.mark.alone
def test_24_mib_arrive_whole_and_once_though_one_peer_lies_and_one_dies():
    check(numbers_of(24, 8))


@pytest.mark.long
def test_a_gib_arrives_whole_and_once_though_one_peer_lies_and_one_dies():
    check(numbers_of(1024, 32))
