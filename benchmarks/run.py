"""Run every benchmark beside this file, one after the other, and show their numbers in one table.

A benchmark is a program that prints one JSON object, its numbers by name, as the last line of its standard
output; a name ends in its unit (`_per_s`, `_ms`, `_mib`). What it prints is kept in `<out>/<name>.json`,
together with the machine it ran on, because numbers of two machines do not compare. One that misses a target
of its own exits with 1; its numbers are shown, and it is named among those that failed.

    python benchmarks/run.py                  all of them
    python benchmarks/run.py ingest idle      these two
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
SECONDS_MAX = 600  # a benchmark that takes longer is a test to run at night


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="benchmarks to run (default: all)")
    parser.add_argument("--out", type=Path, default=HERE.parent / ".work" / "bench")
    options = parser.parse_args()
    console = Console(highlight=False)
    options.out.mkdir(parents=True, exist_ok=True)
    failed = [name for name in options.names or names() if not run(console, name, options.out)]
    if failed:
        console.print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


NOT_BENCHMARKS = ("run", "nodes", "folding")


def names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_BENCHMARKS)


def run(console: Console, name: str, out: Path) -> bool:
    """One benchmark in a process of its own; whether it gave numbers, and found its targets met."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"],
            stdout=subprocess.PIPE,
            text=True,
            timeout=SECONDS_MAX,
            cwd=HERE.parent,
        )
        numbers = json.loads(done.stdout.strip().rpartition("\n")[2])
    except (subprocess.SubprocessError, json.JSONDecodeError) as error:
        console.print(f"{name}: {error}")
        return False
    (out / f"{name}.json").write_text(json.dumps({"machine": machine(), "numbers": numbers}, indent=2) + "\n")
    console.print(table(name, numbers))
    return done.returncode == 0


def machine() -> dict[str, Any]:
    """Whose numbers these are. `load` is what else was running (1 minute average)."""
    return {
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def table(name: str, numbers: dict[str, Any]) -> Table:
    shown = Table(title=name, title_justify="left", box=None, show_header=False)
    for key, value in flat(numbers):
        shown.add_row(
            key, f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value}"
        )
    return shown


def flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested objects as dotted names."""
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [row for key, item in value.items() for row in flat(item, f"{prefix}.{key}" if prefix else key)]


if __name__ == "__main__":
    sys.exit(main())
