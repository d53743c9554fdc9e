"""The state in parts: its trie cut into subtrees, each with all its rows, each proven alone.

A cut is a list of (depth, commitment) in order of paths, whose subtrees follow each other from the first path
to the last. A commitment is what the subtree must come to:

    nothing                    there is no row in it
    path || sha256(value)      the only row in it
    its hash                   it has more rows

With these three the shape of everything above is fixed as well (a lone row sits as high up as it is alone),
so commitments that fold into a root leave no way to hide a row, add one, or move one to another part.

Knows rows, paths and hashes. Does not know checkpoints or storage.

What must always hold: rows that `RowParts.take` accepted are exactly those of that range of paths under the
root, each in its own table.

Fuzz contract: whatever the bytes, a value or RemoteError (`bad_snapshot`, or a parser's code).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Annotated, Final, TypeAlias

import immutables
from msgspec import Meta

from ledger import canonical
from ledger.errors import RemoteError
from ledger.merkle_map import EMPTY, MerkleMap, Node, joined, lone, path_of, subtree
from ledger.proofs import ROW_SIZE_MAX
from ledger.state import State
from ledger.types import TableName

ROWS_BYTES_MAX: Final = 256 * 1024
"""Of rows in one part, beside its framing; one larger row is a part of its own."""

PART_SIZE_MAX: Final = 768 * 1024
"""Bytes of a part on the wire: rows with their framing, and below what one frame carries."""

ROW_FRAMING: Final = 16
"""Bytes of framing around table, key and value."""

ROW_PARTS_MAX: Final = 8_192
"""Parts of rows: a state of some 2 GiB, 300 KB of commitments."""

DEPTH_MAX: Final = 128
"""Levels that a cut may go down: more would take keys that were ground for longer than anybody can."""

Row: TypeAlias = tuple[str, bytes, bytes]
"""(table, key, value)"""

Cut: TypeAlias = tuple[Annotated[int, Meta(ge=0, le=DEPTH_MAX)], Annotated[bytes, Meta(max_length=64)]]
"""(depth of the subtree, its commitment)"""

Placed: TypeAlias = tuple[bytes, str, bytes, bytes]
"""A row behind its path."""

_Row = tuple[
    TableName, Annotated[bytes, Meta(max_length=256)], Annotated[bytes, Meta(max_length=ROW_SIZE_MAX)]
]


class CutState:
    """A sealed state, cut: what there is to give out. A second for 100,000 rows."""

    def __init__(self, state: State, rows_max: int = ROWS_BYTES_MAX) -> None:
        """`rows_max`: bytes of rows in one part."""
        self._rows: list[Placed] = sorted(
            (path_of(table, key), table, key, value)
            for table in state.tables()
            for key, value in state.items(table)
        )
        self._spans: list[tuple[int, int]] = []
        self.cuts: list[Cut] = []
        for depth, node, first, end in _cut(self._rows, state.merkle_map.top, rows_max):
            self.cuts.append((depth, _commitment(node)))
            self._spans.append((first, end))

    def part(self, index: int) -> bytes | None:
        """The bytes of a part; None when there is no such part."""
        if not 0 <= index < len(self._spans):
            return None
        first, end = self._spans[index]
        # A key may be a Cid, which is bytes, and would be encoded as a link.
        rows = [[table, bytes(key), bytes(value)] for _, table, key, value in self._rows[first:end]]
        return canonical.encode(rows)

    def __repr__(self) -> str:
        return f"<CutState {len(self._rows)} rows in {len(self._spans)} parts>"


class RowParts:
    """A state on its way. Raises RemoteError for cuts that do not fold into the root."""

    def __init__(self, cuts: Sequence[Cut], sroot: bytes) -> None:
        self._cuts = cuts
        self._ranges = _checked(cuts, sroot)
        self._sroot = sroot
        self._nodes: dict[int, Node] = {}
        self._rows: dict[int, list[Row]] = {}

    def __len__(self) -> int:
        return len(self._cuts)

    def __contains__(self, index: object) -> bool:
        return index in self._nodes

    @property
    def here(self) -> int:
        """How many parts came."""
        return len(self._nodes)

    def take(self, index: int, data: bytes) -> None:
        """Raises RemoteError when these are not exactly the rows of that part."""
        depth, bits = self._ranges[index]
        rows: list[Row] = canonical.decode_as(list[_Row], data, size_max=PART_SIZE_MAX)
        placed: list[tuple[bytes, bytes]] = []
        before = b""
        for table, key, value in rows:
            path = path_of(table, key)
            if path <= before or _prefix(path, depth) != bits:
                raise bad(f"part {index} of the state has a row out of place")
            placed.append((path, sha256(value).digest()))
            before = path
        node = subtree(placed, depth)
        if _commitment(node) != self._cuts[index][1]:
            raise bad(f"part {index} of the state is not what its commitment says")
        self._nodes[index] = node
        self._rows[index] = rows

    def state(self) -> State:
        """Once all parts are here."""
        top = _fold([(depth, self._nodes[index]) for index, (depth, _) in enumerate(self._ranges)])
        tables: dict[str, dict[bytes, bytes]] = {}
        for rows in self._rows.values():
            for table, key, value in rows:
                tables.setdefault(table, {})[key] = value
        state = State({name: immutables.Map(rows) for name, rows in tables.items()}, None, MerkleMap(top))
        assert state.root == self._sroot, "parts that were checked do not give the root"
        return state

    def __repr__(self) -> str:
        return f"<RowParts {self.here} of {len(self)}>"


def _cut(rows: Sequence[Placed], top: Node, rows_max: int) -> Iterator[tuple[int, Node, int, int]]:
    """(depth, subtree, first row, end) of each part, in order of paths."""
    sizes = [0]
    for _, table, key, value in rows:
        sizes.append(sizes[-1] + len(table.encode()) + len(key) + len(value) + ROW_FRAMING)
    ahead: list[tuple[int, Node, int, int]] = [(0, top, 0, len(rows))]
    while ahead:
        depth, node, first, end = ahead.pop()
        if node is None or len(node) == 2 or sizes[end] - sizes[first] <= rows_max:
            yield depth, node, first, end
            continue
        _, left, right = node
        middle = _first_one(rows, first, end, depth)
        ahead.append((depth + 1, right, middle, end))
        ahead.append((depth + 1, left, first, middle))


def _first_one(rows: Sequence[Placed], first: int, end: int, depth: int) -> int:
    """Where the rows begin that have a 1 at this depth, among rows whose paths agree so far."""
    byte, mask = depth >> 3, 0x80 >> (depth & 7)
    while first < end:
        middle = (first + end) // 2
        if rows[middle][0][byte] & mask:
            end = middle
        else:
            first = middle + 1
    return first


def _commitment(node: Node) -> bytes:
    if node is None:
        return b""
    return node[1] if len(node) == 2 else node[0]


def _checked(cuts: Sequence[Cut], sroot: bytes) -> list[tuple[int, int]]:
    """(depth, the first bits of its paths) of each part, if together they are the whole state.

    Every commitment stands for the shape as well: a lone row for its path, so that it is not moved about.
    """
    found: list[tuple[int, int]] = []
    nodes: list[tuple[int, Node]] = []
    bits, depth = 0, 0  # of the next part
    for at, commitment in cuts:
        if found:
            before, last = found[-1]
            depth, bits = before, last + 1
            while depth and bits & 1 == 0:  # the next subtree begins where the last one ended
                depth, bits = depth - 1, bits >> 1
            if depth == 0:
                raise bad("it has more parts than there are paths")
        if at < depth:
            raise bad("its parts overlap")
        bits <<= at - depth
        found.append((at, bits))
        nodes.append((at, _stand_in(commitment, at, bits)))
    if not found or found[-1][1] + 1 != 1 << found[-1][0]:
        raise bad("its parts do not reach over all paths")
    whole = _fold(nodes)
    if (EMPTY if whole is None else whole[0]) != sroot:
        raise bad("its parts do not fold into the state's root")
    return found


def _stand_in(commitment: bytes, depth: int, bits: int) -> Node:
    """A node with the hash of the subtree; what is below it is not here."""
    match len(commitment):
        case 0:
            return None
        case 32 if commitment != EMPTY:
            return (commitment, None, None)
        case 64 if _prefix(commitment[:32], depth) == bits:
            return lone(commitment)
    raise bad("a commitment that no subtree has")


def _fold(parts: Sequence[tuple[int, Node]]) -> Node:
    """The whole trie, from subtrees that follow each other over all paths."""
    stack: list[tuple[int, Node]] = []
    for depth, node in parts:
        # A right half meets the left one that waits for it, and both together may be a right half in turn.
        while stack and stack[-1][0] == depth:
            _, left = stack.pop()
            depth, node = depth - 1, joined(left, node)
        stack.append((depth, node))
    assert [depth for depth, _ in stack] == [0], "parts that are not the whole"
    return stack[0][1]


def _prefix(path: bytes, depth: int) -> int:
    """The first `depth` bits as a number."""
    return int.from_bytes(path[:32], "big") >> (256 - depth)


def bad(message: str) -> RemoteError:
    return RemoteError(f"not a snapshot: {message}", code="bad_snapshot")
