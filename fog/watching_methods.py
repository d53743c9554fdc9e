"""What a running node can be asked about work that goes on: its own jobs, and everybody's workers.

    method    parameters  progress      reply
    job.find  JobName     -             Found
    job.wait  JobName     JobProgress   JobResult
    job.logs  JobLogs     LogPart       LogsEnded
    top       Nothing     -             Top

As in `fog.methods`. Logs are what settled shards printed, in the order in which they came home: what a run
prints is seen by others only once its result is.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from domain.payloads import SHARDS_MAX
from fog.fleet_methods import DeviceLine
from fog.methods import Account, CidText, JobLine, JobName, Message, Nothing
from fog.workflow_methods import WorkflowDetail
from ledger.types import Micro, Millis, Uint

LOG_PART_MAX = 256 * 1024  # bytes of one stream of one run; the whole is in the output folder
RATE_MS = 60_000  # over which fuel a second is counted


class Found(Message, frozen=True, kw_only=True):
    """What an id, or the end of one, stands for."""

    kind: Literal["job", "workflow"]
    id: CidText
    name: str


class JobLogs(Message, frozen=True, kw_only=True):
    """`step` and `shard`: only that one's. `follow`: until the job, or the whole workflow, is over."""

    job: Annotated[str, Meta(min_length=6, max_length=59, pattern=r"^[a-z2-7]+\Z")]
    step: str | None = None
    shard: Annotated[int, Meta(ge=0, lt=SHARDS_MAX)] | None = None
    follow: bool = False


class LogPart(Message, frozen=True, kw_only=True):
    """What one run of a settled shard printed. `run`: the input it is named after; `step`: "" for a job.

    cut   the text was longer than LOG_PART_MAX
    """

    step: str
    shard: Uint
    run: str
    status: str
    out: str
    err: str
    cut: bool = False


class LogsEnded(Message, frozen=True, kw_only=True):
    """`shards` have been told, of `of` that there are so far."""

    shards: Uint
    of: Uint
    over: bool


class WorkerLine(Message, frozen=True, kw_only=True):
    """A standing offer: slots taken of those offered, and what was paid to it in the last minute.

    fuel     units in RATE_MS;  earned  micro-credits in the same time
    """

    account: Account
    device: Account
    here: bool
    slots: Uint
    busy: Uint
    price: Micro
    fuel: Uint
    earned: Micro


class Top(Message, frozen=True, kw_only=True):
    """`jobs` and `workflows` are our own that are not over; `workers` everybody's, the busiest first.

    time       ledger time, unix ms
    fuel       units that were paid for in the last RATE_MS, by everybody;  spent  micro-credits of our jobs
    fleet      the devices of our account: what each is at and why (`fog.fleet_methods`)
    doing      what this node's own worker is at
    """

    time: Millis
    height: Uint
    jobs: list[JobLine]
    workflows: list[WorkflowDetail]
    workers: list[WorkerLine]
    fuel: Uint
    spent: Micro
    leased: Uint
    fleet: list[DeviceLine]
    doing: list[str]


PARAMS: dict[str, type[Message]] = {
    "job.find": JobName,
    "job.wait": JobName,
    "job.logs": JobLogs,
    "top": Nothing,
}
"""Every method and what it takes."""
