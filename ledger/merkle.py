"""The append-only Merkle tree of RFC 6962 / RFC 9162, section 2.1: order that cannot be rewritten.

    empty tree   sha256("")
    leaf         sha256(0x00 || data)
    node         sha256(0x01 || left || right); the left side is the largest full power of two

Knows hashes. Does not know what a leaf holds or where it is kept. What must always hold: a `Frontier` that
was given n leaf hashes has the root that `root` computes from the same n; a proof verifies for exactly one
(leaf, index, size, root), or one pair of sizes and roots; a plan carried out gives the proof itself.

Fuzz contract: the verifiers answer True or False for any bytes, and never raise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from ledger.errors import RemoteError

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
PROOF_HASHES_MAX: Final = 64
"""Hashes in an inclusion proof of a tree of 2^63 leaves, the largest that our integers can name."""


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes (not over data); 1.2 microseconds a leaf."""
    if not leaf_hashes:
        return EMPTY_ROOT
    level = list(leaf_hashes)
    while len(level) > 1:
        # Promoting the odd one out gives the same tree as RFC 6962's split at a power of two.
        above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


class Frontier:
    """The right edge of a tree: all it takes to append, and at most 63 hashes.

    `peaks` are the roots of the full subtrees, largest first: one for each set bit of `n`.
    """

    __slots__ = ("n", "peaks")

    def __init__(self, n: int = 0, peaks: Sequence[bytes] = ()) -> None:
        assert len(peaks) == n.bit_count(), "one peak for each set bit of n"
        self.n = n
        self.peaks = list(peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash (not data) at the end."""
        peak, full = leaf, self.n
        while full & 1:
            peak = node_hash(self.peaks.pop(), peak)
            full >>= 1
        self.peaks.append(peak)
        self.n += 1

    def root(self) -> bytes:
        if not self.peaks:
            return EMPTY_ROOT
        return _joined(self.peaks)

    def copy(self) -> Frontier:
        """One to try a checkpoint on, and throw away."""
        return Frontier(self.n, self.peaks)

    def encode(self) -> bytes:
        """n as 8 big-endian bytes, then the peaks."""
        return self.n.to_bytes(8, "big") + b"".join(self.peaks)

    @classmethod
    def decode(cls, data: bytes) -> Frontier:
        """The reverse of `encode`. Raises RemoteError (`bad_frontier`)."""
        n = int.from_bytes(data[:8], "big")
        if len(data) != 8 + HASH_SIZE * n.bit_count() or n >= 2**63:
            raise RemoteError(f"{len(data)} bytes are not a frontier of {n} leaves", code="bad_frontier")
        return cls(n, [data[at : at + HASH_SIZE] for at in range(8, len(data), HASH_SIZE)])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frontier) and (self.n, self.peaks) == (other.n, other.peaks)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<Frontier n={self.n} root={self.root().hex()[:16]}>"


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """That leaf `index` (from 0) is in this tree: sibling hashes from the leaf up (RFC 9162, 2.1.3.1)."""
    return tuple(root(leaf_hashes[first:last]) for first, last in _inclusion_spans(index, len(leaf_hashes)))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], tree_root: bytes) -> bool:
    """Whether the leaf hash `leaf` is at `index` of the tree of `size` leaves (RFC 9162, 2.1.3.2)."""
    return len(tree_root) == HASH_SIZE and root_by_inclusion(leaf, index, size, proof) == tree_root


def root_by_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that this proof leads to; None when no proof for `index` and `size` looks like it."""
    if not 0 <= index < size or not _are_hashes(proof) or not _are_hashes((leaf,)):
        return None
    at, last, whole = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return None
        if at & 1 or at == last:
            whole = node_hash(sibling, whole)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            whole = node_hash(whole, sibling)
        at, last = at >> 1, last >> 1
    return whole if last == 0 else None


def consistency_proof(leaf_hashes: Sequence[bytes], first: int) -> tuple[bytes, ...]:
    """That the tree of the first `first` leaves is a prefix of this one (RFC 9162, 2.1.4.1).

    `first` is 1 .. the number of leaves. Empty when the two are the same tree.
    """
    spans = _consistency_spans(first, len(leaf_hashes))
    return tuple(root(leaf_hashes[start:end]) for start, end in spans)


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the tree of `first` leaves is a prefix of that of `second` (RFC 9162, 2.1.4.2)."""
    if not 0 < first <= second or not _are_hashes(proof) or not _are_hashes((first_root, second_root)):
        return False
    if first == second:
        return not proof and first_root == second_root
    hashes = list(proof)
    if first & (first - 1) == 0:
        hashes.insert(0, first_root)
    if not hashes:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    older = newer = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and older == first_root and newer == second_root


class Node(NamedTuple):
    """The full subtree over the leaves `number << level` up to `(number + 1) << level`; level 0 is a leaf."""

    level: int
    number: int


Plan: TypeAlias = tuple[tuple[Node, ...], ...]
"""A proof before anything is looked up: each of its hashes as the full subtrees that it is made of."""


def inclusion_plan(index: int, size: int) -> Plan:
    """What `inclusion_proof` of a tree of `size` leaves needs to know: at most 2 log2(size) subtrees."""
    return tuple(_subtrees(first, last) for first, last in _inclusion_spans(index, size))


def consistency_plan(first: int, second: int) -> Plan:
    """What `consistency_proof` from `first` to `second` leaves needs to know."""
    return tuple(_subtrees(start, end) for start, end in _consistency_spans(first, second))


def carry_out(plan: Plan, roots: Mapping[Node, bytes]) -> tuple[bytes, ...]:
    """The proof, from the roots of all subtrees of its plan."""
    return tuple(_joined([roots[node] for node in part]) for part in plan)


def _inclusion_spans(index: int, size: int) -> list[tuple[int, int]]:
    """Leaves [first, last) under each hash of the proof, from the leaf up."""
    assert 0 <= index < size, "no such leaf"
    spans: list[tuple[int, int]] = []
    first, last = 0, size
    while last - first > 1:
        middle = first + _split(last - first)
        if index < middle:
            spans.append((middle, last))
            last = middle
        else:
            spans.append((first, middle))
            first = middle
    return spans[::-1]


def _consistency_spans(older: int, newer: int) -> list[tuple[int, int]]:
    assert 0 < older <= newer, "the older tree has 1 leaf to as many as the newer"
    spans: list[tuple[int, int]] = []
    first, last = 0, newer
    while older < last:
        middle = first + _split(last - first)
        if older <= middle:
            spans.append((middle, last))
            last = middle
        else:
            spans.append((first, middle))
            first = middle
    if first:  # the older tree is more than what is left: its right edge has to be told as well
        spans.append((first, last))
    return spans[::-1]


def _subtrees(first: int, last: int) -> tuple[Node, ...]:
    """The full subtrees of a span that begins where one of at least its size could, largest first."""
    nodes: list[Node] = []
    while first < last:
        level = (last - first).bit_length() - 1
        nodes.append(Node(level, first >> level))
        first += 1 << level
    return tuple(nodes)


def _joined(peaks: Sequence[bytes]) -> bytes:
    """The root over the full subtrees of a tree, largest first."""
    whole = peaks[-1]
    for peak in reversed(peaks[:-1]):
        whole = node_hash(peak, whole)
    return whole


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _are_hashes(values: Sequence[bytes]) -> bool:
    return len(values) <= PROOF_HASHES_MAX + 2 and all(len(value) == HASH_SIZE for value in values)
