"""`Work`: what the rest of the program asks of its records, and tells them.

An index, itself an aggregate, says which records are open. After every INDEX_EVERY events it is written out
whole, so that starting reads the open records and a bounded tail, whatever number was ever closed.

Blocking; safe to call from several threads. A record that is open is one object: later changes show in it.

What must always hold:
    a change is durable when the method returns, a record and its index in one transaction
    the first answer to a lease is the only one
    a mark of the outbox only grows
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

from eventsourcing.persistence import IntegrityError, ProcessRecorder

from domain.compute.spec import OUTPUT_MAX
from domain.work.journal import TAIL, Journal, whole
from domain.work.records import (
    Alias,
    Event,
    HeldLease,
    Index,
    IndexWritten,
    JobAliased,
    JobBegun,
    JobEnded,
    JobSubmitted,
    LeaseComputed,
    LeaseEnded,
    Outbox,
    PeerHolds,
    Record,
    RecordClosed,
    RecordOpened,
    ResultFetched,
    ResultLost,
    SubmittedJob,
)
from domain.work.workflows import (
    Outcome,
    PlannedStep,
    StepAttempted,
    StepEnded,
    Workflow,
    WorkflowBegun,
    WorkflowCancelled,
)
from ledger.cid import Cid

INDEX_EVERY: Final = 64
assert INDEX_EVERY * 2 <= TAIL, "the last whole index must lie in the tail that is read"

JOBS: Final = "index/jobs"
WORKFLOWS: Final = "index/workflows"
LEASES: Final = "index/leases"

R = TypeVar("R", bound=Record)

StepOf = tuple[Workflow, str, list[int]]
"""A workflow, the name of a step, and which of its shards."""


class Work:
    def __init__(self, recorder: ProcessRecorder) -> None:
        """Reads the open records. `recorder` is `Store.recorder("work")`."""
        self._journal = Journal(recorder)
        self._lock = threading.Lock()
        self._jobs = self._journal.latest(Index, JOBS, IndexWritten)
        self._leases = self._journal.latest(Index, LEASES, IndexWritten)
        self._workflows = self._journal.latest(Index, WORKFLOWS, IndexWritten)
        self._open: dict[str, Record] = {}
        self._aliases: dict[Cid, str] = {}
        self._outboxes: dict[int, Outbox] = {}
        for id in self._jobs.open:
            job = self._load(SubmittedJob, id)
            if job.job is not None:
                self._aliases[job.job] = id
        for id in self._leases.open:
            self._load(HeldLease, id)
        for id in self._workflows.open:
            self._load(Workflow, id)

    # -- jobs -----------------------------------------------------------------------------------------------

    def begin_job(
        self,
        spec: Cid,
        *,
        name: str,
        output: str | None,
        inputs: list[list[str]],
        stems: Sequence[str] = (),
        together: bool = False,
        output_max: int = OUTPUT_MAX,
        step: StepOf | None = None,
    ) -> SubmittedJob:
        """A record for a job that is about to be signed; with `step`, the attempt that it is, in one."""
        with self._lock:
            job = SubmittedJob(f"job/{self._jobs.version}")
            begun = self._next(
                job,
                JobBegun,
                spec=spec,
                name=name,
                output=output,
                inputs=inputs,
                stems=list(stems),
                together=together,
                output_max=output_max,
            )
            if step is None:
                return self._begin(self._jobs, job, begun)
            flow, name, shards = step
            attempt = self._next(flow, StepAttempted, step=name, record=job.id, shards=shards)
            return self._begin(self._jobs, job, begun, (flow, attempt))

    def record_of_job(self, id: str) -> SubmittedJob:
        """The record that an attempt names, open or ended."""
        with self._lock:
            if id in self._open:
                return self._opened(SubmittedJob, id)
            record = self._journal.find(SubmittedJob, id)
            assert record is not None, f"an attempt names {id}, which has no events"
            return record

    def job_submitted(self, record: SubmittedJob, job: Cid) -> None:
        """Its event is signed and durable, and `job` is its id. Again changes nothing."""
        with self._lock:
            if record.job is not None:
                assert record.job == job, f"{record.id} is {record.job}, not {job}"
                return
            alias = Alias(_alias(job))
            self._change(
                (record, self._next(record, JobSubmitted, job=job)),
                (alias, self._next(alias, JobAliased, record=record.id)),
            )
            self._aliases[job] = record.id

    def fetched(self, record: SubmittedJob, shard: int, result: Cid | None = None) -> None:
        """The result of a shard is here, and written."""
        with self._lock:
            if shard not in record.fetched:
                self._change((record, self._next(record, ResultFetched, shard=shard, result=result)))

    def lost(self, record: SubmittedJob, shard: int, code: str, reason: str) -> None:
        """The result of a settled shard is not waited for any more, because of this."""
        with self._lock:
            if shard not in record.fetched:
                self._change((record, self._next(record, ResultLost, shard=shard, code=code, reason=reason)))

    def ended(self, record: SubmittedJob) -> None:
        """Nothing is to be done for this job any more. Also for one that was begun and never submitted."""
        with self._lock:
            if not record.ended:
                self._end(self._jobs, (record, self._next(record, JobEnded)))
                self._aliases.pop(record.job or Cid(), None)

    def job(self, job: Cid) -> SubmittedJob | None:
        """The record of a job, open or ended; None when it was not submitted here."""
        with self._lock:
            id = self._aliases.get(job)
            if id is not None:
                return self._opened(SubmittedJob, id)
            alias = self._journal.find(Alias, _alias(job))
            return None if alias is None else self._journal.find(SubmittedJob, alias.record)

    def open_jobs(self) -> list[SubmittedJob]:
        """Jobs that have not ended, the oldest first. From memory."""
        with self._lock:
            return [self._opened(SubmittedJob, id) for id in self._jobs.open]

    # -- workflows ------------------------------------------------------------------------------------------

    def begin_workflow(
        self, key: Cid, *, name: str, submitted: int, deadline: int, plan: list[PlannedStep]
    ) -> Workflow:
        with self._lock:
            flow = Workflow(f"workflow/{key}")
            begun = self._next(
                flow, WorkflowBegun, key=key, name=name, submitted=submitted, deadline=deadline, plan=plan
            )
            return self._begin(self._workflows, flow, begun)

    def workflow_cancelled(self, flow: Workflow) -> None:
        """Again, or after its end, changes nothing."""
        with self._lock:
            if not flow.cancelled and not flow.ended:
                self._change((flow, self._next(flow, WorkflowCancelled)))

    def step_ended(self, flow: Workflow, step: str, outcome: Outcome, reason: str = "") -> None:
        """When it was the last step, the workflow is closed with it."""
        with self._lock:
            if flow.steps[step].outcome is not None:
                return
            ended = self._next(flow, StepEnded, step=step, outcome=outcome, reason=reason)
            last = all(name == step or other.outcome is not None for name, other in flow.steps.items())
            if last:
                self._end(self._workflows, (flow, ended))
            else:
                self._change((flow, ended))

    def workflow(self, key: Cid) -> Workflow | None:
        """One of ours, open or ended."""
        with self._lock:
            id = f"workflow/{key}"
            if id in self._open:
                return self._opened(Workflow, id)
            return self._journal.find(Workflow, id)

    def open_workflows(self) -> list[Workflow]:
        """Those that have not ended, the oldest first. From memory."""
        with self._lock:
            return [self._opened(Workflow, id) for id in self._workflows.open]

    def workflow_keys(self, limit: int) -> list[Cid]:
        """Of all that were ever begun, the newest first."""
        with self._lock:
            return [Cid.parse(id.split("/")[1]) for id in self._journal.opened(WORKFLOWS, limit)]

    def newest_workflows(self, limit: int) -> list[Workflow]:
        """Open or ended, the newest first."""
        with self._lock:
            ids = self._journal.opened(WORKFLOWS, limit)
            return [flow for id in ids if (flow := self._journal.find(Workflow, id)) is not None]

    # -- leases ---------------------------------------------------------------------------------------------

    def computed(
        self, job: Cid, shard: int, attempt: int, *, result: Cid, fuel: int, salt: bytes
    ) -> HeldLease:
        """Keep the answer to a lease, before it is committed to. A second answer is not taken: the first is
        returned."""
        with self._lock:
            id = _lease(job, shard, attempt)
            if id in self._open:
                return self._opened(HeldLease, id)
            lease = HeldLease(id)
            answer = self._next(lease, LeaseComputed, result=result, fuel=fuel, salt=salt)
            try:
                return self._begin(self._leases, lease, answer)
            except IntegrityError:  # it was answered, and is over: seldom, so that is not looked up before
                first = self._journal.find(HeldLease, id)
                if first is None:
                    raise
                return first

    def lease(self, job: Cid, shard: int, attempt: int) -> HeldLease | None:
        """The answer to a lease, if it was computed."""
        with self._lock:
            return self._lease(job, shard, attempt)

    def leases_over(self, leases: Iterable[tuple[Cid, int, int]]) -> None:
        """The ledger asks nothing more of these (job, shard, attempt). No error where nothing is held."""
        with self._lock:
            ids = dict.fromkeys(_lease(*lease) for lease in leases)
            held = [self._opened(HeldLease, id) for id in ids if id in self._open]
            for start in range(0, len(held), INDEX_EVERY):
                some = held[start : start + INDEX_EVERY]
                self._end(self._leases, *((lease, self._next(lease, LeaseEnded)) for lease in some))

    def open_leases(self) -> list[tuple[Cid, int, int]]:
        """(job, shard, attempt) of every answer that is not over, the oldest first. From memory."""
        with self._lock:
            return [_lease_of(id) for id in self._leases.open]

    def _lease(self, job: Cid, shard: int, attempt: int) -> HeldLease | None:
        id = _lease(job, shard, attempt)
        if id in self._open:
            return self._opened(HeldLease, id)
        return self._journal.find(HeldLease, id)

    # -- outbox ---------------------------------------------------------------------------------------------

    def seen_up_to(self, lane: int) -> int:
        """The seq up to which some peer has shown to hold our lane; -1 for nothing."""
        with self._lock:
            return self._outbox(lane).seq

    def seen(self, lane: int, seq: int) -> None:
        """A peer has shown to hold our events 0 … `seq` of a lane. An older mark changes nothing."""
        with self._lock:
            outbox = self._outbox(lane)
            if seq > outbox.seq:
                self._change((outbox, self._next(outbox, PeerHolds, seq=seq)))

    def _outbox(self, lane: int) -> Outbox:
        if lane not in self._outboxes:
            self._outboxes[lane] = self._journal.latest(Outbox, f"outbox/{lane}", PeerHolds)
        return self._outboxes[lane]

    # -- records and their index ----------------------------------------------------------------------------

    def _load(self, kind: type[R], id: str) -> R:
        record = self._journal.find(kind, id)
        assert record is not None, f"the index names {id}, which has no events"
        self._open[id] = record
        return record

    def _opened(self, kind: type[R], id: str) -> R:
        record = self._open[id]
        assert type(record) is kind, f"{id} is a {type(record).__name__}"
        return record

    def _begin(self, index: Index, record: R, event: Event, *others: tuple[Record, Event]) -> R:
        opened = self._next(index, RecordOpened, record=record.id)
        self._change((record, event), *others, (index, opened))
        self._open[record.id] = record
        self._write_out(index)
        return record

    def _end(self, index: Index, *ends: tuple[Record, Event]) -> None:
        """All of them or none; where an index is due among them, it is written with them."""
        assert len(ends) <= INDEX_EVERY, "a whole index for each INDEX_EVERY events"
        ended = {record.id for record, _ in ends}
        closed: list[Event] = [
            RecordClosed(originator_id=index.id, originator_version=version, record=id)
            for version, id in enumerate(ended, index.version + 1)
        ]
        if index.version // INDEX_EVERY < (index.version + len(closed)) // INDEX_EVERY:
            left = [id for id in index.open if id not in ended]
            last = index.version + len(closed)
            closed.append(IndexWritten(originator_id=index.id, originator_version=last + 1, open=left))
        self._change(*ends, *((index, event) for event in closed))
        for id in ended:
            self._open.pop(id, None)

    def _write_out(self, index: Index) -> None:
        if index.version % INDEX_EVERY == 0:
            self._change((index, whole(index)))

    def _change(self, *changes: tuple[Record, Event]) -> None:
        """First durable, then in memory."""
        self._journal.record(*(event for _, event in changes))
        for record, event in changes:
            event.mutate(record)

    def _next(self, record: Record, event: type[Event], /, **fields: Any) -> Event:
        return event(originator_id=record.id, originator_version=record.version + 1, **fields)

    def __repr__(self) -> str:
        return f"<Work jobs={len(self._jobs.open)} leases={len(self._leases.open)} open>"


def _alias(job: Cid) -> str:
    return f"alias/{job}"


def _lease(job: Cid, shard: int, attempt: int) -> str:
    return f"lease/{job}/{shard}/{attempt}"


def _lease_of(id: str) -> tuple[Cid, int, int]:
    _, job, shard, attempt = id.split("/")
    return Cid.parse(job), int(shard), int(attempt)
