"""All models, over histories of any effects whatever: what is left does not depend on the batches."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect
from msgspec.structs import replace

from domain.effects import AnyEffect, Balance, Contribution, OfferStands, Seat, Transferred
from ledger.cid import Cid
from ledger.summary import Summary
from ledger.types import INT63_MAX
from projections.model import Batch, Entry
from projections.runner import MODELS
from tests.projections.tables import contents, tables

KEYS = [bytes([n]) * 32 for n in range(3)]
CIDS = [Cid.of(bytes([n])) for n in range(3)]
TEXTS = ["", "odd\x00one", "word"]


def values_of(field: inspect.Type) -> st.SearchStrategy[Any]:
    """Few, so that the same account, device, job and shard come again."""
    match field:
        case inspect.IntType():
            return st.integers(0, 2) | st.sampled_from([1_000, INT63_MAX])
        case inspect.BytesType():
            return st.sampled_from(KEYS)
        case inspect.CustomType():
            return st.sampled_from(CIDS)
        case inspect.StrType():
            return st.sampled_from(TEXTS[field.min_length or 0 :])
        case inspect.LiteralType():
            return st.sampled_from(field.values)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.UnionType():
            return st.one_of(*map(values_of, field.types))
        case inspect.VarTupleType():
            return st.lists(values_of(field.item_type), max_size=2).map(tuple)
    raise AssertionError(f"no values for {field}")


def effects_of(kind: Any) -> st.SearchStrategy[Any]:
    fields = inspect.type_info(kind).fields  # type: ignore[attr-defined]
    return st.builds(kind, **{field.encode_name: values_of(field.type) for field in fields})


effects = st.one_of(
    *map(effects_of, (Balance, Transferred, OfferStands, Contribution)),  # more often
    *map(effects_of, AnyEffect.__args__),
)
told = st.lists(effects, max_size=3).map(tuple)  # by one event, or at a close
histories = st.lists(st.tuples(st.lists(told, max_size=2), told), max_size=6)  # checkpoints: events, close


def entries_of(history: list[tuple[list[tuple[AnyEffect, ...]], tuple[AnyEffect, ...]]]) -> list[list[Entry]]:
    """By checkpoint."""
    checkpoints: list[list[Entry]] = []
    position = 0
    for height, (by_events, at_close) in enumerate(history, 1):
        entries: list[Entry] = []
        for index, anything in enumerate([*by_events, at_close]):
            some = tuple(possible(effect, height) for effect in anything)
            position += 1
            place = (position, height, index, height * 1_000)
            if index < len(by_events):
                said = Summary("kind", 1, KEYS[0], KEYS[1], 0, position, position)
                entries.append(Entry(*place, Cid.of(b"%d" % position), said, "ok", some))
            else:
                entries.append(Entry(*place, None, None, "ok", some))
        checkpoints.append(entries)
    return checkpoints


def possible(effect: AnyEffect, height: int) -> AnyEffect:
    """Seats are told for one epoch after the other."""
    return replace(effect, epoch=height) if isinstance(effect, Seat) else effect


def folded(checkpoints: list[list[Entry]], cuts: list[int]) -> dict[str, list[tuple[Any, ...]]]:
    """The tables after batches that end where `cuts` say."""
    with tables() as conn:
        for start, end in zip([0, *cuts], [*cuts, len(checkpoints)], strict=True):
            if start < end:
                fold(conn, [entry for entries in checkpoints[start:end] for entry in entries])
        return contents(conn)


def fold(conn: sa.Connection, entries: list[Entry]) -> None:
    batch = Batch(entries)
    for model in MODELS:
        model.fold(conn, batch)


@settings(max_examples=60, deadline=None)
@given(histories, st.data())
def test_tables_are_the_same_whatever_the_batches(history: Any, data: st.DataObject) -> None:
    """One checkpoint at a time, all at once, and in lots of any size."""
    checkpoints = entries_of(history)
    inner = list(range(1, len(checkpoints)))
    one_by_one = folded(checkpoints, inner)
    assert folded(checkpoints, []) == one_by_one
    cuts = sorted(data.draw(st.sets(st.sampled_from(inner)))) if inner else []
    assert folded(checkpoints, cuts) == one_by_one
