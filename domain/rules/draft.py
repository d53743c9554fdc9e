"""A draft: the state while one event, or one part of a close, is being executed.

Rules read and write records here and tell effects; `finish` gives the new state and the effects in order. A
draft that is thrown away leaves no trace but what it was told to keep (`domain.rules.checks`), which is how a
refusal half-way has no effect. Money moves only
through `domain.rules.accounts` and `domain.rules.bonds`, which keep the running totals here.

What must always hold: a finished draft has created or destroyed no money.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

from msgspec.structs import replace

from domain import effects
from domain.effects import Effect
from domain.rules.params import Params
from domain.rules.records import ONLY, PARAMS, POTS, SUPPLY, Supply, Table
from ledger.cid import Cid
from ledger.execution import Context
from ledger.state import State
from ledger.validators import epoch_of

R = TypeVar("R")


class Draft:
    __slots__ = (
        "_base",
        "_effects",
        "_kept",
        "_read",
        "_rows",
        "_standing",
        "author",
        "context",
        "device",
        "id",
        "moved",
    )

    def __init__(
        self,
        state: State,
        context: Context,
        *,
        author: bytes = b"",
        device: bytes = b"",
        id: Cid | None = None,
    ) -> None:
        """`author` is the account that the event `id` acts for, `device` what signed it; a close has none."""
        self.context = context
        self.author = author
        self.device = device
        self.id = id
        self.moved = _NOTHING_MOVED.copy()
        self._base = state
        self._rows: dict[tuple[str, bytes], tuple[Table[Any], Any]] = {}
        self._read: dict[tuple[str, bytes], Any] = {}  # records that were asked for, as the base has them
        self._kept: set[tuple[str, bytes]] = set()
        self._effects: list[Effect] = []
        self._standing: dict[tuple[str, bytes], Effect] = {}

    @property
    def time(self) -> int:
        """Ledger time, unix ms."""
        return self.context.time

    @property
    def epoch(self) -> int:
        """Of the checkpoint that is being executed."""
        return epoch_of(self.context.height, self.params.epoch_checkpoints)

    # -- rows -----------------------------------------------------------------------------------------------

    def get(self, table: Table[R], key: bytes) -> R | None:
        place = (table.name, key)
        if (row := self._rows.get(place)) is not None:
            return cast("R | None", row[1])
        if (record := self._read.get(place, _UNREAD)) is not _UNREAD:
            return cast("R | None", record)
        data = self._base.get(table.name, key)
        record = self._read[place] = None if data is None else table.decode(data)
        return record

    def row(self, table: Table[R], key: bytes) -> R:
        """A record that must be there."""
        record = self.get(table, key)
        assert record is not None, f"no {table.name} row at {key.hex()}"
        return record

    def put(self, table: Table[R], key: bytes, record: R) -> None:
        self._rows[table.name, key] = (table, record)

    def keep(self, table: Table[R], key: bytes, record: R) -> None:
        """A row that is written also if the event is refused. No money may be in it."""
        self.put(table, key, record)
        self._kept.add((table.name, key))

    def drop(self, table: Table[R], key: bytes) -> None:
        """No error when the key is not there."""
        self._rows[table.name, key] = (table, None)

    def items(self, table: Table[R]) -> list[tuple[bytes, R]]:
        """Every row of a small table, sorted by key."""
        rows = {key: table.decode(data) for key, data in self._base.items(table.name)}
        for (name, key), (_, record) in self._rows.items():
            if name == table.name:
                if record is None:
                    rows.pop(key, None)
                else:
                    rows[key] = record
        return sorted(rows.items(), key=lambda row: row[0])

    @property
    def params(self) -> Params:
        return self.row(PARAMS, ONLY)

    @property
    def supply(self) -> Supply:
        return self.row(SUPPLY, ONLY)

    # -- effects --------------------------------------------------------------------------------------------

    def tell(self, effect: Effect) -> None:
        """Something that happened; kept in order."""
        self._effects.append(effect)

    def stands(self, kind: str, key: bytes, effect: Effect) -> None:
        """How something now stands: only the last word on each thing is kept."""
        self._standing[kind, key] = effect

    # -------------------------------------------------------------------------------------------------------

    def finish(self) -> tuple[State, tuple[bytes, ...]]:
        """The state after, and the effects: what happened, then how accounts, jobs, offers … now stand."""
        self._conserve()
        state = self._base.change(
            [
                (place, None if record is None else table.encode(record))
                for place, (table, record) in self._rows.items()
            ]
        )
        told = [*self._effects, *map(self._standing.__getitem__, sorted(self._standing))]
        return state, effects.encode_all(told)

    def refused(self) -> State:
        """The state after, if the event has no effect."""
        kept = ((place, self._rows[place]) for place in sorted(self._kept))
        return self._base.change((place, table.encode(record)) for place, (table, record) in kept)

    def _conserve(self) -> None:
        """What left one pot went into others; totals follow."""
        if self.moved != _NOTHING_MOVED:
            moved = {pot: change for pot, change in self.moved.items() if change}
            assert sum(moved.values()) == 0, f"money appeared: {moved}"
            supply = self.supply
            held = {pot: getattr(supply, pot) + change for pot, change in moved.items()}
            assert min(held.values()) >= 0, f"the network would hold {held}"
            after = replace(supply, **held)
            total = sum(getattr(after, pot) for pot in POTS)
            assert total == supply.minted, f"{total} held of {supply.minted} minted"
            self.put(SUPPLY, ONLY, after)

    def __repr__(self) -> str:
        return f"<Draft T={self.time} rows={len(self._rows)} effects={len(self._effects)}>"


_NOTHING_MOVED: Final = dict.fromkeys(POTS, 0)
_UNREAD: Final = object()
