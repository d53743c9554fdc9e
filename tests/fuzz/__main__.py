"""Feed every reader of foreign bytes with what it does not expect.

    python -m tests.fuzz --inputs 10_000_000 --seed 1      all targets; inputs in all, shared out by weight
    python -m tests.fuzz event car --inputs 100_000        these two
    python -m tests.fuzz --replay event found.bin          one input again, with the whole traceback
    python -m tests.fuzz --distill --inputs 500_000        one input for each new answer into the corpus

Each target runs in processes of its own, `--jobs` at once, with a bound on memory. What breaks the contract
(`tests.fuzz.target`) is made small and kept in .work/fuzz, with the line that replays it; exit code 1. When
it is mended, the input goes to the target's corpus as `found-….bin`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import sys
import time
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.fuzz import child, report
from tests.fuzz.child import Report
from tests.fuzz.judge import weigh
from tests.fuzz.targets import CORPUS, TARGETS

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / ".work" / "fuzz"
PART_MAX = 250_000  # inputs of one process: then the next begins, with another seed and the corpus as it is


def main() -> int:
    options = _options()
    if options.replay:
        return replay(*options.replay)
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        sys.exit(f"no target {unknown[0]}; there are: {', '.join(TARGETS)}")
    names = options.targets or list(TARGETS)
    whole = sum(TARGETS[name].share for name in names)
    shares = {name: math.ceil(options.inputs * TARGETS[name].share / whole) for name in names}
    start = time.time()
    rows = run(shares, options)
    return report.tell(rows, options.out, seed=options.seed, seconds=time.time() - start)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("targets", nargs="*", help=f"default: all ({', '.join(TARGETS)})")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "FILE"))
    parser.add_argument("--distill", action="store_true")
    return parser.parse_args()


def replay(name: str, file: str) -> int:
    """Judge one input, and let the reader speak for itself."""
    target, data = TARGETS[name], Path(file).read_bytes()
    verdict = weigh(target, data)
    print(f"{name}: {len(data)} bytes, {verdict.outcome}; {verdict.fault or 'nothing wrong with that'}")
    if verdict.fault is not None:
        target.read(data)  # with its traceback, if it raises
    return int(verdict.fault is not None)


def run(shares: dict[str, int], options: argparse.Namespace) -> list[Report]:
    """Every target's inputs, in parts, `jobs` processes at once; one row a target.

    What is done so far is written down after each part.
    """
    parts = [
        (name, number, min(PART_MAX, inputs - first))
        for name, inputs in shares.items()
        for number, first in enumerate(range(0, inputs, PART_MAX))
    ]
    parts.sort(key=lambda part: -part[1])  # all targets early, so that a broken one shows early
    running: dict[int, tuple[BaseProcess, str, Path]] = {}
    done: list[Report] = []
    while parts or running:
        while parts and len(running) < options.jobs:
            name, number, inputs = parts.pop()
            folder = options.out / f"{name}.{number}"
            distilled = CORPUS / name if options.distill else None
            process = child.start(name, inputs, f"{options.seed}.{number}", folder, distilled)
            running[process.sentinel] = process, name, folder
        for sentinel in wait(list(running)):
            assert isinstance(sentinel, int)
            done.append(_row(*running.pop(sentinel)))
            _tell_findings(done[-1])
            report.write(_rows(shares, done), options.out, seed=options.seed)
    return _rows(shares, done)


def _rows(shares: dict[str, int], done: list[Report]) -> list[Report]:
    known = {row["target"] for row in done}
    return [report.added([row for row in done if row["target"] == name]) for name in shares if name in known]


def _tell_findings(row: Report) -> None:
    for finding in row["findings"]:
        words = shlex.join(["python", "-m", "tests.fuzz", "--replay", row["target"], finding["file"]])
        print(f"FOUND in {row['target']}: {finding['fault']}\n  replay: {words}", flush=True)


def _row(process: BaseProcess, name: str, folder: Path) -> Report:
    """What a process reports. If it did not come back, its last input is the finding."""
    process.join()
    if process.exitcode == 0:
        row: Report = json.loads((folder / child.REPORT).read_text())
        return row
    said = (folder / child.WORDS).read_text()
    words = said.strip().rpartition("\n")[2]
    assert process.exitcode is not None
    if process.exitcode > 0 and "MemoryError" not in words:
        sys.exit(f"the fuzzer itself failed at {name}:\n{said}")
    file = folder / "death.bin"
    file.write_bytes(child.in_hand(folder))
    fault = f"the process ended with {process.exitcode}, {words or 'without a word'}"
    return report.nothing(name, fault, file)


if __name__ == "__main__":
    sys.exit(main())
