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
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz import report
from tests.fuzz.child import Report, in_hand
from tests.fuzz.judge import weigh
from tests.fuzz.targets import CORPUS, TARGETS

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / ".work" / "fuzz"
PART_MAX = 250_000  # inputs of one process: then the next begins, with another seed and the corpus as it is
SILENCE_S = 3_600  # a process that takes longer than any part can is ended


def main() -> int:
    options = _options()
    if options.replay:
        return replay(*options.replay)
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        sys.exit(f"no target {unknown[0]}; there are: {', '.join(TARGETS)}")
    names = options.targets or list(TARGETS)
    whole = sum(TARGETS[name].share for name in names)
    shares = {name: max(1, round(options.inputs * TARGETS[name].share / whole)) for name in names}
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
    """Every target's inputs, in parts, `jobs` processes at once; one row a target."""
    parts = [
        (name, number, min(PART_MAX, inputs - first))
        for name, inputs in shares.items()
        for number, first in enumerate(range(0, inputs, PART_MAX))
    ]
    parts.sort(key=lambda part: part[1])  # all targets early, so that a broken one shows early
    with ThreadPoolExecutor(options.jobs) as pool:
        done = list(pool.map(lambda part: _child(*part, options), parts))
    return [report.added([row for row in done if row["target"] == name]) for name in shares]


def _child(name: str, number: int, inputs: int, options: argparse.Namespace) -> Report:
    seed, folder = f"{options.seed}.{number}", options.out / f"{name}.{number}"
    command = [sys.executable, "-m", "tests.fuzz.child", name, str(inputs), seed, str(folder)]
    if options.distill:
        command.append(str(CORPUS / name))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SILENCE_S, check=False)
    if done.returncode == 0:
        row: Report = json.loads(done.stdout)
    else:
        row = _death(name, folder, done)
    for finding in row["findings"]:
        print(f"FOUND in {name}: {finding['fault']}")
        print(
            f"  replay: {shlex.join(['python', '-m', 'tests.fuzz', '--replay', name, finding['file']])}",
            flush=True,
        )
    return row


def _death(name: str, folder: Path, done: subprocess.CompletedProcess[str]) -> Report:
    """A process that did not come back: its last input is the finding, unless it never had one."""
    words = done.stderr.strip().rpartition("\n")[2]
    if done.returncode > 0 and "MemoryError" not in words:
        sys.exit(f"the fuzzer itself failed at {name}:\n{done.stderr}")
    file = folder / "death.bin"
    file.write_bytes(in_hand(folder))
    fault = f"the process ended with {done.returncode}, {words or 'without a word'}"
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


if __name__ == "__main__":
    sys.exit(main())
