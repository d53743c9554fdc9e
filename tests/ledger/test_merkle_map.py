"""The map that commits to itself: one root for one content, and proofs that cannot be bent."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import canonical, merkle_map
from ledger.errors import RemoteError
from ledger.merkle_map import EMPTY, MerkleMap, Proof, verify_proof

Row = tuple[str, bytes]

rows = st.tuples(st.sampled_from(["account", "job"]), st.binary(max_size=2))
tables = st.dictionaries(rows, st.binary(max_size=4), max_size=60)


def many(count: int) -> dict[Row, bytes]:
    return {("account", n.to_bytes(4, "big")): b"%d" % n for n in range(count)}


def depth(node: merkle_map.Node) -> int:
    if node is None or len(node) == 2:
        return 0
    return 1 + max(depth(node[1]), depth(node[2]))


def test_the_empty_map_has_the_root_of_nothing():
    """32 zero bytes, which no hash is."""
    assert MerkleMap().root == EMPTY == bytes(32)


def test_the_root_is_what_the_definition_says():
    """Two rows whose paths part at the first bit, hashed by hand, and pinned because it is a wire format."""

    def sha(*parts: bytes) -> bytes:
        return hashlib.sha256(b"".join(parts)).digest()

    def leaf(key: bytes, value: bytes) -> bytes:
        return sha(b"\x00", sha(b"t\x00", key), sha(value))

    assert [sha(b"t\x00", key)[0] >> 7 for key in (b"a", b"c")] == [1, 0]
    root = MerkleMap().update({("t", b"a"): b"1", ("t", b"c"): b"2"}).root
    assert root == sha(b"\x01", leaf(b"c", b"2"), leaf(b"a", b"1"))
    assert root.hex() == "dac3f3261b97786f18c4245eabb58ed475e6503f129e8b2f49015ef99e54014a"


@given(tables, st.randoms(use_true_random=False), st.integers(1, 7))
def test_the_root_depends_on_the_rows_and_not_on_how_they_came(
    content: dict[Row, bytes], shuffler: random.Random, batch: int
):
    """All at once, or in batches in any order: one root."""
    order = list(content.items())
    shuffler.shuffle(order)
    slow = MerkleMap()
    for start in range(0, len(order), batch):
        slow = slow.update(dict(order[start : start + batch]))
    assert slow.root == MerkleMap().update(content).root


@given(tables, tables)
def test_what_was_put_and_deleted_leaves_no_trace(kept: dict[Row, bytes], passing: dict[Row, bytes]):
    """Rows that came and went, and values that were put back, do not show in the root."""
    before = MerkleMap().update(kept)
    during = before.update(passing)
    after = during.update({row: kept.get(row) for row in passing})
    assert after.root == before.root


@given(tables, rows, st.binary(max_size=4))
def test_each_content_has_a_root_of_its_own(content: dict[Row, bytes], row: Row, value: bytes):
    """Changing, adding or removing one row changes the root."""
    whole = MerkleMap().update(content)
    if content.get(row) != value:
        assert whole.update({row: value}).root != whole.root
    if row in content:
        assert whole.update({row: None}).root != whole.root


@given(tables, st.dictionaries(rows, st.none() | st.binary(max_size=4), max_size=20))
def test_an_update_leaves_the_old_map_as_it_was(content: dict[Row, bytes], changes: dict[Row, bytes | None]):
    """A checkpoint can be tried and thrown away."""
    old = MerkleMap().update(content)
    root = old.root
    old.update(changes)
    assert old.root == root
    assert all(verify_proof(root, *row, value, old.prove(*row)) for row, value in content.items())


@given(tables, rows)
def test_every_row_present_or_absent_can_be_proved(content: dict[Row, bytes], row: Row):
    """The proof shows the value, or that there is none, and shows nothing else."""
    whole = MerkleMap().update(content)
    proof, value = whole.prove(*row), content.get(row)
    assert verify_proof(whole.root, *row, value, proof)
    assert not verify_proof(whole.root, *row, b"another value", proof)
    if value is not None:
        assert not verify_proof(whole.root, *row, None, proof)


def test_absence_has_two_faces_and_both_are_proved():
    """A path that ends in nothing, and a path that ends at a row with another key."""
    whole = MerkleMap().update(many(8))
    proofs = [whole.prove("account", b"no %d" % n) for n in range(40)]
    assert all(verify_proof(whole.root, "account", b"no %d" % n, None, p) for n, p in enumerate(proofs))
    assert {proof.other is None for proof in proofs} == {True, False}


def test_the_empty_map_proves_absence():
    """With no hash at all."""
    proof = MerkleMap().prove("account", b"bob")
    assert proof == Proof((), None)
    assert verify_proof(EMPTY, "account", b"bob", None, proof)
    assert not verify_proof(EMPTY, "account", b"bob", b"", proof)


def test_a_proof_is_about_one_row_of_one_table():
    """The same key in another table is another row, and table and key cannot be cut elsewhere."""
    whole = MerkleMap().update({**many(50), ("job", b"x"): b"1"})
    proof = whole.prove("job", b"x")
    assert verify_proof(whole.root, "job", b"x", b"1", proof)
    assert not verify_proof(whole.root, "account", b"x", b"1", proof)
    assert not verify_proof(whole.root, "jo", b"bx", b"1", proof)


def test_a_present_row_cannot_be_shown_absent_through_a_neighbour():
    """A leaf from elsewhere in the tree does not lie on the row's path, so it proves nothing."""
    whole = MerkleMap().update(many(100))
    victim = ("account", bytes(4))
    honest = whole.prove(*victim)
    for n in range(1, 100):
        key = n.to_bytes(4, "big")
        neighbour = whole.prove("account", key)
        leaf = merkle_map.path_of("account", key) + hashlib.sha256(b"%d" % n).digest()
        for siblings in (honest.siblings, neighbour.siblings):
            assert not verify_proof(whole.root, *victim, None, Proof(siblings, leaf))
            assert not verify_proof(whole.root, *victim, None, Proof(siblings, None))


