"""Proofs about the event tree out of the store: the same as from the leaves themselves, at every size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from ledger import merkle, tiles
from ledger.cid import Cid
from ledger.cut import leaves
from ledger.database import execute_many, reading, writing
from ledger.errors import StoreCorrupt
from ledger.merkle import Frontier, Node
from ledger.store import Store
from ledger.tables import OUTCOME, SUBTREE
from ledger.tiles import Growing
from tests.ledger.histories import History, talk

MakeUrl = Callable[[], str]

EDGES = [1, 2, 3, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_792, 66_000]
"""Sizes on both sides of where a tile, or a tile of tiles, becomes full."""


def leaves_of(history: History) -> list[bytes]:
    """The hashes of all leaves, from what the history itself says."""
    hashes: list[bytes] = []
    for step in history.steps:
        if step.final is not None:
            checkpoint, ids = step.final[0].checkpoint, step.final[0].order
            data = leaves(ids, checkpoint.height, checkpoint.sroot, checkpoint.rroot)
            hashes += map(merkle.leaf_hash, data)
    return hashes


def fill(store: Store, count: int) -> list[bytes]:
    """That many leaves without the events behind them, as one long checkpoint would write them."""
    ids = [Cid.of(b"event %d" % at) for at in range(count)]
    rows = [
        {"place": place, "height": 1, "event": bytes(id), "receipt": b""} for place, id in enumerate(ids, 1)
    ]
    statement = OUTCOME.insert()
    with writing(store.engine) as connection:
        execute_many(connection, statement, rows)
        before = 0
        for after in [*range(0, count, 1_999), count]:
            tiles.extend(connection, before, after)
            before = after
    return [merkle.leaf_hash(id) for id in ids]


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, list[bytes]]]:
    store = Store.create(f"sqlite:///{tmp_path_factory.mktemp('tiles')}/store.db", History().genesis)
    yield store, fill(store, max(EDGES))
    store.close()


def test_every_proof_of_a_history_is_that_of_its_leaves(database_url: MakeUrl) -> None:
    """Each leaf (rivals and ends of checkpoints too) at each size, and each pair of sizes."""
    history = talk()
    store = history.write_to(Store.create(database_url(), history.genesis))
    hashes = leaves_of(history)
    assert merkle.root(hashes) == history.frontier.root()
    with reading(store.engine) as connection:
        for size in range(1, len(hashes) + 1):
            for index in range(size):
                proof = merkle.inclusion_proof(hashes[:size], index)
                assert tiles.inclusion(connection, index, size) == proof
                assert tiles.leaf(connection, index) == hashes[index]
            for first in range(1, size + 1):
                proof = merkle.consistency_proof(hashes[:size], first)
                assert tiles.consistency(connection, first, size) == proof


def test_tiles_are_kept_across_checkpoints(database_url: MakeUrl) -> None:
    """A tile that several checkpoints fill is the same as one that a single checkpoint fills."""
    history = History()
    for size in (200, 1, 100, 500):
        for _ in range(size):
            history.say("alice")
        history.finalize()
    store = history.write_to(Store.create(database_url(), history.genesis))
    hashes = leaves_of(history)
    assert kept(store) == {
        Node(8, index): merkle.root(hashes[256 * index : 256 * (index + 1)]) for index in range(3)
    }
    with reading(store.engine) as connection:
        for index in (0, 200, 255, 256, 511, 512, 800, len(hashes) - 1):
            proof = tiles.inclusion(connection, index, len(hashes))
            assert proof == merkle.inclusion_proof(hashes, index)


@pytest.mark.parametrize("size", EDGES)
def test_inclusion_on_both_sides_of_every_edge(big: tuple[Store, list[bytes]], size: int) -> None:
    store, hashes = big
    root = merkle.root(hashes[:size])
    with reading(store.engine) as connection:
        for index in {0, size // 2, size // 3, size - 1, *(at for at in (255, 256, 65_535) if at < size)}:
            proof = tiles.inclusion(connection, index, size)
            assert merkle.verify_inclusion(hashes[index], index, size, proof, root)
            assert len(proof) <= 17


@pytest.mark.parametrize("second", EDGES)
def test_consistency_on_both_sides_of_every_edge(big: tuple[Store, list[bytes]], second: int) -> None:
    store, hashes = big
    roots = {size: merkle.root(hashes[:size]) for size in EDGES}
    with reading(store.engine) as connection:
        for first in (size for size in EDGES if size <= second):
            proof = tiles.consistency(connection, first, second)
            assert merkle.verify_consistency(first, second, roots[first], roots[second], proof)


def test_what_is_kept_follows_from_the_size(big: tuple[Store, list[bytes]]) -> None:
    """One row for each full tile, one for each full tile of tiles, and none else."""
    store, hashes = big
    size = len(hashes)
    assert sorted(kept(store)) == [
        *(Node(8, index) for index in range(size >> 8)),
        *(Node(16, index) for index in range(size >> 16)),
    ]


def test_a_proof_reads_a_few_hundred_rows_and_not_the_tree(big: tuple[Store, list[bytes]]) -> None:
    """At most two tiles on each kept level: the one with the leaf, and the right edge."""
    store, hashes = big
    asked: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    with reading(store.engine) as connection:
        tiles.inclusion(connection, 4_711, len(hashes))
        tiles.consistency(connection, 4_711, len(hashes))
    assert 0 < len([text for text in asked if "SELECT" in text]) <= 12


def test_a_missing_row_is_damage_and_no_wrong_proof(tmp_path: Path) -> None:
    store = Store.create(f"sqlite:///{tmp_path}/store.db", History().genesis)
    fill(store, 600)
    with writing(store.engine) as connection:
        connection.execute(SUBTREE.delete().where(SUBTREE.c.index == 1))
        connection.execute(OUTCOME.delete().where(OUTCOME.c.place == 3))
    with reading(store.engine) as connection:
        for index in (0, 599):
            with pytest.raises(StoreCorrupt, match="level"):
                tiles.inclusion(connection, index, 600)


def kept(store: Store) -> dict[Node, bytes]:
    with reading(store.engine) as connection:
        rows: Sequence[sa.Row[tuple[int, int, bytes]]] = connection.execute(sa.select(SUBTREE)).all()
    return {Node(level, index): root for level, index, root in rows}


def test_a_tree_built_in_memory_is_the_same_tree() -> None:
    """Its frontier at every size around the first tiles, and its full subtrees up to the second level."""
    growing, frontier = Growing(), Frontier()
    leaves = [hashlib.sha256(b"%d" % n).digest() for n in range((1 << 16) + 3)]
    for leaf in leaves:
        growing.append(leaf)
        frontier.append(leaf)
        if growing.n < 600 or growing.n > 1 << 16:
            assert growing.frontier() == frontier
    assert [row[:2] for row in growing.full if row[0] == 16] == [(16, 0)]
    assert growing.full[1] == (8, 1, merkle.root(leaves[256:512]))
    assert growing.full[-1] == (16, 0, merkle.root(leaves[: 1 << 16]))
    assert len(growing.full) == 256 + 1
