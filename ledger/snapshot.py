"""Snapshots: the state after one final checkpoint, cut into parts that prove themselves one by one.

A node that begins needs no history to go on: the state, the right edge of the event tree, and something to
tell what is ordered already from what is not. So a snapshot is

    steps     how validators came to be those who sign, from genesis on (`ledger.proofs`)
    rows      the state, cut into ranges of paths (`ledger.state_parts`)
    leaves    the hashes of the whole event tree, 32 bytes an event: the index of what is ordered, and what
              later proofs are made of

and the `Manifest` says what each part must hash to: the commitments of the row parts fold into `sroot`, and
the roots of full runs of leaves are the large peaks of the frontier, whose root is `eroot`. So it is held
against the checkpoint once, and then every part against it alone: a liar is found at its first one.

Knows hashes, rows and bounds. Does not know storage, peers, or what a row means; writes nothing.

Steps are proven together, when the last of them came: until then they may be anybody's. So they are neither
counted nor kept before, and all are to be asked of one peer.

What must always hold: a part that `Download.take` accepted holds exactly the rows (or leaves) of its range
under the roots of the manifest's checkpoint; a snapshot is given out only when every part is there.

Fuzz contract: whatever the bytes, a value or RemoteError (`bad_snapshot`, or a parser's code).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from ledger import canonical, merkle
from ledger.checkpoint import CHECKPOINT_SIZE_MAX, Checkpoint
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError
from ledger.finality import Last, parse_link
from ledger.genesis import Genesis
from ledger.merkle import HASH_SIZE, Frontier
from ledger.proofs import STEPS_MAX, Certified, Step, Trust
from ledger.state import State
from ledger.state_parts import PART_SIZE_MAX, ROW_PARTS_MAX, ROWS_BYTES_MAX, Cut, CutState, RowParts, bad
from ledger.types import Digest
from ledger.votes import CERTIFICATE_SIZE_MAX, decode_certificate

LEAF_LEVEL: Final = 13
LEAVES_PER_PART: Final = 1 << LEAF_LEVEL
"""Leaf hashes in one part: 256 KiB."""

LEAF_PARTS_MAX: Final = 8_192
"""Full parts of leaves: 67 million events, 280 KB of roots."""

MANIFEST_SIZE_MAX: Final = 1000 * 1024
"""Bytes of a manifest: all of its bounds reached at once."""
assert (
    ROW_PARTS_MAX * 72 + LEAF_PARTS_MAX * 34 + CHECKPOINT_SIZE_MAX + 2 * CERTIFICATE_SIZE_MAX
    < MANIFEST_SIZE_MAX
)

Kind = Literal["steps", "rows", "leaves"]
Part: TypeAlias = tuple[Kind, int]
"""Which part: kind, and number from 0."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What there is to fetch, and what each part must come to.

    checkpoint, shown, final   the checkpoint, the certificate of its parent that it names, and the one that
                               makes it final
    frontier   the event tree after it;  runs   the roots of its full runs of LEAVES_PER_PART leaves
    cuts       the parts of the state, in order of their paths
    steps      how many of `ledger.proofs.Step` lead to those who signed `final`
    """

    v: Annotated[int, Meta(ge=1, le=1)]
    checkpoint: Annotated[bytes, Meta(max_length=CHECKPOINT_SIZE_MAX)]
    shown: Annotated[bytes, Meta(max_length=CERTIFICATE_SIZE_MAX)]
    final: Annotated[bytes, Meta(max_length=CERTIFICATE_SIZE_MAX)]
    frontier: Annotated[bytes, Meta(max_length=8 + 63 * HASH_SIZE)]
    runs: Annotated[tuple[Digest, ...], Meta(max_length=LEAF_PARTS_MAX)]
    cuts: Annotated[tuple[Cut, ...], Meta(max_length=ROW_PARTS_MAX)]
    steps: Annotated[int, Meta(ge=0, le=STEPS_MAX)]

    @property
    def id(self) -> Cid:
        """Of the checkpoint."""
        return Cid.of(self.checkpoint)

    def encode(self) -> bytes:
        return canonical.encode(self)


def parse_manifest(data: bytes) -> Manifest:
    """Raises RemoteError (`oversize`, `non_canonical`, `bad_schema`). Nothing is verified: see `Download`."""
    return canonical.decode_as(Manifest, data, size_max=MANIFEST_SIZE_MAX)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a store begins with. `leaves` are the hashes of the whole event tree, one after another."""

    last: Last
    shown: bytes
    frontier: Frontier
    state: State
    leaves: Sequence[bytes]
    steps: tuple[Step, ...]

    @property
    def checkpoint(self) -> Checkpoint:
        return self.last.checkpoint