@given(st.integers(0, 99), st.data())
@settings(max_examples=50)
def test_a_damaged_proof_is_refused(n: int, data: st.DataObject):
    """One bit of one hash, a hash more, a hash less."""
    whole = MerkleMap().update(many(100))
    key = n.to_bytes(4, "big")
    siblings = list(whole.prove("account", key).siblings)
    damage = data.draw(st.sampled_from(["flip", "more", "less"]))
    at = data.draw(st.integers(0, len(siblings) - 1))
    if damage == "flip":
        siblings[at] = bytes([siblings[at][0] ^ 0x10]) + siblings[at][1:]
    elif damage == "more":
        siblings.insert(at, EMPTY)
    else:
        del siblings[at]
    assert not verify_proof(whole.root, "account", key, b"%d" % n, Proof(tuple(siblings), None))


@given(
    st.binary(max_size=40),
    st.none() | st.binary(max_size=3),
    st.lists(st.binary(max_size=40), max_size=300),
    st.none() | st.binary(max_size=70),
)
def test_a_proof_of_garbage_is_refused_without_an_error(
    root: bytes, value: bytes | None, siblings: list[bytes], other: bytes | None
):
    """Whatever bytes a peer puts in, even past the limits that the schema sets."""
    assert not verify_proof(root, "account", b"k", value, Proof(tuple(siblings), other))


def test_a_proof_travels_as_canonical_bytes():
    """Encoded and decoded it is the same proof, and within 256 hashes of 32 bytes."""
    whole = MerkleMap().update(many(300))
    for key in (bytes(4), b"absent"):
        proof = whole.prove("account", key)
        assert canonical.decode_as(Proof, canonical.encode(proof), size_max=16 * 1024) == proof


def test_a_branch_that_did_not_change_is_shared():
    """Updating one of a thousand rows copies the branches above it and nothing else."""
    old = MerkleMap().update(many(1000))
    new = old.update({("account", bytes(4)): b"changed"})

    def nodes(node: merkle_map.Node) -> dict[int, merkle_map.Node]:
        below = {} if node is None or len(node) == 2 else nodes(node[1]) | nodes(node[2])
        return below | {id(node): node}

    fresh = nodes(new._top).keys() - nodes(old._top).keys()
    assert 2 <= len(fresh) <= depth(new._top) + 1


def test_putting_what_is_there_already_changes_nothing():
    """Not even the object: the whole tree is shared."""
    whole = MerkleMap().update(many(100))
    assert whole.update(many(100))._top is whole._top
    assert whole.update({("account", b"absent"): None})._top is whole._top
    assert whole.update({})._top is whole._top


def test_the_tree_stays_shallow():
    """A thousand rows are some 20 deep, not 256: a lone row rises as far as it can."""
    assert 10 <= depth(MerkleMap().update(many(1000))._top) <= 30


def test_the_schema_of_a_proof_bounds_it():
    """257 hashes are one more than a path has bits."""
    wire = canonical.encode({"siblings": [bytes(32)] * 257, "other": None})
    with pytest.raises(RemoteError, match="256"):
        canonical.decode_as(Proof, wire, size_max=16 * 1024)
