"""`fog run`, `fog map` and `fog job`: programs sent to other people's machines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.table import Table

from domain.payloads import SHARDS_MAX
from domain.rules.records import Checks
from fog import methods
from fog.cli import statuses
from fog.cli.screen import jobs_table, steps_table, workflow_text, workflows_table
from fog.cli.session import Session, examples, session_of
from fog.exits import JobUnfinished, ProgramFailed
from fog.methods import JobLine, JobName, JobProgress, JobResult, JobSubmit
from fog.quantities import credits_from, credits_text, duration_from, fuel_from, fuel_text, size_from
from fog.watching_methods import Found
from fog.workflow_methods import WorkflowDetail, WorkflowList, Workflows
from ledger.errors import UsageError


class CheckMode(StrEnum):
    """How often a result is run again by another account before it is paid."""

    ALWAYS = "always"
    ADAPTIVE = "adaptive"
    NEVER = "never"

    @property
    def checks(self) -> int:
        return {self.NEVER: Checks.NEVER, self.ALWAYS: Checks.ALWAYS, self.ADAPTIVE: Checks.ADAPTIVE}[self]


job = typer.Typer(help="Jobs this node submitted.", no_args_is_help=True, epilog=examples("fog job list"))

Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the output files.")]
JobId = Annotated[str, typer.Argument(help="Its id, or the end of it.")]
Name = Annotated[str | None, typer.Option(help="A name for people; else the program's.")]
Price = Annotated[str, typer.Option(help="Most to pay, in credits per Gfuel (10^9 units of fuel).")]
Fuel = Annotated[str, typer.Option(help="Limit of one shard, in Gfuel.")]
Memory = Annotated[str, typer.Option(help="Memory the program may use: 64MiB, 1GiB.")]
MaxOutput = Annotated[str, typer.Option(help="Most that one shard may print and store: 1MiB, 256MiB.")]
Lease = Annotated[str, typer.Option(help="How long one run may take: 90s, 10m.")]
Deadline = Annotated[str, typer.Option(help="What is not settled by then is refunded: 1h, 2d.")]
Check = Annotated[
    CheckMode,
    typer.Option("--check", help="Another account runs shards too: all, as often as it takes, none."),
]
NoCheck = Annotated[bool, typer.Option("--no-check", help="The same as --check never.")]
Bond = Annotated[
    str | None, typer.Option(help="Credits that each run must set aside; else what offers allow.")
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the results.")]

FLOWS_SHOWN_MAX = 10
"""Workflows above the list of jobs."""

PRICE, FUEL, MEMORY, MAX_OUTPUT, LEASE, DEADLINE = "0.002", "50", "256MiB", "256MiB", "10m", "1h"


@dataclass(frozen=True)
class Terms:
    """What both commands say of a job, as it was typed."""

    name: str | None
    price: str
    fuel: str
    memory: str
    max_output: str
    lease: str
    deadline: str
    check: CheckMode
    bond: str | None
    wait: bool


def add_to(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "fog run examples/hello.c -- Ada",
            "fog run sim.c --shards 20 -o results",
            "fog run tool.wasm --price 0.001 --fuel 200 --no-wait -- --depth 3",
        )
    )(run)
    app.command(
        name="map",
        epilog=examples(
            "fog map examples/wordcount.py texts/*.txt -o counts", "fog map count.c *.log -o out -- -v"
        ),
    )(map_files)
    app.add_typer(job, name="job")
    job.command(name="list", epilog=examples("fog job list", "fog job list --everyone --limit 200"))(
        list_jobs
    )
    job.command(name="show", epilog=examples("fog job show k3vq2a"))(show)
    job.command(name="cancel", epilog=examples("fog job cancel k3vq2a"))(cancel)
    job.command(name="fetch", epilog=examples("fog job fetch k3vq2a"))(fetch)
    job.command(name="appeal", epilog=examples("fog job appeal k3vq2a --shard 3"))(appeal)


def run(
    context: typer.Context,
    program: Annotated[Path, typer.Argument(help="A .wasm (WASI), .c, .rs or .py file.")],
    output: Output = None,
    shards: Annotated[
        int, typer.Option(min=1, max=SHARDS_MAX, help="How many times; each knows its number.")
    ] = 1,
    name: Name = None,
    price: Price = PRICE,
    fuel: Fuel = FUEL,
    memory: Memory = MEMORY,
    max_output: MaxOutput = MAX_OUTPUT,
    lease: Lease = LEASE,
    deadline: Deadline = DEADLINE,
    check: Check = CheckMode.ADAPTIVE,
    no_check: NoCheck = False,
    bond: Bond = None,
    wait: Wait = True,
) -> None:
    """Run a program on somebody else's machine; its arguments come after --. Prints what it printed."""
    session = session_of(context)
    mode = CheckMode.NEVER if no_check else check
    terms = Terms(name, price, fuel, memory, max_output, lease, deadline, mode, bond, wait)
    _submit(session, _request(session, program, [], output, shards, terms))


