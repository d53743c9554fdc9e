"""A rebuild of the read models, part by part: what of it costs how much, and which replay is how fast.

    lines      read out of the store, receipts decoded
    entries    effects decoded, and what is said of each event
    kinds      effects sorted by what they tell
    <model>    the fold of one model, without its indexes
    indexes    of all models, at the end
    rest       transactions, tracking, empty tables

Used by `benchmarks/replay.py`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import sqlalchemy as sa

from ledger.garbage import seldom_collected
from ledger.store import Store
from projections.model import Batch, ReadModel, read
from projections.runner import BATCH_MAX, MODELS, Runner

NOTHING_S = 1e-3
"""A fold that took less than this in a whole run had nothing to do."""


class Folding:
    """A rebuild, with the CPU time of each of its parts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seconds: dict[str, float] = defaultdict(float)
        self._runner = Runner(store, [self._timed(model) for model in MODELS])

    def run(self) -> None:
        with seldom_collected():
            while self._runner.step() is not None:
                pass
            with self._spent_on("indexes"):
                self._runner.catch_up()

    def seconds(self, total: float) -> dict[str, float]:
        """Of a run that took `total`; what is read is read once more for it."""
        after = 0
        with seldom_collected():
            while True:
                with self._spent_on("lines"):
                    lines = self._store.finalized(after, BATCH_MAX)
                if not lines:
                    break
                with self._spent_on("entries"):
                    entries = read(lines)
                with self._spent_on("kinds"):
                    Batch(entries)
                after = lines[-1].position
        return {**self._seconds, "rest": total - sum(self._seconds.values())}

    def _timed(self, model: ReadModel) -> ReadModel:
        def fold(conn: sa.Connection, batch: Batch) -> None:
            with self._spent_on(model.name):
                model.fold(conn, batch)

        return replace(model, fold=fold)

    @contextmanager
    def _spent_on(self, what: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        self._seconds[what] += time.process_time() - begun


def replays(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds of a replay that goes so far: to decoded entries; into one model (of those that this log has
    something for), without indexes; into all of them, without indexes and with them."""
    read_only = seconds["lines"] + seconds["entries"]
    sorted_too = read_only + seconds["kinds"]
    folds = {model.name: seconds[model.name] for model in MODELS if seconds[model.name] > NOTHING_S}
    folded = sorted_too + sum(folds.values()) + seconds["rest"]
    return {
        "read and decoded": read_only,
        **{f"into {name} alone": sorted_too + fold + seconds["rest"] for name, fold in folds.items()},
        "into all, no indexes": folded,
        "into all": folded + seconds["indexes"],
    }
