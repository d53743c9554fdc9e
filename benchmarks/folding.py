"""A rebuild of the read models, part by part: what of it costs how much, and which replay is how fast.

    lines      read out of the store, receipts decoded
    entries    effects decoded, and what is said of each event
    <model>    the fold of one model, without its indexes
    indexes    of all models, at the end
    rest       effects sorted by what they tell, transactions, tracking

Used by `benchmarks/replay.py`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa

from ledger.garbage import seldom_collected
from ledger.store import Finalized, Store
from projections.model import Batch, Entry, ReadModel
from projections.runner import MODELS, Runner

NOTHING_S = 1e-3
"""A fold that took less than this in a whole run had nothing to do."""


class Folding:
    """A rebuild of a new store's tables, with the CPU time of each of its parts as they come in it.

    Read again apart, the same lines took longer beside all that was in memory by then.
    """

    def __init__(self, store: Store) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._runner = _Runner(store, [self._timed(model) for model in MODELS], self._spent_on)

    def run(self) -> None:
        with seldom_collected():
            while self._runner.step() is not None:
                pass
            with self._spent_on("indexes"):
                self._runner.catch_up()

    def seconds(self, total: float) -> dict[str, float]:
        """Of a run that took `total`."""
        entries = self._seconds.pop("reading") - self._seconds["lines"]
        parts = {**self._seconds, "entries": entries}
        return {**parts, "rest": total - sum(parts.values())}

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


class _Lines:
    """A store that says how long history takes to come out of it."""

    def __init__(self, store: Store, spent_on: Callable[[str], AbstractContextManager[None]]) -> None:
        self._store, self._spent_on = store, spent_on

    def finalized(self, after: int, limit: int) -> list[Finalized]:
        with self._spent_on("lines"):
            return self._store.finalized(after, limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _Runner(Runner):
    def __init__(
        self,
        store: Store,
        models: Sequence[ReadModel],
        spent_on: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._spent_on = spent_on
        super().__init__(cast("Store", _Lines(store, spent_on)), models)

    def _next_batch(self) -> tuple[list[Entry], bool]:
        with self._spent_on("reading"):
            return super()._next_batch()


def replays(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds of a replay that goes so far: to decoded entries; into one model (of those that this log has
    something for), without indexes; into all of them, without indexes and with them."""
    read_only = seconds["lines"] + seconds["entries"]
    folds = {model.name: seconds[model.name] for model in MODELS if seconds[model.name] > NOTHING_S}
    folded = read_only + sum(folds.values()) + seconds["rest"]
    return {
        "read and decoded": read_only,
        **{f"into {name} alone": read_only + fold + seconds["rest"] for name, fold in folds.items()},
        "into all, no indexes": folded,
        "into all": folded + seconds["indexes"],
    }