def map_files(
    context: typer.Context,
    program: Annotated[Path, typer.Argument(help="A .wasm (WASI), .c, .rs or .py file.")],
    files: Annotated[list[Path], typer.Argument(help="Input files: one shard for each.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    shards: Annotated[
        int | None, typer.Option(min=1, max=SHARDS_MAX, help="Share the files out to so many.")
    ] = None,
    name: Name = None,
    price: Price = PRICE,
    fuel: Fuel = FUEL,
    memory: Memory = MEMORY,
    max_output: MaxOutput = MAX_OUTPUT,
    lease: Lease = LEASE,
    deadline: Deadline = DEADLINE,
    check: Check = CheckMode.ADAPTIVE,
    no_check: NoCheck = False,
    bond: Bond = None,
    wait: Wait = True,
) -> None:
    """Run one program over many files, on many machines; the program's arguments come after --."""
    session = session_of(context)
    mode = CheckMode.NEVER if no_check else check
    terms = Terms(name, price, fuel, memory, max_output, lease, deadline, mode, bond, wait)
    _submit(session, _request(session, program, files, output, shards, terms))


def list_jobs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=methods.JOBS_LISTED_MAX, help="At most so many.")] = 50,
    everyone: Annotated[bool, typer.Option("--everyone", help="Jobs of other accounts too.")] = False,
) -> None:
    """The newest jobs and workflows first; with --json, jobs alone."""
    session = session_of(context)
    params = methods.JobList(limit=limit, everyone=everyone)
    found = session.ask_quietly(methods.Jobs, "job.list", params, "asking the node")
    parts: list[RenderableType] = [
        jobs_table(found.jobs) if found.jobs else "No jobs yet. Submit one with `fog run`."
    ]
    if not session.json:
        flows = session.ask(
            Workflows, "workflow.list", WorkflowList(limit=min(limit, FLOWS_SHOWN_MAX)), lambda progress: None
        )
        parts = [workflows_table(flows.workflows), *parts] if flows.workflows else parts
    session.say(found, *parts)


def show(context: typer.Context, job: JobId) -> None:
    """One job, its shards, who ran them, what was paid; or one workflow and its steps."""
    session = session_of(context)
    found = session.ask_quietly(Found, "job.find", job_name(job), "asking the node")
    if found.kind == "workflow":
        flow = session.ask_quietly(WorkflowDetail, "workflow.show", job_name(found.id), "asking the node")
        session.say(flow, workflow_text(flow.workflow), steps_table([flow]), *_jobs_of(flow))
        return
    detail = session.ask_quietly(methods.JobDetail, "job.show", job_name(found.id), "asking the node")
    runs = Table("shard", "attempt", "role", "worker", "state", "fuel", "paid", "reason", box=None)
    for line in detail.runs:
        runs.add_row(
            str(line.shard),
            str(line.attempt),
            line.role,
            line.worker[:16],
            line.state,
            fuel_text(line.fuel),
            credits_text(line.paid),
            line.reason,
        )
    session.say(detail, _job_text(detail.job), *statuses.told(detail.shards), runs)


