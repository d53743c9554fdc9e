"""A map that commits to itself: a compact sparse Merkle trie, with proofs of presence and absence.

A row (table, key) lives on the path sha256(table || 0x00 || key), read from the highest bit. A subtree is

    nothing        32 zero bytes
    one row        sha256(0x00 || path || sha256(value)), as high up as it is alone
    more           sha256(0x01 || left || right)

Knows paths and hashes; the values themselves live in `ledger.state`. A `MerkleMap` never changes in place:
`update` copies the branches above what changed and shares all the rest: some 35 microseconds a changed row
in a map of 100,000 rows, which takes 40 MB.

What must always hold: the shape, and so the root, follows from the rows alone, whatever was put and
deleted in whatever order.

Fuzz contract: `verify_proof` answers True or False for any `Proof`, and never raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from ledger.types import Digest

EMPTY: Final = bytes(32)
DEPTH_MAX: Final = 256

# Plain tuples and not classes: half the size, and the garbage collector stops looking at them.
Leaf: TypeAlias = tuple[bytes, bytes]  # (hash, path || sha256(value))
Branch: TypeAlias = "tuple[bytes, Node, Node]"  # (hash, left, right)
Node: TypeAlias = "Leaf | Branch | None"
Changed: TypeAlias = tuple[bytes, Leaf | None]  # (path, the row's leaf, or None when it is deleted)


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands beside a row's path: hashes from the root down, and who sits at the end of it.

    other  null when the end is the row itself, or nothing; else path || sha256(value) of the one row that
           occupies the end of this path, which shows that the row asked for is not there
    """

    siblings: Annotated[tuple[Digest, ...], Meta(max_length=DEPTH_MAX)]
    other: Annotated[bytes, Meta(min_length=64, max_length=64)] | None


class MerkleMap:
    __slots__ = ("_top",)

    def __init__(self, top: Node = None) -> None:
        self._top = top

    @property
    def root(self) -> bytes:
        """32 bytes; all zero for a map without rows."""
        return hash_of(self._top)

    @property
    def top(self) -> Node:
        """The trie itself, for whoever cuts it into parts (`ledger.snapshot`)."""
        return self._top

    def update(self, changes: Mapping[tuple[str, bytes], bytes | None]) -> MerkleMap:
        """The map with these rows put (bytes) or deleted (None; no error when there is no such row)."""
        changed: list[Changed] = []
        for (table, key), value in changes.items():
            path = path_of(table, key)
            changed.append((path, None if value is None else _leaf(path + sha256(value).digest())))
        return MerkleMap(_updated(self._top, changed, 0)) if changed else self

    def prove(self, table: str, key: bytes) -> Proof:
        """That the row has the value it has, or that there is no such row."""
        path = path_of(table, key)
        siblings: list[bytes] = []
        node = self._top
        while node is not None and len(node) == 3:
            _, left, right = node
            if _bit(path, len(siblings)):
                left, right = right, left
            siblings.append(hash_of(right))
            node = left
        other = None if node is None or node[1][:32] == path else node[1]
        return Proof(tuple(siblings), other)

    def __repr__(self) -> str:
        return f"<MerkleMap root={self.root.hex()[:16]}>"


def verify_proof(root: bytes, table: str, key: bytes, value: bytes | None, proof: Proof) -> bool:
    """Whether the map with this root holds `value` at (table, key), or no such row when it is None."""
    path = path_of(table, key)
    depth = len(proof.siblings)
    if depth > DEPTH_MAX:
        return False
    if value is not None:
        if proof.other is not None:
            return False
        whole = _leaf(path + sha256(value).digest())[0]
    elif proof.other is None:
        whole = EMPTY
    else:
        if len(proof.other) != 64 or proof.other[:32] == path or not _same_start(proof.other, path, depth):
            return False
        whole = _leaf(proof.other)[0]
    for level in range(depth - 1, -1, -1):
        sibling = proof.siblings[level]
        whole = _branch_hash(sibling, whole) if _bit(path, level) else _branch_hash(whole, sibling)
    return whole == root


