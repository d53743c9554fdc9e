"""`fog submit` and what follows a job or a workflow: `fog job wait`, `fog job logs`, `fog top`."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from fog import methods
from fog.cli import statuses
from fog.cli.jobs import JobId, finish_job, job, job_name, progress_of
from fog.cli.screen import screen, steps_table, workflow_text
from fog.cli.session import Session, examples, session_of
from fog.exits import JobUnfinished, ProgramFailed
from fog.watching_methods import Found, JobLogs, LogPart, LogsEnded, Top
from fog.workflow_methods import Submitted, WorkflowDetail
from ledger.errors import UsageError

POINTS_FILE = "points.csv"
LOOK_EVERY_S = 1.0
"""Between two looks of `fog top`: one costs the node some queries."""


def add_to(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "fog submit examples/pi.yaml",
            "fog submit --dry-run job.yaml",
            "fog submit --wait job.yaml",
            "fog submit --schema > job.schema.json",
        )
    )(submit)
    job.command(name="wait", epilog=examples("fog job wait k3vq2a"))(wait)
    job.command(
        name="logs",
        epilog=examples("fog job logs k3vq2a", "fog job logs k3vq2a --step merge --follow"),
    )(logs)
    app.command(epilog=examples("fog top", "fog top --once --json"))(top)


def submit(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="A job file: YAML, see docs/jobs.md.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "--check", help="Only look whether it could be; needs no node.")
    ] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of job files.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is over.")] = False,
) -> None:
    """Submit what a job file asks for: a program, a sweep, or steps that wait for each other."""
    session = session_of(context)
    from fog.jobfile import plan  # YAML, which no other command needs
    from fog.jobfile import schema as schemas

    if schema:
        sys.stdout.write(schemas.schema_text())
        return
    if file is None:
        raise UsageError("which job file?", code="no_job_file", next_step="fog submit JOB.yaml")
    request, points = plan.load(file, session.home.programs, time.time_ns() // 1_000_000)
    shards = sum(len(step.points) if step.swept else len(step.files) or 1 for step in request.steps)
    if dry_run:
        names = ", ".join(step.name for step in request.steps)
        session.say(
            {"ok": True, "name": request.name, "steps": [step.name for step in request.steps]},
            f"{file} is good: {len(request.steps)} steps ({names}), {shards} runs or more",
        )
        return
    if any(step.program.endswith(".py") for step in request.steps):
        session.remark(statuses.PYTHON_IS_SLOW_AT_FIRST)
    done = session.ask_quietly(Submitted, "workflow.submit", request, "reading programs and inputs")
    for step in request.steps:
        if step.output is not None and step.name in points:
            write_points(Path(step.output), points[step.name])
    end = done.workflow[-8:]
    if not wait:
        session.say(done, f"submitted {done.name}: {end}", f"  fog job wait {end}    fog job logs {end}")
        return
    _wait_for_workflow(session, done.workflow)


def write_points(folder: Path, points: Sequence[dict[str, str]]) -> None:
    """`points.csv` beside the results: which number stands for which values."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / POINTS_FILE).open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("point", *points[0]))
        table.writerows((number, *point.values()) for number, point in enumerate(points))


def wait(context: typer.Context, job: JobId) -> None:
    """Wait until a job or a workflow is over and its results are here; exits as `fog run` does."""
    session = session_of(context)
    found = session.ask_quietly(Found, "job.find", job_name(job), "asking the node")
    if found.kind == "workflow":
        _wait_for_workflow(session, found.id)
        return
    with progress_of(session, found.name) as follow:
        result = session.ask(methods.JobResult, "job.wait", job_name(found.id), follow)
    finish_job(session, result, waited=True)


def _wait_for_workflow(session: Session, id: str) -> None:
    """Raises JobUnfinished, ProgramFailed."""
    quiet = session.json or not session.err.is_terminal
    with Live(console=session.err, transient=True, auto_refresh=False) as live:

        def follow(update: dict[str, Any]) -> None:
            if not quiet:
                detail = methods.shape(WorkflowDetail, update)
                live.update(steps_table([detail]), refresh=True)

        done = session.ask(WorkflowDetail, "workflow.wait", job_name(id), follow)
    session.say(done, workflow_text(done.workflow), steps_table([done]))
    _require_success(done)


def _require_success(done: WorkflowDetail) -> None:
    if done.workflow.state == "succeeded":
        return
    bad = [step for step in done.steps if step.state == "failed"] or [
        step for step in done.steps if step.state != "succeeded"
    ]
    words = "; ".join(f"{step.step} {step.state} {step.reason}".strip() for step in bad)
    kind = ProgramFailed if any(step.reason.startswith("program:") for step in bad) else JobUnfinished
    end = done.workflow.workflow[-8:]
    raise kind(
        f"workflow {done.workflow.name} {done.workflow.state}: {words}",
        next_step=f"fog job logs {end} --step {bad[0].step}",
    )


def logs(
    context: typer.Context,
    job: JobId,
    step: Annotated[str | None, typer.Option(help="Of a workflow: only this step's.")] = None,
    shard: Annotated[int | None, typer.Option(min=0, help="Only this shard's.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as shards are settled, until all are.")
    ] = False,
) -> None:
    """What the runs of settled shards printed, as it came home."""
    session = session_of(context)

    def tell(update: dict[str, Any]) -> None:
        part = methods.shape(LogPart, update)
        if session.json:
            session.say(part)
            return
        place = "/".join(word for word in (part.step, str(part.shard), part.run) if word)
        status = "" if part.status == statuses.FINE else f" ({part.status})"
        session.err.print(f"==> {place}{status}", markup=False, soft_wrap=True)
        sys.stdout.write(part.out if part.out.endswith("\n") or not part.out else part.out + "\n")
        sys.stdout.flush()
        if part.err:
            session.err.print(part.err.rstrip("\n"), markup=False, soft_wrap=True)
        if part.cut:
            session.remark("cut here; the output folder has all of it")

    found = session.ask(Found, "job.find", job_name(job), lambda progress: None)
    params = JobLogs(job=found.id, step=step, shard=shard, follow=follow)
    ended = session.ask(LogsEnded, "job.logs", params, tell)
    more = "" if ended.over else "; --follow waits for the rest"
    session.remark(f"{ended.shards} of {ended.of} shards are here{more}")


def top(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
) -> None:
    """Your jobs and workflows that run, your machines, and everybody's workers; Ctrl-C ends it."""
    session = session_of(context)

    def look() -> Top:
        return session.ask(Top, "top", methods.Nothing(), lambda progress: None)

    if once or session.json or not session.out.is_terminal:
        seen = look()
        session.say(seen, *screen(seen))
        return
    with Live(console=session.out, screen=True, auto_refresh=False) as live:
        while True:
            grid = Table.grid(padding=(0, 0))
            for part in screen(look()):
                grid.add_row(part)
            live.update(grid, refresh=True)
            time.sleep(LOOK_EVERY_S)
