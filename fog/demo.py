"""The demonstration: four real nodes on this machine, one real job, every claim checked in front of you.

    anchor       validator and worker; it owns the first credits
    worker-1, worker-2
    submitter    buys work, lends nothing

Each is a `fog node` of its own: another process, key, store and TCP port on loopback. The job maps
`examples/textstats.c` over files of this Python's own standard library. Nothing here is simulated, and
nothing here is privileged: the demo asks the nodes what anybody could ask them, over their control sockets
and their HTTP APIs, and trusts the answers no further than it can check them:

    results     equal to those of the same program compiled by the system's C compiler and run here
    credits     the balances and bonds of everybody add up to what genesis minted
    the log     exported, then audited in a fresh process that sees nothing but the file
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from fog import methods
from fog.paths import DataDir
from fog.players import Player, fog, node
from fog.quantities import credits_text
from ledger.errors import UsageError

ROOT: Final = Path(__file__).resolve().parents[1]
PROGRAM: Final = ROOT / "examples" / "textstats.c"
FILES: Final = 240
SHARDS: Final = 16
BUDGET: Final = 100_000_000  # micro-credits that the anchor gives the submitter: 100 credits
WORKERS: Final = ("anchor", "worker-1", "worker-2")


def run(out: Console, *, as_json: bool, verbose: bool) -> None:
    """Play it all in `.demo/` below the working directory. Raises FogError when anything does not hold."""
    show = Console(stderr=True, highlight=False) if as_json else out
    stage = Path.cwd() / ".demo"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(mode=0o700)
    inputs = standard_library(FILES)
    with contextlib.ExitStack() as curtain:
        players = raise_network(show, stage, curtain, verbose=verbose)
        anchor, submitter = players["anchor"], players["submitter"]
        pay(show, anchor, submitter)
        result = map_files(show, submitter, inputs, stage / "results")
        compare_with_native(show, stage, inputs, result)
        height = wait_for_one_height(list(players.values()))
        minted = conserve(show, players)
        log = export(show, submitter, stage / "log.car")
    report = audit(show, log)
    summary = {
        "files": len(inputs),
        "shards": result["job"]["shards"],
        "checked": result["checked"],
        "height": report["height"],
        "state_root": report["state_root"],
    }
    assert report["height"] >= height, "the exported log is older than what was shown"
    if as_json:
        out.print_json(data={"ok": True, **summary, "minted": minted})
    out.print(" ".join(["DEMO OK", *(f"{name}={value}" for name, value in summary.items())]), soft_wrap=True)


def standard_library(count: int) -> list[Path]:
    """The first `count` non-empty source files of the running Python's standard library, in name order."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    outside = ("site-packages", "dist-packages", "test", "tests", "__pycache__", "idlelib", "lib2to3")
    found = [
        path
        for path in sorted(folder.rglob("*.py"))
        if path.stat().st_size and not set(outside) & set(path.relative_to(folder).parts)
    ]
    if len(found) < count:
        raise UsageError(
            f"{folder} holds {len(found)} source files, the demo maps {count}",
            next_step="use a Python that came with its standard library in source",
        )
    return found[:count]


# -- the network ---------------------------------------------------------------------------------------


def raise_network(
    show: Console, stage: Path, curtain: contextlib.ExitStack, *, verbose: bool
) -> dict[str, Player]:
    """Four nodes that know each other. `curtain` stops them, whatever happens."""
    anchor = DataDir(stage / "anchor")
    fog(anchor, "init", "--name", "demo")
    players = {"anchor": curtain.enter_context(node(anchor, settings_for("anchor")))}
    invite = players["anchor"].ask("invite")["line"]
    for name in ("worker-1", "worker-2", "submitter"):
        home = DataDir(stage / name)
        fog(home, "join", invite)
        players[name] = curtain.enter_context(node(home, settings_for(name)))
    if verbose:
        show.print(f"invite: {invite}", soft_wrap=True)
    table = Table("node", "process", "account", "listens on", "API", box=None)
    for name, player in players.items():
        status = player.ask("status")
        addresses = [address.split("/p2p/")[0] for address in status["addresses"]]
        table.add_row(
            name, str(player.process.pid), status["account"][:16], " ".join(addresses), status["api"]
        )
    show.rule("four nodes, four processes")
    show.print(table)
    return players


def settings_for(name: str) -> dict[str, str]:
    return {"FOG_WORKER_ENABLED": "true" if name in WORKERS else "false"}


# -- the acts ------------------------------------------------------------------------------------------


def pay(show: Console, anchor: Player, submitter: Player) -> None:
    account = submitter.ask("status")["account"]
    sent = anchor.ask("wallet.send", methods.WalletSend(to=account, amount=BUDGET, memo="for the demo"))
    show.rule("a payment")
    show.print(
        f"{credits_text(BUDGET)} credits from anchor to submitter: {sent['code']}, final at {sent['height']}"
    )
    submitter.wait_for_height(sent["height"])


