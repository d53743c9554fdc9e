"""Events judged by several processes are judged like one after the other by one."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import archive, canonical, car
from ledger.ahead import BYTES_MAX, Ahead, Unproven
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.event import LANE_BULK, Event
from ledger.events_of_archives import all_judged, heard, told
from ledger.signing import verify_alone, verify_raw
from ledger.verifying_processes import (
    BATCH,
    BATCH_BYTES,
    EVENT_BYTES_MAX,
    SLOTS,
    WORTH_WORKERS,
    Batch,
    Judges,
    _reserve,
    worth,
)
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


def sections(given: Blocks) -> bytes:
    """As they lie in an archive."""
    return b"".join(car._section(name + part) for name, part in zip(*given, strict=True))


def batches(given: list[Blocks]) -> list[Batch]:
    made = [Batch(NET)]
    for one in given:
        if made[-1].is_full:
            made.append(Batch(NET))
        made[-1].add(sections(one))
    return made


def answers(given: list[Blocks], jobs: int) -> list[list[Event] | None]:
    """Of each batch its events, None when it is not good."""
    made = batches(given)
    sizes = [len(batch) for batch in made]
    with Judges(jobs) as judges:
        for batch in made:
            judges.give(batch)
        return [
            [batch.take() for _ in range(size)] if judges.is_good(batch) else None
            for batch, size in zip(made, sizes, strict=True)
        ]


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 2))
@settings(max_examples=20, deadline=None)
def test_a_bit_anywhere_makes_an_event_bad(which: int, what: int):
    assert all_judged(sections(blocks(GOOD[which])), 1, net=NET) == [GOOD[which]]
    with pytest.raises(RemoteError):
        all_judged(sections(bent(GOOD[which], what)), 1, net=NET)


@given(st.binary(max_size=600), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_bytes_that_are_no_blocks_are_refused_and_nothing_else(data: bytes, count: int):
    if data or count:
        with pytest.raises(RemoteError):
            all_judged(data, count, net=NET)


def test_blocks_too_few_or_too_many_are_no_events():
    data = b"".join(sections(blocks(event)) for event in GOOD[:3])
    assert all_judged(data, 3, net=NET) == GOOD[:3]
    for count in (2, 4):
        with pytest.raises(RemoteError, match="event"):
            all_judged(data, count, net=NET)


def test_a_raw_block_is_no_part_of_an_event():
    names, parts = blocks(GOOD[0])
    for what in range(3):
        raw = [
            Cid.of_raw(part) if n == what else name
            for n, (name, part) in enumerate(zip(names, parts, strict=True))
        ]
        with pytest.raises(RemoteError, match="three blocks"):
            all_judged(sections((raw, parts)), 1, net=NET)


def test_what_a_process_tells_of_events_is_what_it_has():
    """With every field that a header can have: another `acct`, `exp`, parents of other lanes, none at all."""
    bob = Author(GENESIS, "bob")
    odd = [
        bob.says(pay("alice", 1), lane=LANE_BULK, seen=[GOOD[0]]),
        bob.says(pay("alice", 1), seen=[GOOD[0], GOOD[1]], acct=GOOD[0].header.by, exp=2**62),
    ]
    assert list(heard(told([*GOOD, *odd]), net=NET)) == [*GOOD, *odd]
    for event in heard(told(odd), net=NET):
        assert {type(id) for id in (event.id, event.header.body, *event.parents)} == {Cid}


@pytest.mark.slow
@pytest.mark.parametrize("bad", [set(), {0}, {BATCH - 1, BATCH}, {3 * BATCH, BATCH + 5}, {len(GOOD) - 1}])
@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_workers_do_not_change_the_answer(jobs: int, bad: set[int]):
    given = [bent(event, n % 3) if n in bad else blocks(event) for n, event in enumerate(GOOD)]
    due = [
        None if any(n // BATCH == batch for n in bad) else GOOD[batch * BATCH :][:BATCH]
        for batch in range(len(batches(given)))
    ]
    assert answers(given, jobs) == due


@pytest.mark.slow
def test_what_a_worker_cannot_hold_is_judged_here():
    """More than it has room for, added faster than it judges."""
    times = 2 * SLOTS * BATCH // len(GOOD) + 2
    found = answers([blocks(event) for event in GOOD] * times, 2)
    assert [event for batch in found for event in batch or ()] == GOOD * times


@pytest.mark.slow
def test_a_worker_that_dies_is_not_missed():
    made = batches([blocks(event) for event in GOOD] + [bent(GOOD[0], 1)])
    with Judges(2) as judges:
        for batch in made[:2]:
            judges.give(batch)
        [worker] = judges._workers
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.wait()
        for batch in made[2:]:
            judges.give(batch)
        assert [judges.is_good(batch) for batch in made] == [True] * (len(made) - 1) + [False]


@contextmanager
def few_files(count: int) -> Iterator[None]:
    """This process may open so many more files at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(name) for name in os.listdir("/proc/self/fd")}
    free = [number for number in range(len(used) + count + 1) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[count - 1] + 1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize(("files", "workers"), [(3, 0), (8, 1)])
def test_workers_that_cannot_start_are_not_missed(files: int, workers: int):
    """One takes some eight files to start and keeps three."""
    made = batches([blocks(event) for event in GOOD] + [bent(GOOD[0], 1)])
    with Judges(3) as judges:
        with few_files(files):
            for batch in made:
                judges.give(batch)
            assert [judges.is_good(batch) for batch in made] == [True] * (len(made) - 1) + [False]
        processes = [worker._process for worker in judges._workers]
        assert len(processes) == workers
    assert None not in [process.poll() for process in processes]


def test_the_memory_of_a_worker_has_its_room_on_the_disk():
    with tempfile.TemporaryFile() as file:
        _reserve(file.fileno(), 1024 * 1024)
        assert os.fstat(file.fileno()).st_blocks * 512 >= 1024 * 1024


def test_where_no_room_is_given_the_file_is_as_long_all_the_same():
    """Linux refuses to give room of no size as a file system does that gives none (EINVAL)."""
    with tempfile.TemporaryFile() as file:
        file.write(bytes(10))
        file.flush()
        _reserve(file.fileno(), 0)
        assert os.fstat(file.fileno()).st_size == 0


def test_a_short_archive_starts_no_process():
    assert worth(8, WORTH_WORKERS - 1) == 1
    assert worth(8, WORTH_WORKERS) == 8
    with Judges(1) as judges:
        for batch in batches([blocks(event) for event in GOOD]):
            judges.give(batch)
            assert judges.is_good(batch)
        assert not judges._workers


def test_blocks_that_are_too_large_for_any_event_are_bad_unseen():
    batch = Batch(NET)
    batch.add(bytes(EVENT_BYTES_MAX + 1))
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
    for one in given:
        out.write(sections(one))
    out.write(car.block(canonical.encode({"t": "certificate"})))
    out.seek(0)
    return out


def test_unread_sections_are_the_bytes_of_the_file():
    """Short ones, long ones, and those that lie across what is read at once; a file that ends is refused."""
    sizes = [0, 90, 91, 92, 16_300, 16_348, 100_000, car.AHEAD - 40, 5, 250_000, 7] * 3
    whole = b"".join(car.block(bytes(size)) for size in sizes)
    for count in (1, 3, 11):
        reader = car.Blocks(io.BytesIO(whole))
        assert b"".join(reader.unread(count) for _ in range(len(sizes) // count)) == whole
        with pytest.raises(RemoteError, match="ends"):
            reader.unread(1)
    with pytest.raises(RemoteError, match="shortest"):
        car.Blocks(io.BytesIO(bytes((0x80 | 40, 0)) + bytes(40))).unread(1)


def taken(stream: io.BytesIO, jobs: int) -> tuple[list[bytes], bool]:
    """Headers of the events that are given out, and whether all sections were."""
    found: list[bytes] = []
    with Judges(jobs) as judges:
        try:
            ahead = Ahead(archive.Sections(stream, reads_events=False), judges)
            found.extend(section.header_bytes for section in ahead if isinstance(section, Event))
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


class Watched(archive.Sections):
    """Notes how much it gave out that nobody has taken yet, at most."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, reads_events=False)
        self.count = self.size = self.most = self.largest = 0

    def __next__(self) -> archive.Section:
        section = super().__next__()
        self._note(section, 1)
        return section

    def taken(self, section: archive.Section) -> None:
        self._note(section, -1)

    def _note(self, section: archive.Section, sign: int) -> None:
        assert isinstance(section, archive.Entry | archive.Delta)
        self.count += sign
        self.size += sign * len(section.block.data)
        self.most, self.largest = max(self.most, self.count), max(self.largest, self.size)


@pytest.mark.parametrize(("heights", "padding"), [(3_000, 100), (40, car.BLOCK_SIZE_MAX - 100)])
def test_what_is_read_ahead_is_bounded_where_there_are_no_events(heights: int, padding: int):
    """In a quiet history, as long as one likes, and in a doctored one of blocks as large as may be."""
    empty = car.block(canonical.encode([]))
    out = io.BytesIO()
    out.write(car.header([NET]))
    out.write(car.block(GENESIS.encode()))
    for height in range(heights):
        out.write(car.block(canonical.encode({"no": "checkpoint", "x": bytes(padding)})))
        out.write(car.block(canonical.encode({"no": "certificate", "x": bytes(padding)})) if height else b"")
        out.write(empty)
    out.write(car.block(canonical.encode({"t": "certificate"})))
    out.seek(0)
    with Judges(2) as judges:
        watched = Watched(out)
        for section in Ahead(watched, judges):
            assert not isinstance(section, Event)
            watched.taken(section)
        assert watched.count == watched.size == 0
        assert watched.most <= judges.room + 1  # the one that is taken
    assert watched.largest <= BYTES_MAX + 2 * car.BLOCK_SIZE_MAX
    assert watched.largest > BYTES_MAX or watched.most > judges.room / 2, "too short to show anything"


def test_the_quick_rule_is_the_rule():
    """ed25519-zebra, or libsodium with our own judge, and libsodium with our own judge: one answer."""
    for _, public, message, signature, good in json.loads(VECTORS.read_text())["cases"]:
        parts = [bytes.fromhex(part) for part in (public, message, signature)]
        assert verify_alone(*parts) is verify_raw(*parts) is good
