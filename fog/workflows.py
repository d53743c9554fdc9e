"""Workflows: steps become jobs when those that they need have succeeded; what is done stays done.

    submit    read every program and file now, keep them as blobs, keep the plan (`domain.work.Workflow`)
    run       after every checkpoint, and whenever results came home, look at each step:

      waiting    a step it needs is not done
      running    its newest job runs, or results of it are on their way
      succeeded  every shard is settled, and every run ended well
      failed     the rules refused its job; shards or results were lost more often than `retries` allows; a
                 run ended ill (it would again: programs are pure); its time was over before it began; or a
                 result that it needs is gone
      skipped    a step it needs did not succeed
      cancelled  by its owner

What is the program's fault is not tried again, what is the network's is: shards that were not settled, or
whose results are lost, are submitted again as a job of their own, under their old numbers.

What must always hold: an attempt is in the record before its job is signed, so that a step is never submitted
twice.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import trio

from domain.compute.engine import ENGINE
from domain.compute.programs import prepare
from domain.compute.spec import ShardResult
from domain.payloads import BondedJob, JobCancel
from domain.work import SubmittedJob, Work, Workflow
from domain.work.workflows import PLAN_SIZE_MAX, PlannedSource, PlannedStep
from fog import agenda
from fog.agenda import Agenda
from fog.bringing import RESULT_LOST, FindSaid
from fog.jobs import add_file, input_of, unique_names
from fog.layout import Laid, lay_out, spec_of
from fog.patience import Patience
from fog.places import require_place
from fog.pulse import Pulse
from fog.step_inputs import StepInputs
from fog.submitter import Submitter
from fog.worker import Say
from fog.workflow_methods import StepSubmit, WorkflowSubmit
from ledger.cid import Cid
from ledger.errors import FogError, UsageError
from ledger.execution import OK
from ledger.types import INT63_MAX
from network.blobs import BlobMissing, BlockStore
from projections.log import event as final_event

T = TypeVar("T")

log = logging.getLogger(__name__)

RUNNING: Final = "running"
LOOK_AGAIN_S: Final = 5.0
"""After something could not be done now: a full disk, a result that nobody gives."""


@dataclass(slots=True)
class _Lacking:
    """`next_at`: when it may be asked for again, on trio's clock."""

    patience: Patience
    next_at: float


