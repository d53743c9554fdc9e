"""What a node remembers of its own work is there again after it was killed, and starting stays cheap."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from eventsourcing.persistence import IntegrityError, StoredEvent
from hypothesis import given
from hypothesis import strategies as st

from domain.work import Work
from domain.work.journal import Journal, JsonMapper
from domain.work.records import EVENTS, Index, IndexWritten, Loss
from domain.work.work import INDEX_EVERY, JOBS
from ledger.cid import Cid
from ledger.database import connect
from ledger.errors import StoreCorrupt
from ledger.recorder import SqlRecorder

SPEC, JOB, RESULT = Cid.of(b"spec"), Cid.of(b"job"), Cid.of(b"result")
SALT = bytes(range(32))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = connect(f"sqlite:///{tmp_path / 'node.db'}", synchronous="NORMAL")
    yield engine
    engine.dispose()


def opened(engine: sa.Engine) -> Work:
    """As a node that was just started sees it."""
    return Work(SqlRecorder(engine, "work"))


def test_a_lease_answered_before_the_crash_is_answered_the_same_after_it(engine: sa.Engine) -> None:
    """The salt is part of the commitment, so it must be the first one."""
    opened(engine).computed(JOB, 3, 1, result=RESULT, fuel=700, salt=SALT)
    lease = opened(engine).lease(JOB, 3, 1)
    assert lease is not None
    assert (lease.result, lease.fuel, lease.salt) == (RESULT, 700, SALT)


def test_a_second_answer_to_a_lease_is_not_taken(engine: sa.Engine) -> None:
    """Not even after the lease was over: a commitment may be out."""
    work = opened(engine)
    work.computed(JOB, 3, 1, result=RESULT, fuel=700, salt=SALT)
    assert work.computed(JOB, 3, 1, result=Cid.of(b"other"), fuel=1, salt=bytes(32)).result == RESULT
    work.leases_over([(JOB, 3, 1)])
    again = opened(engine).computed(JOB, 3, 1, result=Cid.of(b"other"), fuel=1, salt=bytes(32))
    assert (again.result, again.salt) == (RESULT, SALT)


def test_leases_are_told_apart_by_job_shard_and_attempt(engine: sa.Engine) -> None:
    work = opened(engine)
    work.computed(JOB, 3, 1, result=RESULT, fuel=700, salt=SALT)
    assert work.lease(JOB, 3, 0) is None
    assert work.lease(JOB, 31, 1) is None
    assert work.lease(SPEC, 3, 1) is None
    work.leases_over([(JOB, 9, 9)])
    assert work.open_leases() == [(JOB, 3, 1)]
    work.leases_over([(JOB, 3, 1)])
    work.leases_over([(JOB, 3, 1)])
    assert opened(engine).open_leases() == []


@pytest.mark.parametrize("ending", [1, 63, 64, 65, 200])
def test_leases_that_are_over_together_leave_the_others_open(engine: sa.Engine, ending: int) -> None:
    """However many: a start reads only the end of the index, so that must say which are left."""
    work = opened(engine)
    for shard in range(ending + 2):
        work.computed(JOB, shard, 0, result=RESULT, fuel=1, salt=SALT)
    work.leases_over([(JOB, shard, 0) for shard in range(1, ending + 1)])
    left = [(JOB, 0, 0), (JOB, ending + 1, 0)]
    assert work.open_leases() == opened(engine).open_leases() == left
    work.leases_over(left)
    assert opened(engine).open_leases() == []


def test_a_job_is_followed_from_its_first_note_to_its_end(engine: sa.Engine) -> None:
    work = opened(engine)
    record = work.begin_job(SPEC, name="tiles", output="/home/alice/out", inputs=[["a.txt"], []])
    assert work.open_jobs() == [record]
    assert work.job(JOB) is None
    work.job_submitted(record, JOB)
    assert work.job(JOB) is record
    work.fetched(record, 1)
    work.fetched(record, 1)
    assert record.fetched == {1}, "what was returned is live"
    again = opened(engine)
    kept = again.job(JOB)
    assert kept == record
    assert kept is not None
    assert (kept.spec, kept.name, kept.output, kept.inputs) == (
        SPEC,
        "tiles",
        "/home/alice/out",
        [["a.txt"], []],
    )
    again.ended(kept)
    again.ended(kept)
    assert again.open_jobs() == []
    after = opened(engine).job(JOB)
    assert after is not None
    assert after.ended, "a job that ended can still be looked up"


def test_a_crash_between_the_note_and_the_event_leaves_a_job_without_an_id(engine: sa.Engine) -> None:
    """Whoever starts next sees it, and can give it its id or end it."""
    opened(engine).begin_job(SPEC, name="x", output=None, inputs=[[]])
    work = opened(engine)
    [record] = work.open_jobs()
    assert record.job is None
    work.ended(record)
    assert opened(engine).open_jobs() == []


def test_two_jobs_with_the_same_spec_are_two_records(engine: sa.Engine) -> None:
    work = opened(engine)
    first, second = (work.begin_job(SPEC, name=name, output=None, inputs=[[]]) for name in "ab")
    work.job_submitted(second, Cid.of(b"second"))
    work.job_submitted(first, Cid.of(b"first"))
    found = work.job(Cid.of(b"first"))
    assert found is not None
    assert (found.name, [job.name for job in opened(engine).open_jobs()]) == ("a", ["a", "b"])


def test_marks_of_the_outbox_only_grow(engine: sa.Engine) -> None:
    work = opened(engine)
    assert work.seen_up_to(0) == -1
    work.seen(0, 5)
    work.seen(0, 3)
    work.seen(2, 0)
    again = opened(engine)
    assert (again.seen_up_to(0), again.seen_up_to(1), again.seen_up_to(2)) == (5, -1, 0)
    again.seen(0, 6)
    assert opened(engine).seen_up_to(0) == 6


def test_starting_reads_what_is_open_not_what_ever_was(engine: sa.Engine) -> None:
    """Fewer statements than twice INDEX_EVERY whatever the number of jobs that ended."""
    work = opened(engine)
    for n in range(3 * INDEX_EVERY):
        record = work.begin_job(SPEC, name=str(n), output=None, inputs=[[]])
        if n != 7:
            work.ended(record)
    rows: list[int] = []
    recorder = SqlRecorder(engine, "work")
    select = recorder.select_events

    def counted(*args: object, **kwargs: object) -> list[StoredEvent]:
        found = select(*args, **kwargs)  # type: ignore[arg-type]
        rows.append(len(found))
        return found

    recorder.select_events = counted  # type: ignore[method-assign]
    [record] = Work(recorder).open_jobs()
    assert record.name == "7"
    assert len(rows) == 4, "three indexes and one open record"
    assert sum(rows) <= 2 * INDEX_EVERY + 1


@given(st.lists(st.booleans(), max_size=200))
def test_the_index_is_the_same_however_far_back_it_is_read(opens: list[bool]) -> None:
    """Reading from the last whole index gives what folding every event gives."""
    engine = connect("sqlite://")
    work = opened(engine)
    for opening in opens:
        jobs = work.open_jobs()
        if opening or not jobs:
            work.begin_job(SPEC, name="x", output=None, inputs=[[]])
        else:
            work.ended(jobs[len(jobs) // 2])
    journal = Journal(SqlRecorder(engine, "work"))
    short = journal.latest(Index, JOBS, IndexWritten)
    assert short == (journal.find(Index, JOBS) or Index(JOBS))
    assert list(short.open) == [job.id for job in work.open_jobs()]
    engine.dispose()


def test_a_change_that_could_not_be_written_did_not_happen(engine: sa.Engine) -> None:
    """Another process took the place of our next event: memory stays with what is on the disk."""
    work = opened(engine)
    record = work.begin_job(SPEC, name="x", output=None, inputs=[[], []])
    other = opened(engine)
    other.fetched(other.open_jobs()[0], 0)
    with pytest.raises(IntegrityError):
        work.fetched(record, 1)
    assert (record.fetched, record.version) == (set(), 1)


def test_several_threads_may_note_things_at_once(engine: sa.Engine) -> None:
    work = opened(engine)
    record = work.begin_job(SPEC, name="x", output=None, inputs=[[]] * 40)

    def fetch(first: int) -> None:
        for shard in range(first, 40, 4):
            work.fetched(record, shard)

    threads = [threading.Thread(target=fetch, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    [kept] = opened(engine).open_jobs()
    assert kept.fetched == record.fetched == set(range(40))


def test_a_result_that_was_lost_is_lost_until_it_is_fetched_after_all(engine: sa.Engine) -> None:
    """Also after the job was over, and after a restart."""
    work = opened(engine)
    record = work.begin_job(SPEC, name="tiles", output=None, inputs=[["a.txt"], []])
    work.job_submitted(record, JOB)
    work.fetched(record, 0)
    work.lost(record, 0, "result_lost", "it is here already")
    work.lost(record, 1, "result_lost", "nobody has it")
    work.ended(record)
    kept = opened(engine).job(JOB)
    assert kept is not None
    assert kept.lost == {1: Loss("result_lost", "nobody has it")}
    work = opened(engine)
    late = work.job(JOB)
    assert late is not None
    work.fetched(late, 1)
    kept = opened(engine).job(JOB)
    assert kept is not None
    assert (kept.fetched, kept.lost, kept.ended) == ({0, 1}, {}, True)


def test_topics_are_names_of_their_own() -> None:
    """Stored data names no Python class, and these words never change."""
    assert sorted(event.TOPIC for event in EVENTS) == [
        "fog.work.index.closed.v1",
        "fog.work.index.opened.v1",
        "fog.work.index.written.v1",
        "fog.work.job.aliased.v1",
        "fog.work.job.begun.v1",
        "fog.work.job.ended.v1",
        "fog.work.job.fetched.v1",
        "fog.work.job.lost.v1",
        "fog.work.job.submitted.v1",
        "fog.work.lease.computed.v1",
        "fog.work.lease.ended.v1",
        "fog.work.outbox.held.v1",
    ]


@pytest.mark.parametrize(
    ("topic", "state"),
    [
        ("os:system", b"{}"),
        ("fog.work.job.ended.v2", b"{}"),
        ("fog.work.job.fetched.v1", b'{"shard": "one"}'),
        ("fog.work.job.submitted.v1", b'{"originator_id":"a","originator_version":1,"job":"bafy"}'),
        ("fog.work.job.ended.v1", b"\xff"),
    ],
)
def test_a_note_that_this_program_did_not_write_is_never_resolved(topic: str, state: bytes) -> None:
    """Least of all imported."""
    with pytest.raises(StoreCorrupt):
        JsonMapper().to_domain_event(StoredEvent("a", 1, topic, state))


def test_the_environment_does_not_configure_it(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSISTENCE_MODULE", "no.such.module")
    monkeypatch.setenv("COMPRESSOR_TOPIC", "no.such:thing")
    work = opened(engine)
    work.seen(0, 1)
    assert repr(work) == "<Work jobs=0 leases=0 open>"


def test_a_job_is_noted_as_submitted_once_whoever_notices_first(engine: sa.Engine) -> None:
    """Whoever signed it and whoever finds it in the tables may both be at it."""
    work = opened(engine)
    record = work.begin_job(SPEC, name="job", output=None, inputs=[[]])
    for _ in range(2):
        work.job_submitted(record, JOB)
    assert opened(engine).job(JOB) == record