# -- giving -------------------------------------------------------------------------------------------------


class Offer:
    """One state, cut once and then given out in parts; what it holds never changes.

    The leaves are not kept here: whoever gives out a `run` reads its hashes from the store.
    """

    def __init__(
        self,
        last: Last,
        shown: bytes,
        state: State,
        frontier: Frontier,
        runs: Sequence[bytes],
        steps: tuple[Step, ...],
        rows_max: int = ROWS_BYTES_MAX,
    ) -> None:
        """`shown` is the certificate of the parent; `runs` are the roots of the full runs of leaves.

        A second for 100,000 rows: not for a busy thread. Raises UsageError (`too_large`).
        """
        self._rows = CutState(state, rows_max)
        cuts = self._rows.cuts
        if len(cuts) > ROW_PARTS_MAX or len(runs) > LEAF_PARTS_MAX:
            raise UsageError("the ledger is too large for one snapshot", code="too_large")
        self._steps = steps
        self.n = frontier.n
        self.checkpoint = last.checkpoint
        self.manifest = Manifest(
            1,
            last.checkpoint.encode(),
            shown,
            last.final.encode(),
            frontier.encode(),
            tuple(runs),
            tuple(cuts),
            len(steps),
        )

    def rows(self, index: int) -> bytes | None:
        """The bytes of a part of the state; None when there is no such part."""
        return self._rows.part(index)

    def step(self, index: int) -> bytes | None:
        return canonical.encode(self._steps[index]) if 0 <= index < len(self._steps) else None

    def run(self, index: int) -> tuple[int, int] | None:
        """Which leaves (from, up to) a part of them holds."""
        first = index * LEAVES_PER_PART
        return (first, min(first + LEAVES_PER_PART, self.n)) if 0 <= first < self.n else None

    def __repr__(self) -> str:
        return f"<Offer of {self.checkpoint!r}: {self._rows!r}>"


# -- taking -------------------------------------------------------------------------------------------------


