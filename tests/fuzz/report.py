"""What a campaign found, for people and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def nothing(name: str, fault: str, file: Path) -> Report:
    """The row of a process that died."""
    return Report(
        target=name,
        inputs=0,
        outcomes={},
        ways=0,
        grown=0,
        seconds=0.0,
        cpu_seconds=0.0,
        peak_rss_mib=0.0,
        findings=[{"fault": fault, "file": str(file)}],
    )


def write(rows: Sequence[Report], out: Path, *, seed: str) -> dict[str, Any]:
    """As JSON, in `<out>/campaign.json`."""
    whole = {
        "seed": seed,
        "inputs": sum(row["inputs"] for row in rows),
        "findings": sum(len(row["findings"]) for row in rows),
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
        "targets": list(rows),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / FILE).write_text(json.dumps(whole, indent=2) + "\n")
    return whole


def tell(rows: Sequence[Report], out: Path, *, seed: str, seconds: float) -> int:
    """Print the table, write the JSON; 1 if anything was found."""
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
    whole = write(rows, out, seed=seed)
    console = Console(highlight=False, width=None if Console().is_terminal else 180)
    console.print(table)
    console.print(
        f"{whole['inputs']:,} inputs in {seconds:,.0f} s with seed {seed}; {whole['findings']} findings\n"
        f"written to {out / FILE}"
    )
    return int(whole["findings"] > 0)