def path_of(table: str, key: bytes) -> bytes:
    """32 bytes. A `TableName` holds no zero character, so no two rows share a path."""
    return sha256(table.encode() + b"\x00" + key).digest()


def _updated(node: Node, changed: list[Changed], depth: int) -> Node:
    """The subtree at `depth` after one change or more that belong in it, each to a path of its own."""
    if len(changed) == 1:
        return _updated_once(node, changed[0], depth)
    if node is not None and len(node) == 2:
        # A lone row moves down among the changes, unless one of them is its own.
        path = node[1][:32]
        if all(path != other for other, _ in changed):
            changed = [*changed, (path, node)]
        node = None
    if node is None:
        left, right = None, None
    else:
        _, left, right = node
    byte, mask = depth >> 3, 0x80 >> (depth & 7)
    zeros: list[Changed] = []
    ones: list[Changed] = []
    for one in changed:
        (ones if one[0][byte] & mask else zeros).append(one)
    new_left = _updated(left, zeros, depth + 1) if zeros else left
    new_right = _updated(right, ones, depth + 1) if ones else right
    if node is not None and new_left is left and new_right is right:
        return node
    return joined(new_left, new_right)


def _updated_once(node: Node, change: Changed, depth: int) -> Node:
    """`_updated` for one change: down its path and up again. Most of the branches lie on such ways."""
    path, leaf = change
    top = node
    above: list[tuple[Node, Node, int]] = []
    while node is not None and len(node) == 3:
        _, left, right = node
        is_right = path[depth >> 3] & 0x80 >> (depth & 7)
        above.append((left, right, is_right))
        node = right if is_right else left
        depth += 1
    if node is None or node[1][:32] == path:
        new: Node = leaf
        if node == leaf:
            return top
    elif leaf is None:
        return top
    else:
        new = _parted(node, (path, leaf), depth)
    for left, right, is_right in reversed(above):
        new = joined(left, new) if is_right else joined(new, right)
    return new


def _parted(lone: Leaf, new: tuple[bytes, Leaf], depth: int) -> Node:
    """The subtree at `depth` of two rows: branches down to the first bit in which their paths differ."""
    path, leaf = new
    parting = depth
    while _bit(path, parting) == _bit(lone[1], parting):
        parting += 1
    both: Node = joined(lone, leaf) if _bit(path, parting) else joined(leaf, lone)
    for level in range(parting - 1, depth - 1, -1):
        both = joined(None, both) if _bit(path, level) else joined(both, None)
    return both


def subtree(rows: Iterable[tuple[bytes, bytes]], depth: int) -> Node:
    """The subtree at `depth` of these rows, (path, sha256(value)) each: paths differ, and agree so far."""
    changed: list[Changed] = [(path, _leaf(path + value)) for path, value in rows]
    return _updated(None, changed, depth) if changed else None


def lone(path_and_value: bytes) -> Node:
    """A subtree of one row: path || sha256(value)."""
    return _leaf(path_and_value)


def joined(left: Node, right: Node) -> Node:
    """Two halves -> the subtree: a branch, unless there are fewer than two rows in it."""
    if left is None or right is None:
        only = left or right
        if only is None or len(only) == 2:
            return only
    hashes = (EMPTY if left is None else left[0]) + (EMPTY if right is None else right[0])
    return (sha256(b"\x01" + hashes).digest(), left, right)


def _leaf(path_and_value: bytes) -> Leaf:
    return (sha256(b"\x00" + path_and_value).digest(), path_and_value)


def _branch_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def hash_of(node: Node) -> bytes:
    return EMPTY if node is None else node[0]


def _bit(path: bytes, depth: int) -> int:
    return path[depth >> 3] >> (7 - (depth & 7)) & 1


def _same_start(one: bytes, other: bytes, bits: int) -> bool:
    """Whether the first `bits` bits of two paths are the same."""
    difference = int.from_bytes(one[:32], "big") ^ int.from_bytes(other[:32], "big")
    return difference >> (256 - bits) == 0
