"""A workflow: steps, each of which becomes a job once those that it needs have succeeded.

The plan is whole from the beginning: programs and files were read when it was submitted, and are named by
Cid. What is added is which job (by its record here) was made for which shards of a step, and how steps ended.

Knows plans and what became of them. When a step may begin, and with what inputs, `fog.workflows` knows.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from eventsourcing.utils import register_topic

from domain.compute.spec import Input
from domain.work.records import NO_CID, Event, Record
from ledger.cid import Cid

Outcome = Literal["succeeded", "failed", "skipped", "cancelled"]

PLAN_SIZE_MAX: Final = 8 << 20
"""Bytes of a plan as it is stored: two of the largest specs."""


class Planned(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Base of what a plan is made of. Fields only ever gain defaults: plans lie on disks."""


class PlannedSource(Planned, frozen=True):
    """Outputs of an earlier step: those whose path below its folder matches `files`."""

    step: str
    files: str


class PlannedStep(Planned, frozen=True):
    """One step: its program and files by Cid, its arguments for each point, its limits and terms.

    points       exactly one when nothing is swept
    deadline_ms  from when it begins; None: that of the workflow
    output       folder for its results; None: they stay in the blob store
    """

    name: str
    kind: Literal["wasm", "python"]
    program: Cid
    program_name: str
    runtime: Cid | None
    points: list[list[str]]
    swept: bool
    env: dict[str, str]
    inputs: list[Input]
    sources: list[PlannedSource]
    together: bool
    shards: int | None
    needs: list[str]
    price: int
    fuel: int
    memory: int
    output_max: int
    lease_ms: int
    deadline_ms: int | None
    checks: int
    retries: int
    output: str | None
    seed: bytes
    bond: int | None = None


class Attempt(msgspec.Struct, frozen=True):
    """`record` is that of the job; `shards` are the step's, in the job's order."""

    record: str
    shards: list[int]


class StepState(msgspec.Struct):
    """`outcome`: None while it waits or runs."""

    attempts: list[Attempt] = msgspec.field(default_factory=list)
    outcome: Outcome | None = None
    reason: str = ""


class Workflow(Record):
    """`deadline` in unix ms. `id` is that of the record; `key` is the name that people use."""

    key: Cid = NO_CID
    name: str = ""
    submitted: int = 0
    deadline: int = 0
    plan: list[PlannedStep] = msgspec.field(default_factory=list)
    steps: dict[str, StepState] = msgspec.field(default_factory=dict)
    cancelled: bool = False

    @property
    def ended(self) -> bool:
        return all(step.outcome is not None for step in self.steps.values())


class WorkflowBegun(Event, frozen=True):
    TOPIC = "fog.work.workflow.begun.v1"
    KIND = Workflow

    key: Cid
    name: str
    submitted: int
    deadline: int
    plan: list[PlannedStep]

    def apply(self, record: Workflow) -> None:
        record.key, record.name, record.plan = self.key, self.name, self.plan
        record.submitted, record.deadline = self.submitted, self.deadline
        record.steps = {step.name: StepState() for step in self.plan}


class StepAttempted(Event, frozen=True):
    """In one transaction with the job's own record."""

    TOPIC = "fog.work.workflow.attempted.v1"
    KIND = Workflow

    step: str
    record: str
    shards: list[int]

    def apply(self, record: Workflow) -> None:
        step = record.steps[self.step]
        step.attempts = [*step.attempts, Attempt(self.record, self.shards)]


class StepEnded(Event, frozen=True):
    TOPIC = "fog.work.workflow.step_ended.v1"
    KIND = Workflow

    step: str
    outcome: Outcome
    reason: str = ""

    def apply(self, record: Workflow) -> None:
        step = record.steps[self.step]
        step.outcome, step.reason = self.outcome, self.reason


class WorkflowCancelled(Event, frozen=True):
    TOPIC = "fog.work.workflow.cancelled.v1"
    KIND = Workflow

    def apply(self, record: Workflow) -> None:
        record.cancelled = True


EVENTS: Final[tuple[type[Event], ...]] = (WorkflowBegun, StepAttempted, StepEnded, WorkflowCancelled)
for _event in EVENTS:
    register_topic(_event.TOPIC, _event)
