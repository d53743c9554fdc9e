"""What a node remembers of its workflows is there again after it was killed, to the last attempt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from domain.compute.spec import Input
from domain.work import Work, Workflow
from domain.work.work import INDEX_EVERY
from domain.work.workflows import Attempt, PlannedSource, PlannedStep
from ledger.cid import Cid
from ledger.database import connect
from ledger.recorder import SqlRecorder

SPEC, JOB = Cid.of(b"spec"), Cid.of(b"job")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = connect(f"sqlite:///{tmp_path / 'node.db'}", synchronous="NORMAL")
    yield engine
    engine.dispose()


def opened(engine: sa.Engine) -> Work:
    """As a node that was just started sees it."""
    return Work(SqlRecorder(engine, "work"))


def step(name: str, **terms: Any) -> PlannedStep:
    usual: dict[str, Any] = {
        "kind": "wasm",
        "program": Cid.of(b"program"),
        "program_name": "program",
        "runtime": None,
        "points": [["-n", "1"], ["-n", "2"]],
        "swept": True,
        "env": {"LANG": "C"},
        "inputs": [Input("a.txt", Cid.of(b"text"), 4)],
        "sources": [],
        "together": False,
        "shards": None,
        "needs": [],
        "price": 1,
        "fuel": 2,
        "memory": 3,
        "output_max": 4,
        "lease_ms": 5,
        "deadline_ms": None,
        "checks": 1,
        "retries": 1,
        "output": "/home/alice/out",
        "seed": bytes(range(32)),
    }
    return PlannedStep(name=name, **(usual | terms))


PLAN = [step("one"), step("two", needs=["one"], sources=[PlannedSource(step="one", files="*.out")])]


def begun(work: Work, key: Cid = SPEC) -> Workflow:
    return work.begin_workflow(key, name="flow", submitted=7, deadline=9, plan=PLAN)


def test_a_plan_comes_back_as_it_was(engine: sa.Engine) -> None:
    begun(opened(engine))
    [flow] = opened(engine).open_workflows()
    assert (flow.key, flow.name, flow.submitted, flow.deadline) == (SPEC, "flow", 7, 9)
    assert flow.plan == PLAN
    assert [state.outcome for state in flow.steps.values()] == [None, None]


def test_an_attempt_is_written_with_the_record_of_its_job(engine: sa.Engine) -> None:
    """One cannot be there without the other: or else a step could be submitted twice, or never."""
    work = opened(engine)
    flow = begun(work)
    record = work.begin_job(
        SPEC, name="flow/one", output=None, inputs=[["a.txt"]], stems=["1/"], step=(flow, "one", [1])
    )
    again = opened(engine)
    [flow] = again.open_workflows()
    assert flow.steps["one"].attempts == [Attempt(record.id, [1])]
    kept = again.record_of_job(record.id)
    assert (kept, kept.job) == (record, None)
    assert kept.stem_of(0, "a.txt") == "1/a.txt"
    again.job_submitted(kept, JOB)
    again.ended(kept)
    assert opened(engine).record_of_job(record.id).ended


def test_steps_end_once_and_the_last_of_them_closes_the_workflow(engine: sa.Engine) -> None:
    work = opened(engine)
    flow = begun(work)
    work.step_ended(flow, "one", "failed", "program: it trapped")
    work.step_ended(flow, "one", "succeeded")
    [flow] = opened(engine).open_workflows()
    assert (flow.steps["one"].outcome, flow.steps["one"].reason) == ("failed", "program: it trapped")
    work = opened(engine)
    [flow] = work.open_workflows()
    work.step_ended(flow, "two", "skipped", "one failed")
    after = opened(engine)
    assert (work.open_workflows(), after.open_workflows()) == ([], [])
    known = after.workflow(SPEC)
    assert known is not None
    assert known.ended, "a workflow that ended can still be looked up"
    after.step_ended(known, "two", "succeeded")
    after.workflow_cancelled(known)
    assert not known.cancelled


def test_a_cancelled_workflow_stays_so(engine: sa.Engine) -> None:
    work = opened(engine)
    flow = begun(work)
    work.workflow_cancelled(flow)
    work.workflow_cancelled(flow)
    [flow] = opened(engine).open_workflows()
    assert flow.cancelled


def test_workflows_are_listed_newest_first_however_many_there_were(engine: sa.Engine) -> None:
    work = opened(engine)
    keys = [Cid.of(str(number).encode()) for number in range(INDEX_EVERY + 3)]
    for key in keys:
        flow = begun(work, key)
        for name in flow.steps:
            work.step_ended(flow, name, "succeeded")
    again = opened(engine)
    assert again.open_workflows() == []
    assert again.workflow_keys(1_000) == keys[::-1]
    assert [flow.key for flow in again.newest_workflows(2)] == keys[:-3:-1]