def _jobs_of(flow: WorkflowDetail) -> list[str]:
    return [
        f"{step.step}: job {', '.join(job[-8:] for job in step.jobs)}" for step in flow.steps if step.jobs
    ]


def appeal(
    context: typer.Context,
    job: JobId,
    shard: Annotated[
        int, typer.Option(min=0, max=SHARDS_MAX - 1, help="The shard whose result is doubted.")
    ] = 0,
) -> None:
    """Doubt a result: strangers run that shard again, at your cost unless it was wrong."""
    session = session_of(context)
    asked = methods.Appeal(job=job_name(job).job, shard=shard)
    done = session.ask_quietly(methods.Recorded, "job.appeal", asked, "waiting for it to be final")
    session.say(done, f"{done.standing}: appeal {done.event}\n  next: fog job show {done.event[-8:]}")


def cancel(context: typer.Context, job: JobId) -> None:
    """Stop a job or a workflow: what has not been run yet is refunded, what has been run is paid."""
    session = session_of(context)
    found = session.ask_quietly(Found, "job.find", job_name(job), "asking the node")
    if found.kind == "workflow":
        flow = session.ask_quietly(WorkflowDetail, "workflow.cancel", job_name(found.id), "asking the node")
        session.say(flow, "cancelled: nothing more of it begins, and its running jobs are being cancelled")
        return
    done = session.ask_quietly(
        methods.Recorded, "job.cancel", job_name(found.id), "waiting for it to be final"
    )
    if done.code == statuses.GIVEN_UP:
        session.say(
            done,
            "it is over for everybody else; its results are not waited for any more\n"
            f"  next: fog job fetch {done.event[-8:]}    (to ask for them again)",
        )
        return
    session.say(done, f"{done.standing}: cancelled by event {done.event}")


def fetch(context: typer.Context, job: JobId) -> None:
    """Ask once more for settled results that did not come home, and write their outputs."""
    session = session_of(context)
    found = session.ask_quietly(Found, "job.find", job_name(job), "asking the node")
    names = [found.id]
    if found.kind == "workflow":
        flow = session.ask_quietly(WorkflowDetail, "workflow.show", job_name(found.id), "asking the node")
        names = [id for step in flow.steps for id in step.jobs]
    missing = 0
    for name in names:
        result = session.ask_quietly(JobResult, "job.fetch", job_name(name), "asking who has its results")
        for line in statuses.told(statuses.lost(result.results)):
            session.remark(line)
        missing += result.job.lost
        session.say(result, _job_text(result.job))
    if missing:
        raise _without(missing, found.id)


def _request(
    session: Session, program: Path, files: list[Path], output: Path | None, shards: int | None, terms: Terms
) -> JobSubmit:
    """Everything typed, checked and in integers. Raises UsageError before the node is asked."""
    if program.suffix in (".yaml", ".yml"):
        raise UsageError(
            f"{program} is a job file, not a program", code="job_file", next_step=f"fog submit {program}"
        )
    for path in (program, *files):
        if not path.is_file():
            raise UsageError(f"there is no file {path}", code="file", next_step="check the path")
    asked = {
        "program": str(program.absolute()),
        "args": session.program_args,
        "files": [str(path.absolute()) for path in files],
        "name": terms.name or program.name,
        "output": None if output is None else str(output.absolute()),
        "shards": shards,
        "price": credits_from(terms.price),
        "fuel": fuel_from(terms.fuel),
        "memory": size_from(terms.memory),
        "output_max": size_from(terms.max_output),
        "lease_ms": duration_from(terms.lease),
        "deadline_ms": duration_from(terms.deadline),
        "checks": terms.check.checks,
        "bond": None if terms.bond is None else credits_from(terms.bond),
        "wait": terms.wait,
    }
    return methods.shape(JobSubmit, asked)


