"""What machines really say: the recordings and the printed lines of the tests of harvesting."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.domain.harvest.devices import FIXTURES

LINES_MAX = 40  # of a recording: a corpus is of small inputs


def recordings() -> Iterator[tuple[str, bytes]]:
    for path in sorted((FIXTURES / "traces").glob("*.jsonl")):
        yield path.stem, b"\n".join(path.read_bytes().split(b"\n")[:LINES_MAX])


def printed() -> Iterator[tuple[str, bytes]]:
    for path in sorted((*FIXTURES.glob("*.json"), *FIXTURES.glob("*.txt"))):
        yield path.stem, path.read_bytes()


MACHINES: dict[str, Callable[[], Iterator[tuple[str, bytes]]]] = {
    "recording": recordings,
    "printed": printed,
}
