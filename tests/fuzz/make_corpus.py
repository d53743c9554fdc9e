"""Writes tests/fuzz/corpus: for each target a few real objects, and in `shapes` every nasty shape that is
known.

    python -m tests.fuzz.make_corpus

Files are named by what they are: `real-…` (most are taken), `shape-…` (made to hurt). This program writes
those two and removes what it no longer writes. Two others it leaves alone: `found-…`, inputs that once broke
a reader, and `way-…`, one input for each way in which a reader can answer (`python -m tests.fuzz --distill`
writes those).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from tests.fuzz import shapes
from tests.fuzz.real_events import EVENTS
from tests.fuzz.real_machines import MACHINES
from tests.fuzz.real_messages import MESSAGES
from tests.fuzz.real_proofs import PROOFS
from tests.fuzz.targets import CORPUS, SHAPES, TARGETS

REAL: dict[str, Callable[[], Iterator[tuple[str, bytes]]]] = EVENTS | MESSAGES | PROOFS | MACHINES


def main() -> None:
    for name, target in TARGETS.items():
        for label, data in REAL[name]():
            assert len(data) <= target.size_max, f"{name}: {label} is larger than its target reads"
        write(name, "real", REAL[name]())
    write(SHAPES, "shape", (*shapes.damages(), *shapes.bombs()))


def write(folder: str, sort: str, given: Iterable[tuple[str, bytes]]) -> None:
    place = CORPUS / folder
    place.mkdir(parents=True, exist_ok=True)
    written = {f"{sort}-{re.sub(r'[^a-z0-9]+', '-', label.lower())}.bin": data for label, data in given}
    for path in place.glob(f"{sort}-*"):
        if path.name not in written:
            path.unlink()
    for file, data in written.items():
        (place / file).write_bytes(data)


if __name__ == "__main__":
    main()
