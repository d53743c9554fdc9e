"""`fog sim`: a network in one thread, on virtual time, with liars and faults, held to the invariants."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.table import Table

from fog.cli.session import Session, examples, session_of
from fog.exits import Exit
from ledger.errors import UsageError

NODES_MAX = 100
HOURS_MAX = 1_000
JOBS_MAX = 100_000
TOLD = ("faults", "liars", "excused")


def add_to(app: typer.Typer) -> None:
    app.command(
        name="sim",
        epilog=examples(
            "fog sim --seed 42",
            "fog sim --seed 42 --nodes 4 --json",
            "fog sim --seeds 0..99",
            "fog sim --market --seed 42 --jobs 10000",
        ),
    )(simulate)


def simulate(
    context: typer.Context,
    seed: Annotated[int, typer.Option(min=0, help="Everything that happens follows from it.")] = 0,
    seeds: Annotated[str | None, typer.Option(help="Many runs: FIRST..LAST, both included.")] = None,
    nodes: Annotated[int, typer.Option(min=2, max=NODES_MAX, help="Of which less than a third lie.")] = 7,
    hours: Annotated[str, typer.Option(help="Virtual hours of storm, up to 6 decimals.")] = "0.04",
    processes: Annotated[int, typer.Option(min=1, help="For --seeds.")] = 2,
    market: Annotated[bool, typer.Option("--market", help="Workers who cheat, instead of a ledger.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=JOBS_MAX, help="For --market.")] = 10_000,
) -> None:
    """Run the real ledger among liars and faults, and check every invariant. Exit 1 if one breaks."""
    from fog.sim import campaign, plan, world  # the whole ledger: only this command needs it

    session = session_of(context)
    if market:
        _market(session, seed, jobs)
        return
    run_ms = _hours(hours)
    if seeds is None:
        report = campaign.run(plan.draw_plan(seed, nodes=nodes, run_ms=run_ms)).report
        session.say(report.plain(), *_told(report.plain()))
        if not report.ok:
            raise typer.Exit(Exit.FAULT)
        return
    first, last = _range(seeds)
    plans = [plan.draw_plan(one, nodes=nodes, run_ms=run_ms) for one in range(first, last + 1)]
    virtual_ms = cpu_ms = events = 0
    heights: list[int] = []
    counts: Counter[str] = Counter()
    broken: list[dict[str, Any]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with session.progress(*columns) as progress:
        task = progress.add_task("simulating", total=len(plans))
        for outcome in campaign.campaign(plans, processes=processes):
            report = outcome.report
            virtual_ms += report.virtual_ms
            cpu_ms += outcome.cpu_ms
            heights.append(report.heights)
            events += report.events
            counts.update(report.counts)
            broken += report.plain()["broken"]
            _say_broken(session, report.plain()["broken"])
            progress.advance(task)
    found: dict[str, Any] = {
        "ok": not broken,
        "seeds": len(plans),
        "heights": sum(heights),
        "heights_least": min(heights),
        "events": events,
        "virtual_hours": virtual_ms // plan.HOUR_MS,
        "cpu_s": cpu_ms // 1_000,
        "hours_per_cpu_minute": campaign.hours_per_minute(virtual_ms, cpu_ms),
        "runs_by_liars": dict(sorted(Counter(str(len(one.liars)) for one in plans).items())),
        **world.told(counts),
        "broken": broken,
    }
    plain = [f"{name:<22}{value}" for name, value in found.items() if not isinstance(value, dict | list)]
    told = ("runs_by_liars", *TOLD)
    session.say(found, *plain, *(f"{name:<22}{_counted(found[name])}" for name in told))
    if broken:
        raise typer.Exit(Exit.FAULT)


def _market(session: Session, seed: int, jobs: int) -> None:
    from fog.sim.bazaar import simulate_market
    from fog.sim.bazaar_plan import Plan

    found = simulate_market(Plan(seed, jobs)).plain()
    earned = Table(
        "strategy", "runs", "paid", "computing", "bounties", "bonds lost", "earned", "a run", box=None
    )
    for name, one in found["strategies"].items():
        money = (one[what] for what in ("paid", "cost", "bounties", "lost", "earned", "earned_per_run"))
        earned.add_row(name, str(one["runs"]), *(f"{micro / 1e6:.2f}" for micro in money))
    draws = Table("by formula", "runs", "checked", "expected", box=None)
    rows = {**found["checks"], "of wrong ones": found["wrong"], "established": found["established"]}
    for name, one in rows.items():
        draws.add_row(name, *(str(one[what]) for what in ("runs", "checked", "expected")))
    ok = f"{'ok':<12}{found['ok']}, {found['jobs']} jobs, {found['heights']} checkpoints"
    session.say(found, ok, earned, draws, *(_line(one) for one in found["broken"]))
    if found["broken"]:
        raise typer.Exit(Exit.FAULT)


def _told(found: dict[str, Any]) -> list[str]:
    lines = [f"{name:<12}{found[name]}" for name in ("ok", "heights", "events", "trace_hash")]
    lines += [f"{name:<12}{_counted(found[name])}" for name in TOLD]
    return lines + [_line(one) for one in found["broken"]]


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{what} {count}" for what, count in counts.items())


def _say_broken(session: Session, broken: list[dict[str, Any]]) -> None:
    for one in broken:
        session.remark(_line(one))


def _line(one: dict[str, Any]) -> str:
    return f"broken: {one['invariant']}: {one['what']}\n  again: {one['again']}"


def _hours(text: str) -> int:
    """Virtual hours -> ms, exactly."""
    match = re.fullmatch(r"(\d{1,4})(?:\.(\d{1,6}))?", text)
    run_ms = (
        0 if match is None else int(match[1]) * 3_600_000 + int((match[2] or "").ljust(6, "0")) * 36 // 10
    )
    if not 0 < run_ms <= HOURS_MAX * 3_600_000:
        raise UsageError(
            f"{text!r} is not a number of hours up to {HOURS_MAX}",
            code="bad_hours",
            next_step="fog sim --hours 0.25",
        )
    return run_ms


def _range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,18})\.\.(\d{1,18})", text)
    if match is None or int(match[1]) > int(match[2]):
        raise UsageError(
            f"{text!r} is no range of seeds", code="bad_range", next_step="fog sim --seeds 0..99"
        )
    return int(match[1]), int(match[2])
