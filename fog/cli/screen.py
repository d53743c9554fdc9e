"""How work that goes on is shown: tables of steps, jobs and workers, for `fog top` and those who wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table

from fog.fleet_methods import DeviceLine
from fog.methods import JobLine
from fog.quantities import credits_text, fuel_text, moment_text
from fog.watching_methods import RATE_MS, Top, WorkerLine
from fog.workflow_methods import StepLine, WorkflowDetail, WorkflowLine

MIB = 1 << 20


def screen(top: Top) -> list[RenderableType]:
    """All of `fog top`, from above to below."""
    slots = sum(worker.slots for worker in top.workers)
    rate = fuel_text(top.fuel * 1000 // RATE_MS)
    parts: list[RenderableType] = [
        f"height {top.height}, {moment_text(top.time)}: {len(top.workers)} workers with {slots} slots, "
        f"{top.leased} runs, {rate} Gfuel/s; {credits_text(top.spent)} credits spent on what runs"
    ]
    if top.workflows:
        parts.append(steps_table(top.workflows))
    parts.append(jobs_table(top.jobs) if top.jobs else "No job of yours runs.")
    parts.append(fleet_table(top.fleet))
    names = {one.device: one.name for one in top.fleet}
    parts.append(workers_table(top.workers, names) if top.workers else "Nobody lends at the moment.")
    return parts


def fleet_table(devices: Sequence[DeviceLine], *, kinds: bool = False) -> Table:
    """Your machines: what each is at, and why; with `kinds` also what each is."""
    table = Table("machine", *([""] if kinds else []), "slots", "earned", "last day", "does", box=None)
    for one in devices:
        slots = f"{one.busy}/{one.slots}" if one.slots else "-"
        earned = credits_text(one.earned), credits_text(one.earned_day)
        table.add_row(_device_name(one), *([_kind(one)] if kinds else []), slots, *earned, _device_does(one))
    return table


def _kind(one: DeviceLine) -> str:
    if not one.reachable:
        return ""
    return f"{one.profile or one.system}, {one.cores} cores, {one.memory // MIB:,} MiB"


def _device_name(one: DeviceLine) -> str:
    words = [one.name, one.device[:8]] if one.name else [one.device[:16]]
    labels = " ".join(f"{name}={value}" for name, value in sorted(one.labels.items()))
    return " ".join([*words, *(["(here)"] if one.here else []), *([labels] if labels else [])])


def _device_does(one: DeviceLine) -> str:
    if not one.acts:
        return "may not act for the account any more"
    if not one.reachable:
        last = f"; last paid {moment_text(one.paid)}" if one.paid else ""
        return f"not reachable from here{last}"
    return "; ".join(one.doing) if one.doing and one.action == "run" else one.why


def steps_table(flows: Sequence[WorkflowDetail]) -> Table:
    table = Table("workflow", "step", "state", "settled", "fetched", "spent", "why", box=None)
    for flow in flows:
        for step in flow.steps:
            table.add_row(flow.workflow.workflow[-8:], *_step_cells(step))
    return table


def _step_cells(step: StepLine) -> tuple[str, ...]:
    of = "?" if step.shards is None else str(step.shards)
    why = (
        step.reason or step.note or (f"waits for {', '.join(step.needs)}" if step.state == "waiting" else "")
    )
    return (step.step, step.state, f"{step.settled}/{of}", str(step.fetched), credits_text(step.spent), why)


def workflow_text(line: WorkflowLine) -> str:
    return (
        f"workflow {line.workflow[-8:]} ({line.name}): {line.state}, {line.done} of {line.steps} steps done, "
        f"{credits_text(line.spent)} credits spent"
    )


def workflows_table(lines: Sequence[WorkflowLine]) -> Table:
    table = Table("workflow", "name", "state", "steps", "spent", "submitted", box=None)
    for line in lines:
        table.add_row(
            line.workflow[-8:],
            line.name,
            line.state,
            f"{line.done}/{line.steps}",
            credits_text(line.spent),
            moment_text(line.submitted),
        )
    return table


def jobs_table(jobs: Sequence[JobLine]) -> Table:
    table = Table("job", "name", "state", "settled", "failed", "spent", "standing", box=None)
    for line in jobs:
        table.add_row(
            line.job[-8:],
            line.name,
            line.state,
            f"{line.settled}/{line.shards}",
            str(line.failed),
            credits_text(line.spent),
            line.standing,
        )
    return table


def workers_table(workers: Sequence[WorkerLine], names: Mapping[str, str]) -> Table:
    """Everybody's; `names` of our own devices."""
    table = Table("worker", "busy", "price", "Gfuel/s", "earned/min", "", box=None)
    for worker in workers:
        table.add_row(
            worker.account[:16],
            f"{worker.busy}/{worker.slots}",
            credits_text(worker.price),
            fuel_text(worker.fuel * 1000 // RATE_MS),
            credits_text(worker.earned),
            "this node" if worker.here else names.get(worker.device, ""),
        )
    return table