def map_files(show: Console, submitter: Player, inputs: list[Path], output: Path) -> dict[str, Any]:
    """Submit, watch, wait; adds `checked`: runs by a second account that agreed with the first."""
    show.rule(f"{PROGRAM.name} over {len(inputs)} files in {SHARDS} shards")
    job = methods.JobSubmit(
        program=str(PROGRAM),
        args=[],
        files=[str(path) for path in inputs],
        name="textstats",
        output=str(output),
        shards=SHARDS,
        price=2_000,
        fuel=20_000_000_000,
        memory=64 << 20,
        lease_ms=60_000,
        deadline_ms=600_000,
        checks=1,
        wait=True,
    )
    began = time.monotonic()
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=show,
    ) as progress:
        bar = progress.add_task("submitting", total=SHARDS)

        def tell(now: dict[str, Any]) -> None:
            progress.update(
                bar,
                completed=now["settled"],
                description=f"leased {now['leased']}  checking {now['checking']}  fetched {now['fetched']}",
            )

        result = submitter.ask("job.submit", job, tell)
    if result["job"]["state"] != "done" or result["job"]["failed"]:
        raise UsageError(f"the job ended {result['job']['state']}: {result['job']}", code="demo_failed")
    detail = submitter.ask("job.show", methods.JobName(job=result["job"]["job"]))
    paid = [run for run in detail["runs"] if run["state"] == "paid"]
    result["checked"] = sum(run["role"] == "check" for run in paid)
    workers = Table("worker", "runs paid", "of them checks", "Gfuel", "credits", box=None)
    for account in sorted({run["worker"] for run in paid}):
        theirs = [run for run in paid if run["worker"] == account]
        workers.add_row(
            account[:16],
            str(len(theirs)),
            str(sum(run["role"] == "check" for run in theirs)),
            f"{sum(run['fuel'] for run in theirs) / 1e9:.3f}",
            credits_text(sum(run["paid"] for run in theirs)),
        )
    show.print(workers)
    took = time.monotonic() - began
    show.print(f"{SHARDS} shards settled in {took:.1f} s, {result['checked']} of them re-executed")
    return result


def compare_with_native(show: Console, stage: Path, inputs: list[Path], result: dict[str, Any]) -> None:
    """The same source, the system's compiler, no sandbox: every byte of output must be the same."""
    native = stage / "textstats"
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", str(native), str(PROGRAM)], check=True)
    folder = Path(result["output"])
    outputs = {name: folder / name for shard in result["results"] for name in shard["files"]}
    names = [name for shard in result["results"] for name in shard["inputs"]]
    if len(names) != len(inputs):
        raise UsageError(f"{len(names)} results for {len(inputs)} inputs", code="demo_failed")
    for name, path in zip(names, inputs, strict=True):
        with path.open("rb") as source:
            expected = subprocess.run(
                [str(native), name], stdin=source, capture_output=True, check=True
            ).stdout
        got = outputs[f"{name}.out"].read_bytes()
        if got != expected:
            raise UsageError(
                f"{path}: the network says\n{got!r}\nand here it is\n{expected!r}", code="demo_failed"
            )
    show.rule("compared")
    show.print(
        f"{len(names)} results equal to those of {native.name} compiled by {os.environ.get('CC', 'cc')}"
    )


def wait_for_one_height(players: list[Player]) -> int:
    height: int = max(player.ask("status")["height"] for player in players)
    for player in players:
        player.wait_for_height(height)
    return height


def conserve(show: Console, players: dict[str, Player]) -> int:
    """Everybody's balances and bonds, as the submitter's API tells them, add up to what genesis minted."""
    genesis = players["anchor"].home.read_genesis()
    minted: int = sum(allocation.amount for allocation in genesis.accounts) + genesis.stake
    names = {player.ask("status")["account"]: name for name, player in players.items()}
    read = players["submitter"].read
    bonds = {
        row["account"]: int(row["bonded"]) + int(row["unbonding"])
        for row in read("/v1/validators?limit=200")["items"]
    }
    held = {
        row["account"]: tuple(int(row[name]["value"]) for name in ("free", "escrow", "pledged"))
        for row in read("/v1/balances?limit=200")["items"]
    }
    table = Table("account", "who", "credits", "in escrow", "pledged", "at stake", box=None)
    total = int(read("/v1/supply")["item"]["burned"])
    for account in sorted({*held, *bonds}):
        amounts = (*held.get(account, (0, 0, 0)), bonds.get(account, 0))
        total += sum(amounts)
        table.add_row(account[:16], names.get(account, "?"), *map(credits_text, amounts))
    show.rule("balances")
    show.print(table)
    show.print(f"together {credits_text(total)}, minted {credits_text(minted)}")
    if total != minted:
        raise UsageError(
            f"balances add up to {total}, minted were {minted} micro-credits", code="demo_failed"
        )
    return int(minted)


def export(show: Console, player: Player, path: Path) -> Path:
    done = player.ask("export", methods.Export(path=str(path)))
    show.rule("the log")
    show.print(f"{done['events']} events, {done['bytes']} bytes -> {path}")
    return path


def audit(show: Console, path: Path) -> dict[str, Any]:
    """In a fresh process, after every node has gone."""
    report = fog(DataDir(path.parent / "auditor"), "audit", str(path))
    show.print(json.dumps(report), soft_wrap=True)
    return report
