"""Events judged by several processes are judged like one after the other by one."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import archive, canonical, car
from ledger.ahead import Ahead, Unproven
from ledger.archive import SignedEvent
from ledger.cid import Cid
from ledger.event import Event
from ledger.events_of_archives import is_good, judged, known_good
from ledger.signing import verify_alone, verify_raw
from ledger.verifying_processes import BATCH, BATCH_BYTES, RECORD_SIZE_MAX, SLOTS, Batch, Judges
from tests.ledger.world import Author, make_genesis, pay

VECTORS = Path(__file__).parents[1] / "vectors" / "ed25519-zip215.json"
GENESIS = make_genesis(alice=1_000)
AUTHOR = Author(GENESIS, "alice")
GOOD = [AUTHOR.says(pay("bob", 1)) for _ in range(5 * BATCH + 7)]
NET = GENESIS.net

Blocks = tuple[list[Cid], list[bytes]]


def blocks(event: Event) -> Blocks:
    assert event.body is not None
    signature = canonical.encode({"h": event.id, "s": event.signature})
    parts = [event.header_bytes, signature, event.body]
    return [Cid.of(part) for part in parts], parts


def bent(event: Event, what: int) -> Blocks:
    """One bit of one block is another; of a signature, with the name that those bytes have."""
    names, parts = blocks(event)
    parts[what] = parts[what][:-1] + bytes((parts[what][-1] ^ 1,))
    return ([*names[:1], Cid.of(parts[1]), *names[2:]] if what == 1 else names), parts


def batches(given: list[Blocks]) -> list[Batch]:
    made = [Batch(NET)]
    for names, parts in given:
        if made[-1].is_full:
            made.append(Batch(NET))
        made[-1].add(names, parts)
    return made


def answers(given: list[Blocks], jobs: int) -> list[bool]:
    """Of each batch; with workers from the first one on."""
    made = batches(given)
    with Judges(jobs, workers_after=0) as judges:
        for batch in made:
            judges.give(batch)
        return [judges.is_good(batch) for batch in made]


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 2))
@settings(max_examples=20, deadline=None)
def test_a_bit_anywhere_makes_an_event_bad(which: int, what: int):
    assert is_good(NET, *blocks(GOOD[which]))
    assert not is_good(NET, *bent(GOOD[which], what))


def test_what_is_good_is_the_event_that_judging_gives():
    for event in GOOD[:5]:
        (id, _, body_id), (header, signature, body) = blocks(event)
        assert known_good(id, header, signature, body, net=NET) == event
        assert judged(id, header, signature, body, body_id, net=NET) == event


@pytest.mark.slow
@pytest.mark.parametrize("bad", [set(), {0}, {BATCH - 1, BATCH}, {3 * BATCH, BATCH + 5}, {len(GOOD) - 1}])
@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_workers_do_not_change_the_answer(jobs: int, bad: set[int]):
    given = [bent(event, n % 3) if n in bad else blocks(event) for n, event in enumerate(GOOD)]
    due = [not any(n // BATCH == batch for n in bad) for batch in range(len(batches(given)))]
    assert answers(given, jobs) == due


@pytest.mark.slow
def test_what_a_worker_cannot_hold_is_judged_here():
    """More than it has room for, added faster than it judges."""
    many = [blocks(event) for event in GOOD] * (2 * SLOTS * BATCH // len(GOOD) + 2)
    assert all(answers(many, 2))


@pytest.mark.slow
def test_a_worker_that_dies_is_not_missed():
    made = batches([blocks(event) for event in GOOD] + [bent(GOOD[0], 1)])
    with Judges(2, workers_after=0) as judges:
        for batch in made[:2]:
            judges.give(batch)
        [worker] = judges._workers
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.wait()
        for batch in made[2:]:
            judges.give(batch)
        assert [judges.is_good(batch) for batch in made] == [True] * (len(made) - 1) + [False]


def test_few_events_start_no_process():
    with Judges(8) as judges:
        for batch in batches([blocks(event) for event in GOOD]):
            judges.give(batch)
            assert judges.is_good(batch)
        assert not judges._workers


def test_blocks_that_are_too_large_for_any_event_are_bad_unseen():
    batch = Batch(NET)
    large = bytes(RECORD_SIZE_MAX)
    batch.add([Cid.of(large)] * 3, [large] * 3)
    with Judges(2) as judges:
        judges.give(batch)
        assert not judges.is_good(batch)
    assert batch.size < BATCH_BYTES


# -- read ahead ---------------------------------------------------------------------------------------------


def written(given: list[Blocks]) -> io.BytesIO:
    """What looks like an archive as far as `Sections` looks: genesis, then a height of these events."""
    out = io.BytesIO()
    out.write(car.header([NET]))
    out.write(car.block(GENESIS.encode()))
    out.write(car.block(canonical.encode({"no": "checkpoint"})))
    out.write(car.block(canonical.encode([names[0] for names, _ in given])))
    for names, parts in given:
        for name, part in zip(names, parts, strict=True):
            out.write(car._section(name + part))
    out.write(car.block(canonical.encode({"t": "certificate"})))
    out.seek(0)
    return out


def taken(stream: io.BytesIO, jobs: int) -> tuple[list[bytes], bool]:
    """Headers of the events that are given out, and whether all sections were."""
    found: list[bytes] = []
    with Judges(jobs, workers_after=0) as judges:
        try:
            ahead = Ahead(archive.Sections(stream, proves_events=False), judges)
            found.extend(section.event.data for section in ahead if isinstance(section, SignedEvent))
        except Unproven:
            return found, False
    return found, True


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_no_event_is_given_out_that_is_not_good(jobs: int):
    """Nor one that shares a batch with it; all before are."""
    headers = [event.header_bytes for event in GOOD]
    assert taken(written([blocks(event) for event in GOOD]), jobs) == (headers, True)
    for bad in (0, 1, BATCH, BATCH + 1, len(GOOD) - 1):
        for what in range(3):
            stream = written([bent(e, what) if n == bad else blocks(e) for n, e in enumerate(GOOD)])
            assert taken(stream, jobs) == (headers[: bad // BATCH * BATCH], False)


def test_the_quick_rule_is_the_rule():
    """ed25519-zebra, or libsodium with our own judge, and libsodium with our own judge: one answer."""
    for _, public, message, signature, good in json.loads(VECTORS.read_text())["cases"]:
        parts = [bytes.fromhex(part) for part in (public, message, signature)]
        assert verify_alone(*parts) is verify_raw(*parts) is good