def _submit(session: Session, request: JobSubmit) -> None:
    if request.program.endswith(".py"):
        session.remark(statuses.PYTHON_IS_SLOW_AT_FIRST)
    with progress_of(session, request.name, request.shards or len(request.files) or 1) as follow:
        result = session.ask(JobResult, "job.submit", request, follow)
    finish_job(session, result, waited=request.wait)


@contextmanager
def progress_of(
    session: Session, name: str, total: int | None = None
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A bar; what is yielded takes each JobProgress as it comes."""
    what, now = TextColumn("{task.description}"), TextColumn("{task.fields[now]}")
    with session.progress(what, BarColumn(), MofNCompleteColumn(), now) as progress:
        task = progress.add_task(name, total=total, now="sending")
        said = ""

        def follow(update: dict[str, Any]) -> None:
            nonlocal said
            news = methods.shape(JobProgress, update)
            if news.note and news.note != said:
                session.remark(
                    f"{news.note}\n  next: fog invite (another machine), --price, --bond 0, or --no-check"
                )
            said = news.note
            progress.update(task, total=news.shards, completed=news.settled, now=_now(news))

        yield follow


def finish_job(session: Session, result: JobResult, *, waited: bool) -> None:
    """Print what came of a job. Raises JobUnfinished, ProgramFailed."""
    if result.stdout is not None and not session.json:
        sys.stdout.write(result.stdout)
    session.remark(_job_text(result.job))
    for line in statuses.told(result.results):
        session.remark(line)
    if result.stdout_cut:
        session.remark("The output was longer than is shown here; -o DIR keeps all of it.")
    if session.json or result.stdout is None:
        session.say(result, f"results in {result.output}" if result.output else result.job.job)
    _require_success(result, waited=waited)


def _require_success(result: JobResult, *, waited: bool) -> None:
    """Raises JobUnfinished, ProgramFailed."""
    line = result.job
    if waited and line.settled < line.shards:
        raise JobUnfinished(
            f"{line.shards - line.settled} of {line.shards} shards have no result; the job is {line.state}",
            next_step=f"fog job show {line.job[-8:]}",
        )
    if waited and line.lost:
        raise _without(line.lost, line.job)
    if waited and (wrong := statuses.went_wrong(result.results)):
        words = ", ".join(sorted({status for shard in wrong for status in shard.statuses} - {statuses.FINE}))
        raise ProgramFailed(
            f"the program did not end well in {len(wrong)} of {line.shards} shards: {words}",
            next_step=f"fog job show {line.job[-8:]}    (the runs are paid: they did what the program says)",
        )


def _without(results: int, id: str) -> JobUnfinished:
    return JobUnfinished(
        f"{results} settled results are not here, and are not waited for any more",
        code="result_lost",
        next_step=f"fog job fetch {id[-8:]}    (when a node that ran them is up, or there is room); "
        "or submit those shards again; a result that bonds stand for can be run again by others: "
        f"fog job appeal {id[-8:]} --shard N",
    )


def _now(news: JobProgress) -> str:
    failed = f", {news.failed} failed" if news.failed else ""
    failed += f", {news.lost} lost" if news.lost else ""
    return f"{news.leased} running, {news.checking} being checked, {news.fetched} fetched{failed}"


def job_name(text: str) -> JobName:
    """Raises UsageError (`bad_job`)."""
    try:
        return methods.shape(JobName, {"job": text})
    except UsageError as error:
        raise UsageError(
            f"{text!r} is no id of a job or workflow, nor the end of one",
            code="bad_job",
            next_step="`fog job list` shows them; at least the last 6 characters",
        ) from error


def _job_text(line: JobLine) -> str:
    lost = f" ({line.lost} results lost)" if line.lost else ""
    return (
        f"job {line.job[-8:]} ({line.name}): {line.state}, {line.settled} of {line.shards} shards settled"
        f"{lost}, {credits_text(line.spent)} credits spent, {line.standing}"
    )
