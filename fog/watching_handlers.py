"""What the control socket answers about work that goes on (`fog.watching_methods`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
import trio

from domain.compute.spec import Output, Run
from domain.work import SubmittedJob, Work
from fog import agenda, methods
from fog.agenda import Agenda
from fog.control import Emit
from fog.fleet_methods import FleetState
from fog.methods import JobName, Message, Nothing, plain
from fog.outputs import read
from fog.submitter import Submitter
from fog.watching_methods import (
    LOG_PART_MAX,
    RATE_MS,
    Found,
    JobLogs,
    LogPart,
    LogsEnded,
    Top,
    WorkerLine,
)
from fog.workflow_handlers import WorkflowHandlers
from fog.workflows import Workflows
from ledger.cid import Cid
from ledger.errors import UsageError
from network.blobs import BlockStore
from projections.prices import OFFER
from projections.reputation import CONTRIBUTION
from projections.schedules import RUN

WORKERS_MAX: Final = 200  # more fill no screen


class Told(NamedTuple):
    """A job whose shards are told: `shards` are the numbers that its own shards have in the step."""

    step: str
    record: SubmittedJob
    shards: list[int]


class WatchingHandlers:
    def __init__(
        self,
        account: bytes,
        device: bytes,
        agenda: Agenda,
        work: Work,
        store: BlockStore,
        submitter: Submitter,
        workflows: Workflows,
        flows: WorkflowHandlers,
        named: Callable[[str], Awaitable[Cid]],
        now: Callable[[], tuple[int, int]],
        fleet: Callable[[Nothing, Emit], Awaitable[FleetState]],
    ) -> None:
        """`named` finds a job by the end of its id; `now` is height and ledger time."""
        self._account = account
        self._device = device
        self._agenda = agenda
        self._work = work
        self._store = store
        self._submitter = submitter
        self._workflows = workflows
        self._flows = flows
        self._named = named
        self._now = now
        self._fleet = fleet

    def table(self) -> dict[str, Callable[[Any, Emit], Awaitable[Message]]]:
        return {
            "job.find": self.find,
            "job.wait": self.wait,
            "job.logs": self.logs,
            "top": self.top,
        }

    async def find(self, request: JobName, emit: Emit) -> Found:
        keys = await self._flows.named(request.job)
        if len(keys) > 1:
            raise UsageError(
                f"{len(keys)} workflows end in {request.job}",
                code="ambiguous_job",
                next_step="give more of the id",
            )
        if keys:
            flow = await self._flows.flow(keys[0])
            return Found(kind="workflow", id=str(keys[0]), name="" if flow is None else flow.name)
        job = await self._named(request.job)
        record = await trio.to_thread.run_sync(self._work.job, job)
        return Found(kind="job", id=str(job), name="" if record is None else record.name)

    async def wait(self, request: JobName, emit: Emit) -> methods.JobResult:
        job = await self._named(request.job)
        await self._submitter.require_ours(job)
        await self._submitter.follow(job, lambda progress: emit(plain(progress)))
        return await self._submitter.result(job)

    # -- logs --------------------------------------------------------------------------------------------

    async def logs(self, request: JobLogs, emit: Emit) -> LogsEnded:
        """Each settled shard's runs, once; with `follow`, as they come."""
        found = await self.find(JobName(job=request.job), emit)
        key = Cid.parse(found.id)
        told: set[tuple[str, int]] = set()
        while True:
            moved = self._workflows.moved.beat
            jobs, over = await self._told(found.kind, key, request)
            for job in jobs:
                await self._tell(job, request, told, emit)
            shards = sum(len(set(job.shards)) for job in jobs)
            if over or not request.follow:
                return LogsEnded(shards=len(told), of=max(shards, len(told)), over=over)
            await self._workflows.moved.after(moved)

    async def _told(self, kind: str, key: Cid, request: JobLogs) -> tuple[list[Told], bool]:
        """The jobs there are by now, and whether nothing will be added."""
        if kind == "job":
            record = await self._submitter.require_ours(key)
            return [Told("", record, list(range(len(record.inputs))))], record.ended
        flow = await self._flows.flow(key)
        assert flow is not None, "found a moment ago"
        steps = [step.name for step in flow.plan]
        if request.step is not None and request.step not in steps:
            raise UsageError(
                f"workflow {flow.name} has no step {request.step}",
                code="no_such_step",
                next_step=f"one of: {', '.join(steps)}",
            )
        jobs = []
        for name in steps:
            for attempt in flow.steps[name].attempts if request.step in (None, name) else ():
                record = await trio.to_thread.run_sync(self._work.record_of_job, attempt.record)
                jobs.append(Told(name, record, attempt.shards))
        return jobs, flow.ended

    async def _tell(self, job: Told, request: JobLogs, told: set[tuple[str, int]], emit: Emit) -> None:
        if job.record.job is None:
            return
        for row in await self._agenda.ask(agenda.all_shards, job.record.job):
            number = job.shards[row["shard"]]
            if row["shard"] not in job.record.fetched or (job.step, number) in told:
                continue
            if request.shard in (None, number):
                for run in await self._submitter.runs_of(job.record, row):
                    await emit(plain(await trio.to_thread.run_sync(self._part, job.step, number, run)))
            told.add((job.step, number))

    def _part(self, step: str, number: int, run: Run) -> LogPart:
        out, err = self._text(run.stdout), self._text(run.stderr)
        return LogPart(
            step=step,
            shard=number,
            run=run.name,
            status=run.status,
            out=out,
            err=err,
            cut=run.stdout.size > LOG_PART_MAX or run.stderr.size > LOG_PART_MAX,
        )

    def _text(self, output: Output) -> str:
        return read(output, self._store, LOG_PART_MAX).decode(errors="replace")

    # -- top ---------------------------------------------------------------------------------------------

    async def top(self, _: Nothing, emit: Emit) -> Top:
        height, time = self._now()
        rows = await self._agenda.ask(agenda.newest_jobs, self._account, methods.JOBS_LISTED_MAX)
        jobs = await self._submitter.lines([row for row in rows if row["state"] == "running"])
        flows = await self._flows.open()
        workers = await self._agenda.ask(_workers, self._device, time)
        fleet = (await self._fleet(Nothing(), emit)).devices
        return Top(
            time=time,
            height=height,
            jobs=jobs,
            workflows=flows,
            workers=workers,
            fuel=sum(worker.fuel for worker in workers),
            spent=sum(job.spent for job in jobs),
            leased=await self._agenda.ask(_leased),
            fleet=fleet,
            doing=[what for one in fleet if one.here for what in one.doing],
        )