class Download:
    """A snapshot on its way: parts from whichever peers, in any order, each proven when it comes.

    Raises RemoteError (`bad_snapshot`, `bad_certificate`, …) for a manifest that does not hold together.
    """

    def __init__(self, genesis: Genesis, manifest: Manifest) -> None:
        self.manifest = manifest
        self._genesis = genesis
        checkpoint, self._shown = parse_link(manifest.checkpoint, manifest.shown, net=genesis.net)
        self.checkpoint = checkpoint
        self._frontier = _checked_frontier(manifest, checkpoint)
        self._rows = RowParts(manifest.cuts, checkpoint.sroot)
        self._steps: dict[int, Step] = {}
        self._leaves: dict[int, bytes] = {}
        self._is_certified = False
        self._certify()

    @property
    def parts(self) -> int:
        """How many parts there are in all."""
        return self.manifest.steps + len(self._rows) + self._leaf_parts

    @property
    def here(self) -> int:
        """How many of them came, and are proven."""
        return self._is_certified * len(self._steps) + self._rows.here + len(self._leaves)

    @cached_property
    def name(self) -> str:
        """Of this way to cut it: others may have cut the same state elsewhere."""
        return str(Cid.of(self.manifest.encode()))

    @property
    def is_certified(self) -> bool:
        """Whether all steps came, and lead to those who made the checkpoint final."""
        return self._is_certified

    def steps(self) -> Iterator[tuple[Part, bytes]]:
        """The steps, once it `is_certified`."""
        assert self._is_certified, "steps that nobody proved"
        yield from ((("steps", index), canonical.encode(step)) for index, step in self._steps.items())

    def lacking(self) -> Iterator[Part]:
        """What is not here yet, in the order in which to ask: nothing else before it is sure who signed."""
        yield from (("steps", index) for index in range(self.manifest.steps) if index not in self._steps)
        if self._is_certified:
            yield from (("rows", index) for index in range(len(self._rows)) if index not in self._rows)
            yield from (("leaves", index) for index in range(self._leaf_parts) if index not in self._leaves)

    def take(self, part: Part, data: bytes) -> None:
        """A part came. Raises RemoteError when it is not the one; then it is as if it had not come."""
        kind, index = part
        match kind:
            case "steps":
                self._steps[index] = canonical.decode_as(Step, data, size_max=PART_SIZE_MAX)
                self._certify()
            case "rows":
                self._rows.take(index, data)
            case "leaves":
                self._take_leaves(index, data)

    @property
    def is_whole(self) -> bool:
        return self._is_certified and next(self.lacking(), None) is None

    def snapshot(self) -> Snapshot:
        """Once `is_whole`."""
        assert self.is_whole, "a snapshot that lacks parts"
        return Snapshot(
            Last(self.checkpoint, decode_certificate(self.manifest.final)),
            self._shown,
            self._frontier,
            self._rows.state(),
            [self._leaves[index] for index in range(self._leaf_parts)],
            tuple(self._steps[index] for index in range(self.manifest.steps)),
        )

    @property
    def _leaf_parts(self) -> int:
        return -(-self._frontier.n // LEAVES_PER_PART)

    def _certify(self) -> None:
        if len(self._steps) < self.manifest.steps:
            return
        steps = tuple(self._steps[index] for index in range(self.manifest.steps))
        try:
            Trust(self._genesis).check_final(Certified(self.manifest.checkpoint, self.manifest.final, steps))
        except RemoteError:
            self._steps.clear()
            raise
        self._is_certified = True

    def _take_leaves(self, index: int, data: bytes) -> None:
        n = self._frontier.n
        count = min(LEAVES_PER_PART, n - index * LEAVES_PER_PART)
        if len(data) != count * HASH_SIZE:
            raise bad(f"{len(data)} bytes are not {count} hashes")
        hashes = [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]
        if index < len(self.manifest.runs):
            fits = merkle.root(hashes) == self.manifest.runs[index]
        else:
            edge = Frontier()
            for one in hashes:
                edge.append(one)
            fits = edge.peaks == self._frontier.peaks[-len(edge.peaks) :]
        if not fits:
            raise bad(f"part {index} of the event tree is not what its commitment says")
        self._leaves[index] = data

    def __repr__(self) -> str:
        return f"<Download of {self.checkpoint!r}: {self.here} of {self.parts} parts>"


def _checked_frontier(manifest: Manifest, checkpoint: Checkpoint) -> Frontier:
    """The frontier, if it is that of the checkpoint and the runs are its large peaks."""
    frontier = Frontier.decode(manifest.frontier)
    if (frontier.n, frontier.root()) != (checkpoint.n, checkpoint.eroot):
        raise bad("its frontier is not that of its checkpoint")
    if len(manifest.runs) != frontier.n >> LEAF_LEVEL:
        raise bad(f"{len(manifest.runs)} roots of runs for {frontier.n} leaves")
    above = Frontier()
    for one in manifest.runs:
        above.append(one)
    if above.peaks != frontier.peaks[: len(above.peaks)]:
        raise bad("the roots of runs are not those of its event tree")
    return frontier
