"""What a campaign found, for people and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz.child import Report
from tests.fuzz.judge import ACCEPTED

FILE = "campaign.json"


def added(rows: Sequence[Report]) -> Report:
    """The parts of one target as one row."""
    outcomes: Counter[str] = Counter()
    for row in rows:
        outcomes.update(row["outcomes"])
    return Report(
        target=rows[0]["target"],
        inputs=sum(row["inputs"] for row in rows),
        outcomes=dict(outcomes.most_common()),
        ways=max(row["ways"] for row in rows),
        grown=sum(row["grown"] for row in rows),
        seconds=sum(row["seconds"] for row in rows),
        cpu_seconds=sum(row["cpu_seconds"] for row in rows),
        peak_rss_mib=max(row["peak_rss_mib"] for row in rows),
        findings=[finding for row in rows for finding in row["findings"]],
    )


def tell(rows: Sequence[Report], out: Path, *, seed: str, seconds: float) -> int:
    """Print the table, write the JSON beside it; 1 if anything was found."""
    inputs, findings = sum(row["inputs"] for row in rows), sum(len(row["findings"]) for row in rows)
    table = Table(box=None, header_style="bold")
    for title in ("target", "inputs", "accepted", "inputs/s", "peak MiB", "ways", "refused"):
        table.add_column(title, justify="left" if title in ("target", "refused") else "right")
    for row in rows:
        refused = ", ".join(
            f"{code} {count:,}" for code, count in row["outcomes"].items() if code != ACCEPTED
        )
        table.add_row(
            row["target"],
            f"{row['inputs']:,}",
            f"{row['outcomes'].get(ACCEPTED, 0):,}",
            f"{row['inputs'] / max(row['cpu_seconds'], 1e-9):,.0f}",
            f"{row['peak_rss_mib']:.0f}",
            str(row["ways"]),
            refused,
        )
    console = Console(highlight=False, width=None if Console().is_terminal else 180)
    console.print(table)
    console.print(f"{inputs:,} inputs in {seconds:,.0f} s with seed {seed}; {findings} findings")
    out.mkdir(parents=True, exist_ok=True)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    whole = {
        "seed": seed,
        "inputs": inputs,
        "findings": findings,
        "seconds": seconds,
        "machine": machine,
        "targets": list(rows),
    }
    (out / FILE).write_text(json.dumps(whole, indent=2) + "\n")
    console.print(f"written to {out / FILE}")
    return int(findings > 0)