def _workers(conn: sa.Connection, device: bytes, time: int) -> list[WorkerLine]:
    """Everybody who offers, the busiest first, with what the last minute brought them."""
    paid = (
        sa.select(
            CONTRIBUTION.c.device,
            sa.func.sum(CONTRIBUTION.c.fuel).label("fuel"),
            sa.func.sum(CONTRIBUTION.c.amount).label("amount"),
        )
        .where(CONTRIBUTION.c.time > time - RATE_MS)
        .group_by(CONTRIBUTION.c.device)
    )
    earned = {bytes(row.device): (int(row.fuel), int(row.amount)) for row in conn.execute(paid)}
    query = sa.select(OFFER).where(OFFER.c.slots > 0, OFFER.c.until > time)
    offers = conn.execute(query.order_by(OFFER.c.busy.desc(), OFFER.c.device).limit(WORKERS_MAX)).mappings()
    return [
        WorkerLine(
            account=row["account"].hex(),
            device=row["device"].hex(),
            here=row["device"] == device,
            slots=row["slots"],
            busy=row["busy"],
            price=row["price"],
            fuel=earned.get(bytes(row["device"]), (0, 0))[0],
            earned=earned.get(bytes(row["device"]), (0, 0))[1],
        )
        for row in offers
    ]


def _leased(conn: sa.Connection) -> int:
    """Runs that somebody has in hand."""
    return conn.execute(sa.select(sa.func.count()).where(RUN.c.live.is_(True))).scalar_one()
