"""What a node owes stays when its store makes room: inputs of open jobs, results of open leases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from domain.compute.engine import ENGINE
from domain.compute.spec import Input, JobSpec, Output, Run, ShardResult
from domain.work import Work
from domain.work.workflows import PlannedSource
from fog.pinning import pin_what_is_owed
from ledger.cid import Cid
from ledger.database import connect
from ledger.recorder import SqlRecorder
from network.blobs import BlockStore
from tests.domain.work.test_workflows import step
from tests.network.test_blobs import content

JOB = Cid.of(b"job")
EMPTY = Output(0, data=b"")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = connect(f"sqlite:///{tmp_path / 'node.db'}", synchronous="NORMAL")
    yield engine
    engine.dispose()


def opened(engine: sa.Engine, folder: Path) -> tuple[Work, BlockStore]:
    """As a node that was just started sees it."""
    work, store = Work(SqlRecorder(engine, "work")), BlockStore(folder / "blobs")
    pin_what_is_owed(store, work)
    return work, store


def spec_of(store: BlockStore, *inputs: bytes) -> JobSpec:
    entries = tuple(Input(f"{n}.txt", store.add(data), len(data)) for n, data in enumerate(inputs))
    return JobSpec(
        kind="wasm",
        program=store.add(b"\0asm"),
        name="program",
        memory=1 << 20,
        fuel=10**9,
        output=1 << 20,
        seed=bytes(32),
        clock_ns=0,
        engine=ENGINE,
        shards=(entries,),
    )


def test_what_a_job_of_ours_needs_stays_until_it_is_over(engine: sa.Engine, tmp_path: Path):
    work, store = opened(engine, tmp_path)
    large = content(600_000)
    spec = spec_of(store, b"small", large)
    other = store.add(b"of nobody")
    record = work.begin_job(store.add(spec.encode()), name="job", output=None, inputs=[["0.txt", "1.txt"]])
    work.job_submitted(record, JOB)
    work, store = opened(engine, tmp_path)
    store.gc()
    assert not store.has(other)
    assert store.has(record.spec)
    assert store.has(spec.program)
    assert [store.is_whole(entry.cid) for entry in spec.shards[0]] == [True, True]
    work.ended(work.open_jobs()[0])
    store.gc()
    assert store.bytes_used == 0


def test_a_result_stays_with_its_blobs_until_its_lease_is_over(engine: sa.Engine, tmp_path: Path):
    work, store = opened(engine, tmp_path)
    data = content(300_000)
    output = Output(len(data), cid=store.add(data))
    result = store.add(ShardResult(ENGINE, (Run("", "ok", 1, output, EMPTY),)).encode())
    work.computed(JOB, 0, 0, result=result, fuel=1, salt=bytes(32))
    work, store = opened(engine, tmp_path)
    store.gc()
    assert store.has(result)
    assert output.cid is not None
    assert store.is_whole(output.cid)
    work.leases_over([(JOB, 0, 0)])
    store.gc()
    assert store.bytes_used == 0


def test_what_a_step_made_stays_until_the_steps_that_wait_for_it_are_over(engine: sa.Engine, tmp_path: Path):
    """It is their input: workers that ran it may have let go of it long since."""
    work, store = opened(engine, tmp_path)
    data = content(300_000)
    output = Output(len(data), cid=store.add(data))
    result = store.add(ShardResult(ENGINE, (Run("", "ok", 1, output, EMPTY),)).encode())
    program = store.add(b"\0asm")
    terms = {"program": program, "inputs": [], "points": [[]], "swept": False}
    plan = [
        step("throw", **terms),
        step("add", needs=["throw"], sources=[PlannedSource(step="throw", files="*.out")], **terms),
        step("draw", needs=["add"], **terms),
    ]
    flow = work.begin_workflow(Cid.of(b"plan"), name="pi", submitted=0, deadline=1, plan=plan)
    spec = store.add(b"a spec")
    record = work.begin_job(spec, name="pi/throw", output=None, inputs=[[]], step=(flow, "throw", [0]))
    work.job_submitted(record, JOB)
    work.fetched(record, 0, result)
    work.ended(record)
    work.step_ended(flow, "throw", "succeeded")
    work, store = opened(engine, tmp_path)
    store.gc()
    assert store.has(result)
    assert output.cid is not None
    assert store.is_whole(output.cid)
    assert not store.has(spec)
    work.step_ended(work.open_workflows()[0], "add", "succeeded")
    store.gc()
    assert store.bytes_used == len(b"\0asm")


def test_what_cannot_be_read_any_more_hinders_nothing(engine: sa.Engine, tmp_path: Path):
    work, store = opened(engine, tmp_path)
    work.begin_job(Cid.of_raw(b"never stored"), name="job", output=None, inputs=[[]])
    work.begin_job(store.add(b"no spec"), name="job", output=None, inputs=[[]])
    work.computed(JOB, 0, 0, result=store.add(b"no result"), fuel=1, salt=bytes(32))
    loose = store.add(b"of nobody")
    store.gc()
    assert not store.has(loose)
    assert store.bytes_used == len(b"no spec") + len(b"no result")
