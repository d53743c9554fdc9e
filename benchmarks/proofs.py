"""What proofs cost at a million leaves of the event tree, and at a million rows of the state: to keep what
they need, to make, to check.

    python -m benchmarks.proofs

Times are wall time; of proofs the median of many. Kept on the disk: rows of `subtree`, all that a proof needs
beside the history itself. Siblings of a row count the depth of the state's trie: what a proof of it carries.
Exit code 1 if a leaf of the event tree takes more than 20 hashes.
"""

from __future__ import annotations

import hashlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ledger import merkle, tiles
from ledger.cid import Cid
from ledger.database import execute_many, reading, writing
from ledger.genesis import Genesis, Validator
from ledger.merkle import Frontier
from ledger.merkle_map import MerkleMap, verify_proof
from ledger.store import Store
from ledger.tables import OUTCOME, SUBTREE

LEAVES = ROWS = 1_000_000
COMMIT = 2_000
PROOFS = 200
INCLUSION_HASHES_MAX = 20


def fill(store: Store) -> tuple[bytes, float]:
    """The root, and the seconds that keeping subtrees took."""
    add, frontier, kept = OUTCOME.insert(), Frontier(), 0.0
    for before in range(0, LEAVES, COMMIT):
        ids = [Cid.of(b"event %d" % at) for at in range(before, before + COMMIT)]
        rows = [
            {"place": place, "height": 1, "event": bytes(id), "receipt": bytes(100)}
            for place, id in enumerate(ids, before + 1)
        ]
        with writing(store.engine) as connection:
            execute_many(connection, add, rows)
            begun = time.perf_counter()
            tiles.extend(connection, before, before + COMMIT)
            kept += time.perf_counter() - begun
        for id in ids:
            frontier.append(merkle.leaf_hash(id))
    return frontier.root(), kept


def of_the_state() -> dict[str, float]:
    """Of rows with keys like those of accounts."""
    keys = [hashlib.sha256(b"account %d" % at).digest() for at in range(ROWS)]
    rows = MerkleMap().update({("account", key): b"1000" for key in keys})
    depths = [len(rows.prove("account", key).siblings) for key in keys]
    for key in keys[:PROOFS]:
        assert verify_proof(rows.root, "account", key, b"1000", rows.prove("account", key))
    return {
        "rows": ROWS,
        "row_siblings_mean": round(statistics.mean(depths), 1),
        "row_siblings_max": max(depths),
        "row_ms": median_ms(lambda at: rows.prove("account", keys[at])),
    }


def median_ms(work: Callable[[int], Any]) -> float:
    found = []
    for _ in range(PROOFS):
        at = random.Random(len(found)).randrange(LEAVES)
        begun = time.perf_counter()
        work(at)
        found.append(1000 * (time.perf_counter() - begun))
    return round(statistics.median(found), 3)


def misses(numbers: Mapping[str, float]) -> Iterator[str]:
    """A line for each target that these numbers miss."""
    if numbers["inclusion_hashes_max"] > INCLUSION_HASHES_MAX:
        yield f"inclusion_hashes_max {numbers['inclusion_hashes_max']}, at most {INCLUSION_HASHES_MAX}"


def main() -> int:
    genesis = Genesis(1, "bench", 0, 1, (Validator(bytes(32), 1),), (), {})
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(f"sqlite:///{Path(folder) / 'store.db'}", genesis)
        root, kept = fill(store)

        def prove(index: int) -> tuple[bytes, ...]:
            with reading(store.engine) as connection:
                return tiles.inclusion(connection, index, LEAVES)

        def relate(index: int) -> None:
            with reading(store.engine) as connection:
                tiles.consistency(connection, index + 1, LEAVES)

        proofs = {at: prove(at) for at in range(0, LEAVES, LEAVES // PROOFS)}
        for at, proof in proofs.items():
            leaf = merkle.leaf_hash(Cid.of(b"event %d" % at))
            assert merkle.verify_inclusion(leaf, at, LEAVES, proof, root)
        with reading(store.engine) as connection:
            rows = connection.execute(sa.select(sa.func.count()).select_from(SUBTREE)).scalar_one()
        numbers = {
            "leaves": LEAVES,
            "kept_rows": rows,
            "keep_us_per_leaf": round(1e6 * kept / LEAVES, 2),
            "inclusion_hashes_max": max(map(len, proofs.values())),
            "inclusion_ms": median_ms(prove),
            "consistency_ms": median_ms(relate),
        }
        store.close()
    missed = list(misses(numbers))
    print(json.dumps(numbers | of_the_state() | {"missed": missed}))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
