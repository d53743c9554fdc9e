"""What a running node can be asked about workflows: several steps, each a job once those it needs are done.

    method           parameters       progress          reply
    workflow.submit  WorkflowSubmit   -                 Submitted
    workflow.list    WorkflowList     -                 Workflows
    workflow.show    JobName          -                 WorkflowDetail
    workflow.wait    JobName          WorkflowDetail    WorkflowDetail
    workflow.cancel  JobName          -                 WorkflowDetail

As in `fog.methods`: paths are absolute, money and times are integers. A workflow is named like a job, by its
id or the end of it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from domain.compute.spec import ARGUMENTS_MAX, MEMORY_MAX, MEMORY_MIN, OUTPUT_MAX
from domain.payloads import LEASE_MAX_MS, LEASE_MIN_MS, SHARDS_MAX
from fog.methods import DEADLINE_MAX_MS, AbsolutePath, CidText, JobName, Message
from ledger.types import Micro, Millis, Positive, Uint

STEPS_MAX = 64
RETRIES_MAX = 10
WORKFLOWS_LISTED_MAX = 1_000

Label = Annotated[str, Meta(min_length=1, max_length=128)]


class Source(Message, frozen=True, kw_only=True):
    """Outputs of an earlier step: those whose path below its folder matches `files`."""

    step: Label
    files: Annotated[str, Meta(min_length=1, max_length=255)]


class StepSubmit(Message, frozen=True, kw_only=True):
    """One program of a workflow, as `fog.methods.JobSubmit` has it, and:

    points       the arguments of each point; exactly one when nothing is swept
    swept        each point is a run (over all inputs), and knows its number
    sources      inputs that other steps make, after `files`
    together     one run for all inputs of a shard
    needs        steps that must have succeeded before
    deadline_ms  from when the step begins; null: the deadline of the workflow
    retries      how often shards that the network lost are submitted again
    """

    name: Label
    program: AbsolutePath
    points: Annotated[
        list[Annotated[list[str], Meta(max_length=ARGUMENTS_MAX)]], Meta(min_length=1, max_length=SHARDS_MAX)
    ]
    swept: bool
    env: dict[str, str]
    files: list[AbsolutePath]
    sources: list[Source]
    together: bool
    shards: Annotated[int, Meta(ge=1, le=SHARDS_MAX)] | None
    needs: Annotated[list[Label], Meta(max_length=STEPS_MAX)]
    price: Micro
    fuel: Positive
    memory: Annotated[int, Meta(ge=MEMORY_MIN, le=MEMORY_MAX)]
    output_max: Annotated[int, Meta(ge=0, le=OUTPUT_MAX)]
    lease_ms: Annotated[int, Meta(ge=LEASE_MIN_MS, le=LEASE_MAX_MS)]
    deadline_ms: Annotated[int, Meta(ge=1, le=DEADLINE_MAX_MS)] | None
    checks: Annotated[int, Meta(ge=0, le=2)]
    bond: Micro | None
    retries: Annotated[int, Meta(ge=0, le=RETRIES_MAX)]
    output: AbsolutePath | None


class WorkflowSubmit(Message, frozen=True, kw_only=True):
    """`steps`: each after those that it needs. `deadline_ms`: from now, for all of them together."""

    name: Label
    steps: Annotated[list[StepSubmit], Meta(min_length=1, max_length=STEPS_MAX)]
    deadline_ms: Annotated[int, Meta(ge=1, le=DEADLINE_MAX_MS)]


class Submitted(Message, frozen=True, kw_only=True):
    """Durable here: it goes on even if the node is killed now."""

    workflow: CidText
    name: str
    shards: Uint


class StepLine(Message, frozen=True, kw_only=True):
    """`state`: waiting, running, succeeded, failed, skipped or cancelled; `reason`: why, for the last three.

    note     why it cannot go on now, while it runs
    jobs     the ids of its jobs, the newest last: more than one when shards were submitted again
    shards   null while that is not known: inputs come from steps that are not done
    """

    step: str
    state: str
    reason: str = ""
    note: str = ""
    needs: list[str] = msgspec.field(default_factory=list)
    jobs: list[CidText] = msgspec.field(default_factory=list)
    shards: Uint | None = None
    settled: Uint = 0
    fetched: Uint = 0
    spent: Micro = 0
    output: str | None = None


class WorkflowLine(Message, frozen=True, kw_only=True):
    """`state`: running, succeeded, failed or cancelled."""

    workflow: CidText
    name: str
    state: str
    steps: Uint
    done: Uint
    spent: Micro
    submitted: Millis
    deadline: Millis


class WorkflowDetail(Message, frozen=True, kw_only=True):
    workflow: WorkflowLine
    steps: list[StepLine]


class WorkflowList(Message, frozen=True, kw_only=True):
    """Newest first; `ended`: those, too, that are over."""

    limit: Annotated[int, Meta(ge=1, le=WORKFLOWS_LISTED_MAX)] = 50
    ended: bool = True


class Workflows(Message, frozen=True, kw_only=True):
    workflows: list[WorkflowLine]


PARAMS: dict[str, type[Message]] = {
    "workflow.submit": WorkflowSubmit,
    "workflow.list": WorkflowList,
    "workflow.show": JobName,
    "workflow.wait": JobName,
    "workflow.cancel": JobName,
}
"""Every method and what it takes."""
