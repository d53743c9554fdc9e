"""The event tree in the store: proofs about any leaf, at any size, without building the tree again.

The leaves are there already: the id of each event in `outcome`, and what ends a checkpoint in `checkpoint`.
Beside them only the roots of full subtrees of 256, 256^2, 256^3 … leaves are kept (the rows of C2SP's
tlog-tiles from level 1 up), written once, when they become full. What lies between two of those levels is at
most 255 hashes away.

    subtree   level (8, 16, 24 …), index -> root of the leaves index << level up to (index + 1) << level

A store that began from a snapshot has the hashes of the leaves up to there instead (`leaf_run`, 256 a row).

Knows tables and trees. Does not know what a proof is for.

What must always hold: after a commit at n leaves there is a row for each full subtree of those levels in a
tree of n leaves, and none else. So it follows from the history alone, and is the same on every node.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import sqlalchemy as sa

from ledger import canonical, merkle
from ledger.checkpoint import CHECKPOINT_SIZE_MAX, Checkpoint
from ledger.cut import checkpoint_leaf
from ledger.database import execute_many, lookup
from ledger.errors import StoreCorrupt
from ledger.merkle import Frontier, Node, Plan
from ledger.tables import CHECKPOINT, LEAF_RUN, OUTCOME, REMEDY, SUBTREE

STEP: Final = 8
"""Levels between two that are kept: 2^8 hashes are read in under a millisecond."""

RUN: Final = 1 << STEP
"""Hashes in a row of `leaf_run`: 8 KiB."""

PLACES: Final = 1 << 32
"""More than there may be leaves in a snapshot (`ledger.snapshot`)."""


def extend(connection: sa.Connection, before: int, after: int) -> None:
    """Keep the roots of the subtrees that became full as the tree went from `before` to `after` leaves.

    The leaves must be in the tables. Costs one row and 256 hashes for each 256 leaves.
    """
    level = STEP
    while after >> level:
        rows = [
            {"level": level, "index": index, "root": _root(connection, Node(level, index))}
            for index in range(before >> level, after >> level)
        ]
        execute_many(connection, _ADD, rows)
        level += STEP


class Growing:
    """The event tree while it is built in memory, from its first leaf: its frontier, and what `extend` would
    keep."""

    def __init__(self) -> None:
        self.n = 0
        self.full: list[tuple[int, int, bytes]] = []
        """(level, index, root) of the subtrees that became full; the caller takes them away."""
        self._open: list[list[bytes]] = [[]]  # on each level that is kept, what is not yet 256

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self.n += 1
        node, level = leaf, 0
        self._open[0].append(node)
        while len(self._open[level]) == 1 << STEP:
            node = merkle.root(self._open[level])
            self._open[level].clear()
            level += 1
            if level == len(self._open):
                self._open.append([])
            self._open[level].append(node)
            self.full.append((level * STEP, (self.n >> level * STEP) - 1, node))

    def frontier(self) -> Frontier:
        peaks: list[bytes] = []
        for nodes in reversed(self._open):
            edge = Frontier()
            for node in nodes:
                edge.append(node)
            peaks += edge.peaks
        return Frontier(self.n, peaks)


def inclusion(connection: sa.Connection, index: int, size: int) -> tuple[bytes, ...]:
    """That leaf `index` (from 0) is in the tree of the first `size` leaves. Raises StoreCorrupt."""
    return _carried_out(connection, merkle.inclusion_plan(index, size))


def consistency(connection: sa.Connection, first: int, second: int) -> tuple[bytes, ...]:
    """That the tree of `first` leaves (1 or more) is a prefix of that of `second`. Raises StoreCorrupt."""
    return _carried_out(connection, merkle.consistency_plan(first, second))


def leaf(connection: sa.Connection, index: int) -> bytes:
    """The hash of one leaf. Raises StoreCorrupt when it is not here."""
    [only] = _leaf_hashes(connection, index, index + 1)
    return only


def _carried_out(connection: sa.Connection, plan: Plan) -> tuple[bytes, ...]:
    return merkle.carry_out(plan, _roots(connection, [node for part in plan for node in part]))


def _roots(connection: sa.Connection, nodes: Iterable[Node]) -> dict[Node, bytes]:
    """The roots of full subtrees, with one query for all of those in one tile."""
    tiles: dict[Node, list[Node]] = defaultdict(list)
    for node in nodes:
        up = STEP - node.level % STEP
        tiles[Node(node.level + up, node.number >> up)].append(node)
    roots: dict[Node, bytes] = {}
    for tile in tiles.values():
        base = tile[0].level // STEP * STEP
        spans = {node: _span(node, base) for node in tile}
        start, end = min(first for first, _ in spans.values()), max(last for _, last in spans.values())
        hashes = _hashes(connection, base, start, end)
        for node, (first, last) in spans.items():
            roots[node] = merkle.root(hashes[first - start : last - start])
    return roots


def _root(connection: sa.Connection, node: Node) -> bytes:
    """The root of a subtree of a kept level, from what is kept below it."""
    base = node.level - STEP
    return merkle.root(_hashes(connection, base, *_span(node, base)))


def _span(node: Node, base: int) -> tuple[int, int]:
    """Which hashes of level `base` a subtree is made of."""
    up = node.level - base
    return node.number << up, (node.number + 1) << up


def _hashes(connection: sa.Connection, level: int, first: int, last: int) -> Sequence[bytes]:
    """The hashes `first` up to `last` of a kept level, or of the leaves."""
    if level == 0:
        return _leaf_hashes(connection, first, last)
    query = (
        sa.select(SUBTREE.c.root)
        .where(SUBTREE.c.level == level, SUBTREE.c.index.between(first, last - 1))
        .order_by(SUBTREE.c.index)
    )
    return _complete(connection.execute(query).scalars().all(), level, first, last)


def _leaf_hashes(connection: sa.Connection, first: int, last: int) -> Sequence[bytes]:
    """Of the leaves `first` up to `last`, counted from 0; `outcome` counts them from 1."""
    given = _given(connection, first, last)
    return given if len(given) == last - first else [*given, *_made(connection, first + len(given), last)]


def _given(connection: sa.Connection, first: int, last: int) -> list[bytes]:
    """As many of them as came with a snapshot: from the first on, or none."""
    query = (
        sa.select(LEAF_RUN.c.hashes)
        .where(LEAF_RUN.c.index.between(first // RUN, (last - 1) // RUN))
        .order_by(LEAF_RUN.c.index)
    )
    hashes = b"".join(connection.execute(query).scalars())
    begin = first % RUN
    return _apart(hashes)[begin : begin + last - first]


def _apart(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + merkle.HASH_SIZE] for at in range(0, len(hashes), merkle.HASH_SIZE)]


def _made(connection: sa.Connection, first: int, last: int) -> Sequence[bytes]:
    """Those that this store ordered itself. Raises StoreCorrupt when one is not here."""
    end = sa.and_(CHECKPOINT.c.height == OUTCOME.c.height, OUTCOME.c.event.is_(None))
    query = (
        sa.select(OUTCOME.c.event, CHECKPOINT.c.checkpoint)
        .outerjoin(CHECKPOINT, end)
        .where(OUTCOME.c.place.between(first + 1, last))
        .order_by(OUTCOME.c.place)
    )
    leaves = [
        merkle.leaf_hash(_leaf_of(checkpoint) if event is None else event)
        for event, checkpoint in connection.execute(query)
    ]
    return _complete(leaves, 0, first, last)


def keep_runs(connection: sa.Connection, leaves: Sequence[bytes], size: int) -> None:
    """Begin with the leaves of a snapshot: runs of their hashes, in order, `size` hashes in all."""
    whole = b"".join(leaves)
    assert len(whole) == size * merkle.HASH_SIZE, "not the leaves of that tree"
    width = RUN * merkle.HASH_SIZE
    rows = [
        {"index": index, "hashes": whole[index * width : (index + 1) * width]}
        for index in range(-(-len(whole) // width))
    ]
    execute_many(connection, _KEEP_RUN, rows)
    extend(connection, 0, size)


class Given:
    """Which leaves came with a snapshot, for whoever is asked about them by strangers.

    In memory are the first four bytes of each hash and its place, sorted: 8 MB for a million leaves, a second
    to make. So a question costs a row for each leaf, however many there are. The rows never change.
    """

    def __init__(self, connection: sa.Connection) -> None:
        query = sa.select(LEAF_RUN.c.index, LEAF_RUN.c.hashes).execution_options(yield_per=RUN)
        marks = array("Q")
        for index, hashes in connection.execute(query):
            marks.extend(_mark(leaf) + place for place, leaf in enumerate(_apart(hashes), index * RUN))
        self._marks = array("Q", sorted(marks))

    def held(self, connection: sa.Connection, leaves: Collection[bytes]) -> set[bytes]:
        """Those of these leaf hashes that are among them."""
        maybe = sorted((place, leaf) for leaf in leaves for place in self._places(leaf))
        found = set[bytes]()
        for start in range(0, len(maybe), RUN):
            some = maybe[start : start + RUN]
            indices = tuple({place // RUN for place, _ in some})
            query = lookup(connection.dialect, (LEAF_RUN,), ("index", "hashes"), len(indices), key="index")
            rows = dict(map(tuple, connection.exec_driver_sql(query, indices)))
            for place, leaf in some:
                at = place % RUN * merkle.HASH_SIZE
                if rows.get(place // RUN, b"")[at : at + merkle.HASH_SIZE] == leaf:
                    found.add(leaf)
        return found

    def _places(self, leaf: bytes) -> list[int]:
        """Where leaves are that begin as this one does: hardly ever one that is not this one."""
        mark = _mark(leaf)
        first = bisect_left(self._marks, mark)
        return [at - mark for at in self._marks[first : bisect_left(self._marks, mark + PLACES, first)]]


def _mark(leaf: bytes) -> int:
    return int.from_bytes(leaf[:4], "big") * PLACES


def runs(connection: sa.Connection, level: int, count: int) -> list[bytes]:
    """The roots of the first `count` full subtrees of a level. Raises StoreCorrupt."""
    nodes = [Node(level, index) for index in range(count)]
    found = _roots(connection, nodes)
    return [found[node] for node in nodes]


def leaves(connection: sa.Connection, first: int, last: int) -> bytes:
    """The hashes of the leaves `first` up to `last`, one after another. Raises StoreCorrupt."""
    return b"".join(_leaf_hashes(connection, first, last))


def _leaf_of(data: bytes) -> bytes:
    """What a checkpoint that we wrote put at its own end."""
    checkpoint = canonical.decode_as(Checkpoint, data, size_max=CHECKPOINT_SIZE_MAX)
    return checkpoint_leaf(checkpoint.height, checkpoint.sroot, checkpoint.rroot)


def _complete(hashes: Sequence[bytes], level: int, first: int, last: int) -> Sequence[bytes]:
    if len(hashes) == last - first:
        return hashes
    raise StoreCorrupt(
        f"{len(hashes)} of the {last - first} hashes from {first} on level {level} of the tree are here",
        next_step=REMEDY,
    )


_ADD: Final = SUBTREE.insert()
_KEEP_RUN: Final = LEAF_RUN.insert()
