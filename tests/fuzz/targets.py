"""Every reader of foreign bytes that the fuzzer knows, by name. A new reader gets its line in one of these
files, and its corpus from `make_corpus`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.fuzz import (
    targets_events,
    targets_files,
    targets_finality,
    targets_harvest,
    targets_network,
    targets_people,
    targets_proofs,
    targets_snapshot,
)
from tests.fuzz.target import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for room in (
        targets_events,
        targets_finality,
        targets_proofs,
        targets_network,
        targets_files,
        targets_people,
        targets_snapshot,
        targets_harvest,
    )
    for target in room.TARGETS
}

CORPUS: Final = Path(__file__).parent / "corpus"
SHAPES: Final = "shapes"  # the folder of inputs that every target must survive


def corpus(name: str) -> list[bytes]:
    """The inputs of one target (or the shapes) in the repository, in the order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
