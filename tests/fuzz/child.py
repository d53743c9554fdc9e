"""One campaign in a process of its own, so that its memory can be bounded and its death has a cause.

`start` forks it: what the parent has imported need not be imported again. Its report is in
`<folder>/report.json`, its words are in `<folder>/words`. The input in hand is always in `<folder>/in-hand`
(a mapped file, so it outlives the process): if the process is killed, by the kernel for its memory or by a
fault in a library's C, that is the input.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, TypedDict

from tests.fuzz.engine import Campaign
from tests.fuzz.minimise import minimise
from tests.fuzz.targets import SHAPES, TARGETS, corpus

ADDRESS_SPACE_MAX: Final = 1 << 30
"""Bytes beside what the program has when it starts. Past it there is MemoryError, and that is a finding."""

STUCK_S: Final = 60  # of CPU for STRIDE inputs: then the process is ended by the kernel (SIGPROF)
STRIDE: Final = 256
KEPT_MAX: Final = 4  # distilled inputs of one target
IN_HAND, REPORT, WORDS = "in-hand", "report.json", "words"
IN_HAND_MAX: Final = 1 << 20


class Report(TypedDict):
    """A row of the report. `ways`: how many different answers the reader gave; `seconds` by the wall."""

    target: str
    inputs: int
    outcomes: dict[str, int]
    ways: int
    grown: int
    seconds: float
    cpu_seconds: float
    peak_rss_mib: float
    findings: list[dict[str, str]]


def start(name: str, inputs: int, seed: str, folder: Path, distilled: Path | None = None) -> BaseProcess:
    """`distilled`: where to keep an input for each way to answer that the corpus does not show."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT).unlink(missing_ok=True)
    child = get_context("fork").Process(target=_main, args=(name, inputs, seed, folder, distilled))
    child.start()
    return child


def _main(name: str, inputs: int, seed: str, folder: Path, distilled: Path | None) -> None:
    words = os.open(folder / WORDS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(words, sys.stderr.fileno())
    (folder / REPORT).write_text(json.dumps(_campaign(name, inputs, seed, folder, distilled)))


def _campaign(name: str, inputs: int, seed: str, folder: Path, distilled: Path | None) -> Report:
    campaign = Campaign(TARGETS[name], corpus(name), seed, tried=_noting(folder / IN_HAND))
    _bound_memory()
    start, cpu = time.perf_counter(), time.process_time()
    campaign.replay(corpus(SHAPES))
    campaign.run(max(0, inputs - campaign.outcomes.total()))
    if distilled is not None:
        _keep(campaign, distilled)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    findings = []
    for finding in campaign.findings:
        data = minimise(campaign.target, finding.data)
        file = folder / f"{name}-{len(findings)}.bin"
        file.write_bytes(data)
        findings.append({"fault": finding.fault, "file": str(file)})
    return Report(
        target=name,
        inputs=campaign.outcomes.total(),
        outcomes=dict(campaign.outcomes.most_common()),
        ways=campaign.ways,
        grown=len(campaign.grown),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        peak_rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        findings=findings,
    )


def _keep(campaign: Campaign, folder: Path) -> None:
    """The shortest of what the run grew, as far as there is room in the repository."""
    room = KEPT_MAX - len(list(folder.glob("way-*")))
    for data in sorted(campaign.grown, key=lambda data: (len(data), data))[: max(0, room)]:
        (folder / f"way-{hashlib.sha256(data).hexdigest()[:8]}.bin").write_bytes(data)


def _noting(path: Path) -> Callable[[bytes], None]:
    """Writes each input to `path` before it is read, and starts the watch anew now and then."""
    with path.open("w+b") as file:
        file.truncate(8 + IN_HAND_MAX)
        memory = mmap.mmap(file.fileno(), 8 + IN_HAND_MAX)
    count = 0

    def note(data: bytes) -> None:
        nonlocal count
        if count % STRIDE == 0:
            signal.setitimer(signal.ITIMER_PROF, STUCK_S)
        count += 1
        memory[: 8 + len(data)] = len(data).to_bytes(8, "big") + data

    return note


def in_hand(folder: Path) -> bytes:
    """What a process that died had in hand."""
    kept = (folder / IN_HAND).read_bytes()
    return kept[8 : 8 + int.from_bytes(kept[:8], "big")]


def _bound_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ADDRESS_SPACE_MAX
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
