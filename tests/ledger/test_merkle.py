"""The tree of order: RFC 6962 roots, proofs, and a right edge that can be carried on."""

from __future__ import annotations

import contextlib
import hashlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import merkle
from ledger.errors import RemoteError
from ledger.merkle import Frontier

# The reference tree of Certificate Transparency: 8 leaves and the root after each of them.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

LEAVES = [merkle.leaf_hash(b"leaf %d" % n) for n in range(33)]
SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33]  # both sides of each power of two


def recursive_root(leaves: list[bytes]) -> bytes:
    """MTH(D[n]) word for word as in RFC 6962, section 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = max(2**i for i in range(64) if 2**i < len(leaves))
    return merkle.node_hash(recursive_root(leaves[:k]), recursive_root(leaves[k:]))


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size: int):
    """The vectors that every RFC 6962 implementation carries."""
    hashes = [merkle.leaf_hash(leaf) for leaf in CT_LEAVES[:size]]
    assert merkle.root(hashes).hex() == CT_ROOTS[size]


def test_root_and_frontier_follow_the_definition():
    """From the empty tree to 33 leaves: level by level, one by one, and by the recursive definition."""
    frontier = Frontier()
    for size in range(34):
        assert frontier.root() == merkle.root(LEAVES[:size]) == recursive_root(LEAVES[:size])
        assert frontier.n == size
        if size < 33:
            frontier.append(LEAVES[size])


def test_every_leaf_of_every_size_can_be_proved():
    """The proof verifies for its leaf, index, size and root, and for no other index or size."""
    for size in SIZES:
        root = merkle.root(LEAVES[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(LEAVES[:size], index)
            assert merkle.verify_inclusion(LEAVES[index], index, size, proof, root)
            others = set(range(size)) - {index}
            assert not any(merkle.verify_inclusion(LEAVES[index], i, size, proof, root) for i in others)


@given(st.integers(0, 999_999))
def test_a_leaf_among_a_million_is_proved_by_twenty_hashes(index: int):
    assert len(merkle.inclusion_plan(index, 1_000_000)) <= 20


def test_an_inclusion_proof_breaks_when_anything_in_it_changes():
    """A bit of a hash, a hash too many, a hash too few, another leaf, another root."""
    root, proof = merkle.root(LEAVES), merkle.inclusion_proof(LEAVES, 21)
    assert merkle.verify_inclusion(LEAVES[21], 21, 33, proof, root)
    for at in range(len(proof)):
        flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        damaged = (*proof[:at], flipped, *proof[at + 1 :])
        assert not merkle.verify_inclusion(LEAVES[21], 21, 33, damaged, root)
    assert not merkle.verify_inclusion(LEAVES[21], 21, 33, (*proof, LEAVES[0]), root)
    assert not merkle.verify_inclusion(LEAVES[21], 21, 33, proof[:-1], root)
    assert not merkle.verify_inclusion(LEAVES[22], 21, 33, proof, root)
    assert not merkle.verify_inclusion(LEAVES[21], 21, 33, proof, LEAVES[0])


def test_every_older_tree_is_proved_a_prefix_of_every_newer_one():
    """All pairs of sizes; the proof does not fit another older size."""
    for first, second in itertools.combinations_with_replacement(SIZES, 2):
        old, new = merkle.root(LEAVES[:first]), merkle.root(LEAVES[:second])
        proof = merkle.consistency_proof(LEAVES[:second], first)
        assert merkle.verify_consistency(first, second, old, new, proof)
        if first > 1:
            assert not merkle.verify_consistency(first - 1, second, old, new, proof)


def test_a_rewritten_past_cannot_be_proved_consistent():
    """The history with leaf 3 replaced has no proof from the old root, not even the honest one."""
    old, rewritten = merkle.root(LEAVES[:10]), list(LEAVES)
    rewritten[3] = merkle.leaf_hash(b"never happened")
    for leaves in (LEAVES, rewritten):
        proof = merkle.consistency_proof(leaves, 10)
        assert not merkle.verify_consistency(10, 33, old, merkle.root(rewritten), proof)


def test_a_consistency_proof_breaks_when_anything_in_it_changes():
    """A bit of a hash, a hash too many, a hash too few, swapped roots."""
    old, new = merkle.root(LEAVES[:13]), merkle.root(LEAVES)
    proof = merkle.consistency_proof(LEAVES, 13)
    for at in range(len(proof)):
        flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        assert not merkle.verify_consistency(13, 33, old, new, (*proof[:at], flipped, *proof[at + 1 :]))
    assert not merkle.verify_consistency(13, 33, old, new, (*proof, LEAVES[0]))
    assert not merkle.verify_consistency(13, 33, old, new, proof[:-1])
    assert not merkle.verify_consistency(13, 33, new, old, proof)


@given(
    st.integers(-2, 70),
    st.integers(-2, 70),
    st.lists(st.binary(min_size=30, max_size=34), max_size=9),
    st.binary(min_size=30, max_size=34),
)
def test_proofs_of_garbage_are_refused_without_an_error(a: int, b: int, proof: list[bytes], root: bytes):
    """Whatever numbers and bytes a peer puts in."""
    if (a, b) != (0, 1) or proof:
        assert not merkle.verify_inclusion(LEAVES[0], a, b, proof, root)
    if a != b or proof:
        assert not merkle.verify_consistency(a, b, LEAVES[0], root, proof)


@given(st.integers(0, 300))
def test_a_frontier_survives_its_encoding(size: int):
    """What was stored goes on as if it had never been stored."""
    before = Frontier()
    for n in range(size):
        before.append(merkle.leaf_hash(n.to_bytes(2, "big")))
    after = Frontier.decode(before.encode())
    assert after == before
    after.append(LEAVES[0])
    before.append(LEAVES[0])
    assert after.root() == before.root()


def test_a_copy_of_a_frontier_lives_alone():
    """A checkpoint is tried on a copy and may be thrown away."""
    kept = Frontier()
    kept.append(LEAVES[0])
    tried = kept.copy()
    tried.append(LEAVES[1])
    assert (kept.n, tried.n) == (1, 2)
    assert kept.root() == LEAVES[0]


@given(st.binary(max_size=120))
@settings(max_examples=200)
def test_any_bytes_decode_to_a_frontier_or_are_refused(data: bytes):
    """A value that encodes back to the same bytes, or RemoteError, never anything else."""
    with contextlib.suppress(RemoteError):
        assert Frontier.decode(data).encode() == data


@pytest.mark.parametrize(
    "data", [b"", bytes(7), bytes(9), b"\xff" * 8, bytes(7) + b"\x01", bytes(7) + b"\x03" + bytes(32)]
)
def test_a_frontier_with_peaks_missing_or_too_many_is_refused(data: bytes):
    """One peak for each set bit of n, and n below 2^63."""
    with pytest.raises(RemoteError, match="frontier") as refused:
        Frontier.decode(data)
    assert refused.value.code == "bad_frontier"