class Workflows:
    def __init__(
        self,
        agenda: Agenda,
        work: Work,
        store: BlockStore,
        cache: Path,
        submitter: Submitter,
        say: Say,
        said: FindSaid,
        clock: Callable[[], int],
    ) -> None:
        """`cache` is a folder for compiled programs; `clock` gives unix ms."""
        self._agenda = agenda
        self._work = work
        self._store = store
        self._cache = cache
        self._submitter = submitter
        self._say = say
        self._said = said
        self._clock = clock
        self._cancelling: set[Cid] = set()
        self._lacking: dict[tuple[Cid, str], _Lacking] = {}  # steps that wait for a result that is gone
        self._given = StepInputs(work, store, submitter)
        self.moved = Pulse()

    # -- submitting --------------------------------------------------------------------------------------

    async def submit(self, request: WorkflowSubmit) -> Workflow:
        """Read everything and keep the plan; durable when this returns.

        Raises what `prepare`, `fog.jobs` and `fog.places` raise; UsageError (`oversize`).
        """
        with self._store.pins.hold_new():  # from then on the plan pins them
            return await self._written_down(request)

    async def _written_down(self, request: WorkflowSubmit) -> Workflow:
        plan = [await self._planned(step) for step in request.steps]
        known: set[str] = set()
        outputs: dict[str, list[str]] = {}
        for step in plan:
            if step.name in known or not known.issuperset(step.needs):
                raise UsageError(f"step {step.name} is not in order", code="bad_steps")
            known.add(step.name)
            stems: list[str] = []
            if not step.sources:
                laid = lay_out(step, step.inputs)
                await self._keep(spec_of, step, laid, range(len(laid)))
                stems = [stem for one in laid for stem in one.stems]
            if step.output is not None:
                outputs.setdefault(step.output, []).extend(stems)
        for folder, stems in outputs.items():  # of several steps, perhaps
            await self._keep(require_place, Path(folder), stems)
        now = self._clock()
        whole = await self._keep(msgspec.json.encode, plan, enc_hook=str)
        if len(whole) > PLAN_SIZE_MAX:
            raise UsageError(
                f"the plan has {len(whole)} bytes, at most {PLAN_SIZE_MAX} are allowed",
                code="oversize",
                next_step="give fewer files at once, or shorter arguments",
            )
        key = Cid.of(whole)  # seeds are fresh, so no two are the same
        deadline = now + request.deadline_ms
        flow = await self._keep(
            self._work.begin_workflow, key, name=request.name, submitted=now, deadline=deadline, plan=plan
        )
        self.moved.advance()
        return flow

    async def _planned(self, step: StepSubmit) -> PlannedStep:
        program = await prepare(Path(step.program), self._cache)
        program.require_memory(step.memory)
        for path in (program.path, program.runtime):
            if path is not None:
                await trio.to_thread.run_sync(add_file, self._store, path)
        files = [Path(name) for name in step.files]
        inputs = [
            await trio.to_thread.run_sync(input_of, self._store, name, path)
            for name, path in zip(unique_names(files), files, strict=True)
        ]
        return PlannedStep(
            name=step.name,
            kind=program.kind,
            program=program.cid,
            program_name=program.name,
            runtime=program.runtime_cid,
            points=step.points,
            swept=step.swept,
            env=step.env,
            inputs=inputs,
            sources=[PlannedSource(step=source.step, files=source.files) for source in step.sources],
            together=step.together,
            shards=step.shards,
            needs=step.needs,
            price=step.price,
            fuel=step.fuel,
            memory=step.memory,
            output_max=step.output_max,
            lease_ms=step.lease_ms,
            deadline_ms=step.deadline_ms,
            checks=step.checks,
            bond=step.bond,
            retries=step.retries,
            output=step.output,
            seed=os.urandom(32),
        )

    async def cancel(self, flow: Workflow) -> None:
        """What runs is cancelled at once, what waits will not begin; durable when this returns."""
        await self._keep(self._work.workflow_cancelled, flow)
        self.moved.advance()

    # -- going on ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            for pulse in (self._agenda.folded, self._submitter.fetched):
                nursery.start_soon(self._move_with, pulse)
            seen = -1
            while True:
                for flow in await self._keep(self._work.open_workflows):
                    try:
                        await self._go_on(flow)
                    except (FogError, OSError) as error:  # OSError: this machine's disk
                        log.warning("workflow %s is looked at again later: %s", flow.name, error)
                with trio.move_on_after(LOOK_AGAIN_S):
                    seen = await self.moved.after(seen)

    async def _move_with(self, pulse: Pulse) -> None:
        seen = -1
        while True:
            seen = await pulse.after(seen)
            self.moved.advance()

    async def _go_on(self, flow: Workflow) -> None:
        for step in flow.plan:
            if flow.steps[step.name].outcome is None:
                try:
                    await self._step(flow, step)
                except (FogError, OSError) as error:  # OSError: this machine's disk
                    await self._hindered(flow, step, error)
                else:
                    self._lacking.pop((flow.key, step.name), None)

    async def _step(self, flow: Workflow, step: PlannedStep) -> None:
        """Raises FogError or OSError when that cannot be done now; BlobMissing for want of a result."""
        state = flow.steps[step.name]
        needed = {name: flow.steps[name].outcome for name in step.needs}
        if state.attempts:
            await self._look_at(flow, step)
        elif flow.cancelled:
            await self._end(flow, step, "cancelled")
        elif bad := [name for name, outcome in needed.items() if outcome not in (None, "succeeded")]:
            await self._end(flow, step, "skipped", f"{bad[0]} {flow.steps[bad[0]].outcome}")
        elif all(outcome == "succeeded" for outcome in needed.values()) and self._may_ask(flow, step):
            await self._begin(flow, step)

    def _may_ask(self, flow: Workflow, step: PlannedStep) -> bool:
        """Not while it pauses between two tries."""
        lacking = self._lacking.get((flow.key, step.name))
        return lacking is None or trio.current_time() >= lacking.next_at

    async def _hindered(self, flow: Workflow, step: PlannedStep, error: FogError | OSError) -> None:
        """It could not be looked at: again later, but not for ever."""
        log.warning("%s: %s is looked at again later: %s", flow.name, step.name, error)
        code = error.code if isinstance(error, FogError) else "disk"
        if flow.cancelled:
            await self._end(flow, step, "cancelled", f"{code}: {error}")
        elif isinstance(error, BlobMissing):
            await self._lacks(flow, step, error)
        elif self._clock() > flow.deadline:
            await self._end(flow, step, "failed", f"{code}: {error}")

    async def _lacks(self, flow: Workflow, step: PlannedStep, error: BlobMissing) -> None:
        """A result that was here is gone, and nobody gives it."""
        now, bringing = trio.current_time(), self._submitter.bringing
        lacking = self._lacking.setdefault((flow.key, step.name), _Lacking(bringing.patience(), now))
        pause_s = lacking.patience.failed(now - lacking.next_at, brought=False, alone=bringing.is_alone)
        if pause_s is None:
            del self._lacking[flow.key, step.name]
            await self._end(flow, step, "failed", f"{RESULT_LOST}: {error}")
        else:
            lacking.next_at = now + pause_s

    async def _begin(self, flow: Workflow, step: PlannedStep) -> None:
        try:
            laid = lay_out(step, await self._given.inputs(flow, step))
            await self._attempt(flow, step, laid, range(len(laid)))
        except UsageError as error:
            await self._end(flow, step, "failed", f"{error.code}: {error}")

    async def _attempt(
        self, flow: Workflow, step: PlannedStep, laid: Sequence[Laid], numbers: Sequence[int]
    ) -> None:
        if self._deadline(flow, step) <= self._clock() + step.lease_ms:
            await self._end(flow, step, "failed", "too_late: no lease fits before the deadline")
            return
        if step.output is not None:
            stems = [stem for number in numbers for stem in laid[number].stems]
            await self._keep(require_place, Path(step.output), stems)
        spec = await self._keep(lambda: self._store.add(spec_of(step, laid, numbers)))
        record = await self._keep(
            self._work.begin_job,
            spec,
            name=f"{flow.name}/{step.name}" if len(flow.plan) > 1 else flow.name,
            output=step.output,
            inputs=[[entry.name for entry in laid[number].inputs] for number in numbers],
            stems=[laid[number].stem for number in numbers],
            together=step.together,
            output_max=step.output_max,
            step=(flow, step.name, list(numbers)),
        )
        await self._sign(flow, step, record)

    async def _sign(self, flow: Workflow, step: PlannedStep, record: SubmittedJob) -> None:
        payload = BondedJob(
            spec=record.spec,
            shards=len(record.inputs),
            fuel=step.fuel,
            price=step.price,
            lease=step.lease_ms,
            deadline=self._deadline(flow, step),
            engine=ENGINE,
            checks=step.checks,
            bond=await self._submitter.bond_of(step.bond, step.checks, step.fuel, step.price),
        )
        await self._submitter.sign(record, payload)
        self.moved.advance()

    def _deadline(self, flow: Workflow, step: PlannedStep) -> int:
        """Of a job that is submitted now, unix ms."""
        whole = min(flow.deadline, INT63_MAX)
        return whole if step.deadline_ms is None else min(whole, self._clock() + step.deadline_ms)

    # -- a step whose job is on its way ------------------------------------------------------------------

    async def _look_at(self, flow: Workflow, step: PlannedStep) -> None:
        attempts = flow.steps[step.name].attempts
        records = [await self._keep(self._work.record_of_job, attempt.record) for attempt in attempts]
        last = records[-1]
        if last.job is None:
            await self._say_again(flow, step, last)
        elif not last.ended:
            if flow.cancelled:
                await self._cancel_job(flow, step, last.job)
        elif flow.cancelled or self._may_ask(flow, step):
            await self._judge(flow, step, records)

    async def _say_again(self, flow: Workflow, step: PlannedStep, record: SubmittedJob) -> None:
        """A crash, or a full disk, came between record and event: that is there already, or never was."""
        job = await self._said(record.spec)
        if job is not None:
            await self._keep(self._work.job_submitted, record, job)
        elif flow.cancelled:
            await self._keep(self._work.ended, record)
            await self._end(flow, step, "cancelled")
        else:
            await self._sign(flow, step, record)

    async def _cancel_job(self, flow: Workflow, step: PlannedStep, job: Cid) -> None:
        """Once it is over in the ledger, nobody waits for results that may never come home."""
        row = await self._agenda.ask(agenda.job_row, job)
        if row is None:
            return  # not final yet, or refused, which its record will say
        if row["state"] != RUNNING:
            self._submitter.bringing.give_up(job, at_once=False)
            await self._end(flow, step, "cancelled")
        elif job not in self._cancelling:
            self._cancelling.add(job)  # said once: said again it would only be refused
            await self._say(JobCancel(job))

    async def _judge(self, flow: Workflow, step: PlannedStep, records: list[SubmittedJob]) -> None:
        """Its newest job is over, and what was settled is here."""
        last = records[-1]
        assert last.job is not None, "a job that is over was submitted"
        row = await self._agenda.ask(agenda.job_row, last.job)
        if row is None:
            entry = await self._agenda.ask(final_event, last.job)
            code = OK if entry is None else entry["code"]
            await self._end(flow, step, "failed", f"refused: {code}")
            return
        results = await self._given.results(flow, step)
        attempts = flow.steps[step.name].attempts
        missing = [number for number in attempts[0].shards if number not in results]
        if not missing:
            await self._end(flow, step, *_how(results))
        elif flow.cancelled or row["state"] == "cancelled":
            await self._end(flow, step, "cancelled", f"{len(missing)} shards were not settled")
        elif len(attempts) > step.retries:
            lost = f"{len(missing)} of {len(attempts[0].shards)} shards were lost"
            words = f"lost: {lost}, in {len(attempts)} jobs{_losses(records)}"
            await self._end(flow, step, "failed", words)
        else:
            log.info("%s: %d shards of %s are submitted again", flow.name, len(missing), step.name)
            await self._attempt(flow, step, lay_out(step, await self._given.inputs(flow, step)), missing)

    # -- records -----------------------------------------------------------------------------------------

    async def _end(self, flow: Workflow, step: PlannedStep, outcome: str, reason: str = "") -> None:
        log.info("%s: %s %s %s", flow.name, step.name, outcome, reason)
        await self._keep(self._work.step_ended, flow, step.name, outcome, reason)
        self.moved.advance()

    async def _keep(self, change: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Change or look up a record of ours; durable on return."""
        return await trio.to_thread.run_sync(lambda: change(*args, **kwargs))

    def __repr__(self) -> str:
        return f"<Workflows open={len(self._work.open_workflows())}>"


def _losses(records: list[SubmittedJob]) -> str:
    """Of the shards that were settled: why their results are not here."""
    losses = [loss for record in records for loss in record.lost.values()]
    if not losses:
        return ""
    words = ", ".join(sorted({loss.code for loss in losses}))
    return f"; {len(losses)} settled results are not here ({words}): {losses[0].reason}"


def _how(results: dict[int, ShardResult]) -> tuple[str, str]:
    """All shards are settled: did the program end well in all of them?"""
    bad = {number: result for number, result in results.items() if not result.ok}
    if not bad:
        return "succeeded", ""
    words = sorted({run.status for result in bad.values() for run in result.runs} - {"ok"})
    first = ", ".join(map(str, list(bad)[:5]))
    return "failed", f"program: {len(bad)} of {len(results)} shards ({first}): {', '.join(words)}"
