"""`fog export`, `fog audit`, `fog import`: the log as a file, proof that it is true, a store made from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from rich.progress import BarColumn, DownloadColumn, TextColumn

from fog import methods
from fog.cli.session import Session, examples, session_of
from fog.exits import AuditFailed, Exit
from fog.methods import Export, Exported
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError

if TYPE_CHECKING:
    from ledger.audit import AuditReport

FORMATS = (".car", ".ndjson")


def add_to(app: typer.Typer) -> None:
    app.command(epilog=examples("fog export log.car", "fog export log.ndjson"))(export)
    app.command(epilog=examples("fog audit log.car", "fog audit log.car --net bafyrei… --json"))(audit)
    app.command("import", epilog=examples("fog import log.car", "fog import log.car --audited"))(import_log)


Jobs = Annotated[
    int | None,
    typer.Option(min=1, max=256, help="Processes that verify signatures (else one for each core)."),
]


def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A new file: .car (to audit) or .ndjson (to read).")],
) -> None:
    """Write everything final to a file that anybody can check."""
    session = session_of(context)
    path = file.absolute()
    if path.suffix not in FORMATS:
        raise UsageError(
            f"{file.name} says no format", code="bad_format", next_step="end the name in .car or .ndjson"
        )
    if path.exists():
        raise UsageError(f"{file} exists", code="file_exists", next_step="choose a new name")
    with session.progress(TextColumn("{task.description}"), TextColumn("{task.fields[now]}")) as progress:
        task = progress.add_task("exporting", total=None, now="")

        def follow(update: dict[str, Any]) -> None:
            news = methods.shape(Exported, update)
            progress.update(task, now=f"{news.events} events, {news.bytes} bytes")

        done = session.ask(Exported, "export", Export(path=str(path)), follow)
    session.say(
        done,
        f"{done.events} events up to height {done.height} in {file} ({done.bytes} bytes)",
        *([f"next: fog audit {file}"] if path.suffix == ".car" else []),
    )


def audit(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A .car file from `fog export`, by anybody.")],
    net: Annotated[str | None, typer.Option(help="Id of the network it must be of (else any).")] = None,
    jobs: Jobs = None,
) -> None:
    """Replay a log from its genesis, offline, trusting nobody. Exit 5 if it is not true."""
    session = session_of(context)
    report = _audited(session, file, None if net is None else _net(net), jobs)
    found = _told(report)
    session.say(
        found, *[f"{name:<12}{value}" for name, value in found.items()], f"{'network':<12}{report.net}"
    )


def import_log(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A .car file from `fog export`, of this node's network.")],
    audited: Annotated[
        bool, typer.Option("--audited", help="Believe it: it passed `fog audit` on a machine of yours.")
    ] = False,
    jobs: Jobs = None,
) -> None:
    """Fill the store of a new node from a log, once it was audited: quicker than asking peers for it."""
    session = session_of(context)
    from domain.rules import FogRules
    from ledger.importing import import_archive
    from ledger.opening import require_none_at

    genesis = session.home.read_genesis()
    url = session.configuration().settings.store.url or session.home.store_url
    with session.home.locked():
        require_none_at(url)
        if not audited:
            _audited(session, file, genesis.net, jobs)
        with session.spinner("importing"):
            done = import_archive(file, url, FogRules(), net=genesis.net)
    session.say(
        {"events": done.events, "height": done.height},
        f"{done.events} events up to height {done.height} are in the store of this node",
        "next: fog node",
    )


def _audited(session: Session, file: Path, net: Cid | None, jobs: int | None) -> AuditReport:
    """The report on a log that is true; else the command ends."""
    from domain.rules import FogRules  # the rules and the whole ledger: only these commands need them
    from ledger.audit import audit as judge

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with session.progress(*columns) as progress, _open(file) as stream:
        task = progress.add_task("auditing", total=file.stat().st_size)
        counted = progress.wrap_file(stream, task_id=task)
        report = judge(counted, FogRules(), net=net, jobs=jobs or _cores())
    if report.problem is not None:
        problem = report.problem
        more = {"code": problem.code, "what": problem.what, "where": problem.where}
        _fail(session, file, _told(report) | more)
    return report


def _told(report: AuditReport) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "events": report.events,
        "height": report.height,
        "event_root": report.event_root.hex(),
        "state_root": report.state_root.hex(),
    }


def _cores() -> int:
    """Those that this process may use, where the system says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _fail(session: Session, file: Path, found: dict[str, Any]) -> None:
    """With `--json` the report itself says what is wrong; people get the error in its usual form."""
    if session.json:
        session.say(found)
        raise typer.Exit(Exit.AUDIT_FAILED)
    raise AuditFailed(
        f"{file} is not a true log: {found['what']}\nat {found['where']}\n"
        f"true up to height {found['height']} ({found['events']} events)",
        code=found["code"],
        next_step="ask for another export, from another node; keep this one as evidence",
    )


def _open(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror}", code="no_archive", next_step="fog export log.car"
        ) from error


def _net(text: str) -> Cid:
    try:
        return Cid.parse(text)
    except RemoteError as error:
        raise UsageError(
            f"{text!r} is not the id of a network", code="bad_net", next_step="`fog status` prints it"
        ) from error
