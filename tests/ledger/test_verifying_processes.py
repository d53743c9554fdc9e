"""Signatures verified by several processes are judged like one after the other, in their order."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.event import Event
from ledger.signing import verify_alone, verify_raw
from ledger.verifying_processes import BATCH, SLOTS, Signatures
from tests.ledger.world import Author, make_genesis, pay

VECTORS = Path(__file__).parents[1] / "vectors" / "ed25519-zip215.json"
AUTHOR = Author(make_genesis(alice=1_000), "alice")
GOOD = [AUTHOR.says(pay("bob", 1)) for _ in range(5 * BATCH + 7)]


def forged(event: Event) -> Event:
    return msgspec.structs.replace(event, signature=event.signature[:32] + bytes(32))


def judged(given: list[Event], jobs: int) -> tuple[bool, int]:
    """Whether all are good, and how many from the first on; with workers from the first batch on."""
    with Signatures(jobs, workers_after=0) as signatures:
        for event in given:
            signatures.add(event)
        return signatures.finish() is None, signatures.good


@given(st.integers(0, len(GOOD)), st.sets(st.integers(0, len(GOOD) - 1), max_size=4))
@settings(max_examples=30, deadline=None)
def test_it_counts_up_to_the_first_bad_signature(length: int, bad: set[int]):
    given = [forged(event) if n in bad else event for n, event in enumerate(GOOD[:length])]
    first = min((n for n in bad if n < length), default=length)
    assert judged(given, 1) == (first == length, first)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [set(), {0}, {BATCH - 1, BATCH}, {3 * BATCH, BATCH + 5}, {len(GOOD) - 1}])
@pytest.mark.parametrize("jobs", [2, 3])
def test_workers_do_not_change_the_answer(jobs: int, bad: set[int]):
    """Not even when a later bad signature is found first."""
    given = [forged(event) if n in bad else event for n, event in enumerate(GOOD)]
    first = min(bad, default=len(GOOD))
    assert judged(given, jobs) == (not bad, first)


@pytest.mark.slow
def test_what_a_worker_cannot_hold_is_verified_here():
    """More than it has room for, added faster than it verifies."""
    many = GOOD * (2 * SLOTS * BATCH // len(GOOD) + 2)
    assert judged(many, 2) == (True, len(many))


@pytest.mark.slow
def test_a_worker_that_dies_is_not_missed():
    with Signatures(2, workers_after=0) as signatures:
        for event in GOOD[: 2 * BATCH]:
            signatures.add(event)
        [worker] = signatures._workers
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.wait()
        bad = forged(GOOD[0])
        for event in [*GOOD[2 * BATCH :], bad, *GOOD]:
            signatures.add(event)
        assert (signatures.finish(), signatures.good) == (bad, len(GOOD))


def test_few_signatures_start_no_process():
    with Signatures(8) as signatures:
        for event in GOOD:
            signatures.add(event)
        assert signatures.finish() is None
        assert not signatures._workers


def test_the_quick_rule_is_the_rule():
    """ed25519-zebra, or libsodium with our own judge, and libsodium with our own judge: one answer."""
    for _, public, message, signature, good in json.loads(VECTORS.read_text())["cases"]:
        parts = [bytes.fromhex(part) for part in (public, message, signature)]
        assert verify_alone(*parts) is verify_raw(*parts) is good
