"""What the control socket answers about workflows (`fog.workflow_methods`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio

from domain.work import Work, Workflow
from domain.work.workflows import PlannedStep, StepState
from fog import agenda, workflow_methods
from fog.agenda import Agenda
from fog.control import Emit
from fog.methods import JobName, Message, plain
from fog.submitter import Submitter
from fog.workflow_methods import StepLine, WorkflowDetail, WorkflowLine
from fog.workflows import Workflows
from ledger.cid import Cid
from ledger.errors import UsageError
from ledger.types import INT63_MAX

NAMED_MAX: Final = 10_000
"""Of the newest workflows, among which the end of an id is looked for."""


class WorkflowHandlers:
    def __init__(self, workflows: Workflows, work: Work, agenda: Agenda, submitter: Submitter) -> None:
        self._workflows = workflows
        self._work = work
        self._agenda = agenda
        self._submitter = submitter

    def table(self) -> dict[str, Callable[[Any, Emit], Awaitable[Message]]]:
        return {
            "workflow.submit": self.submit,
            "workflow.list": self.list_all,
            "workflow.show": self.show,
            "workflow.wait": self.wait,
            "workflow.cancel": self.cancel,
        }

    async def submit(
        self, request: workflow_methods.WorkflowSubmit, emit: Emit
    ) -> workflow_methods.Submitted:
        flow = await self._workflows.submit(request)
        shards = sum(len(step.points) for step in flow.plan)
        return workflow_methods.Submitted(workflow=str(flow.key), name=flow.name, shards=shards)

    async def list_all(
        self, request: workflow_methods.WorkflowList, emit: Emit
    ) -> workflow_methods.Workflows:
        flows = await trio.to_thread.run_sync(
            lambda: (
                self._work.newest_workflows(request.limit)
                if request.ended
                else self._work.open_workflows()[::-1][: request.limit]
            )
        )
        return workflow_methods.Workflows(workflows=[(await self.detail(flow)).workflow for flow in flows])

    async def show(self, request: JobName, emit: Emit) -> WorkflowDetail:
        return await self.detail(await self._of(request))

    async def wait(self, request: JobName, emit: Emit) -> WorkflowDetail:
        """Tells of every change until it is over."""
        flow = await self._of(request)
        while not flow.ended:
            moved = self._workflows.moved.beat
            await emit(plain(await self.detail(flow)))
            await self._workflows.moved.after(moved)
        return await self.detail(flow)

    async def cancel(self, request: JobName, emit: Emit) -> WorkflowDetail:
        flow = await self._of(request)
        if flow.ended:
            raise UsageError(
                f"workflow {flow.name} is over: {state_of(flow)}",
                code="workflow_over",
                next_step=f"fog job show {str(flow.key)[-8:]}",
            )
        await self._workflows.cancel(flow)
        return await self.detail(flow)

    # -- what others of this folder ask ------------------------------------------------------------------

    async def named(self, end: str) -> list[Cid]:
        """The keys of our workflows that end so."""
        return await trio.to_thread.run_sync(
            lambda: [key for key in self._work.workflow_keys(NAMED_MAX) if str(key).endswith(end)]
        )

    async def open(self) -> list[WorkflowDetail]:
        """Those that are not over, the newest first."""
        return [await self.detail(flow) for flow in self._work.open_workflows()[::-1]]

    async def flow(self, key: Cid) -> Workflow | None:
        return await trio.to_thread.run_sync(self._work.workflow, key)

    async def detail(self, flow: Workflow) -> WorkflowDetail:
        steps = [await self._line(step, flow.steps[step.name]) for step in flow.plan]
        return WorkflowDetail(workflow=line_of(flow, steps), steps=steps)

    async def _line(self, step: PlannedStep, state: StepState) -> StepLine:
        records = [
            await trio.to_thread.run_sync(self._work.record_of_job, attempt.record)
            for attempt in state.attempts
        ]
        jobs = [record.job for record in records if record.job is not None]
        rows = [await self._agenda.ask(agenda.job_row, job) for job in jobs]
        last = rows[-1] if rows and state.outcome is None else None
        return StepLine(
            note="" if last is None else await self._submitter.note_of(last),
            step=step.name,
            state=state.outcome or ("running" if state.attempts else "waiting"),
            reason=state.reason,
            needs=step.needs,
            jobs=[str(job) for job in jobs],
            shards=len(state.attempts[0].shards) if state.attempts else None,
            settled=sum(row["settled"] for row in rows if row is not None),
            fetched=sum(len(record.fetched) for record in records),
            spent=sum(row["spent"] for row in rows if row is not None),
            output=step.output,
        )

    async def _of(self, request: JobName) -> Workflow:
        """Raises UsageError (`no_such_workflow`, `ambiguous_job`)."""
        keys = await self.named(request.job)
        if len(keys) > 1:
            raise UsageError(
                f"{len(keys)} workflows end in {request.job}",
                code="ambiguous_job",
                next_step="give more of the id",
            )
        flow = await self.flow(keys[0]) if keys else None
        if flow is None:
            raise UsageError(
                f"no workflow ends in {request.job}", code="no_such_workflow", next_step="fog job list"
            )
        return flow


def line_of(flow: Workflow, steps: Sequence[StepLine]) -> WorkflowLine:
    """One line, which whoever lists can read: a deadline beyond all time was once taken, and hid others."""
    return WorkflowLine(
        workflow=str(flow.key),
        name=flow.name,
        state=state_of(flow),
        steps=len(steps),
        done=sum(step.state == "succeeded" for step in steps),
        spent=sum(step.spent for step in steps),
        submitted=flow.submitted,
        deadline=min(flow.deadline, INT63_MAX),
    )


def state_of(flow: Workflow) -> str:
    outcomes = {step.outcome for step in flow.steps.values()}
    if None in outcomes:
        return "running"
    if outcomes == {"succeeded"}:
        return "succeeded"
    return "cancelled" if flow.cancelled and "failed" not in outcomes else "failed"
