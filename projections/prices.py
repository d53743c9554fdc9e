"""Prices: the offers that stand, and what compute has cost over time.

    rm_offer   one row a device with a standing offer; gone when it is withdrawn or expires
    rm_ask     lowest and median ask of each engine, as they are
    rm_price   the same as they were, one row a checkpoint in which they changed

Asks are micro-credits per Gfuel. They compare only within one engine, because results do.
The median is the lower one: an ask that somebody really makes.

Knows `OfferStands` effects. Does not know how shards are placed on offers.

What must always hold: history is cut by checkpoint, never by batch, so every node has the same rows.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Final

import sqlalchemy as sa

from domain.effects import OfferStands
from domain.rules.offers import as_effect
from domain.rules.records import OFFER as OFFERS
from projections import pages
from projections.model import (
    MARK,
    METADATA,
    Batch,
    Entry,
    ReadModel,
    Row,
    Standing,
    append,
    driver_sql,
    in_order,
    rows_by_key,
    upsert,
)

OFFER = sa.Table(
    "rm_offer",
    METADATA,
    sa.Column("device", sa.LargeBinary, primary_key=True),
    sa.Column("account", sa.LargeBinary, nullable=False),
    sa.Column("engine", sa.LargeBinary, nullable=False),
    sa.Column("price", sa.BigInteger, nullable=False),
    sa.Column("slots", sa.BigInteger, nullable=False),
    sa.Column("busy", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("bond", sa.BigInteger, nullable=False),
    sa.Column("height", sa.BigInteger, nullable=False),
    sa.Index("rm_offer_engine", "engine", "price", "device"),
    sa.Index("rm_offer_account", "account", "device"),
    sqlite_with_rowid=False,
)


def _asks_columns() -> tuple[sa.Column[int], ...]:
    return (
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("lowest", sa.BigInteger, nullable=True),
        sa.Column("median", sa.BigInteger, nullable=True),
        sa.Column("offers", sa.BigInteger, nullable=False),
    )


ASK = sa.Table(
    "rm_ask",
    METADATA,
    sa.Column("engine", sa.LargeBinary, primary_key=True),
    sa.Column("height", sa.BigInteger, nullable=False),
    *_asks_columns(),
    sqlite_with_rowid=False,
)

PRICE = sa.Table(
    "rm_price",
    METADATA,
    sa.Column("engine", sa.LargeBinary, primary_key=True),
    sa.Column("height", sa.BigInteger, primary_key=True, autoincrement=False),
    *_asks_columns(),
    sqlite_with_rowid=False,
)

CHEAPEST = pages.Order((OFFER.c.engine, OFFER.c.price, OFFER.c.device))
BY_ENGINE = pages.Order((ASK.c.engine,))
NEWEST = pages.Order((PRICE.c.height,), descending=True)


Told = tuple[Entry, int, OfferStands]
Asks = tuple[int | None, int | None, int]
"""Lowest, median, and how many."""

BOOK_FROM: Final = 32
"""Checkpoints with offers in one batch from which on it pays to read all offers of their engines, once."""


def fold(conn: sa.Connection, batch: Batch, *, book_from: int = BOOK_FROM) -> None:
    told = batch.told(OfferStands)
    checkpoints = [list(some) for _, some in groupby(told, key=lambda one: one[0].height)]
    if len(checkpoints) < book_from:
        for checkpoint in checkpoints:
            _fold_checkpoint(conn, checkpoint)
    else:
        _fold_by_book(conn, checkpoints)


def _fold_checkpoint(conn: sa.Connection, told: Sequence[Told]) -> None:
    """The asks are looked up after each checkpoint: few steps, whatever number of offers stands."""
    offers = _latest(told)
    before = rows_by_key(conn, OFFER, offers)
    _write(conn, offers.values(), before)
    touched = {engine for device, row in offers.items() for engine in _repriced(before.get(device), row)}
    _reprice(conn, touched, told[-1][0].height, told[-1][0].time)


def _fold_by_book(conn: sa.Connection, checkpoints: Sequence[Sequence[Told]]) -> None:
    """The same for many checkpoints: all offers of the engines in question are read once, and kept in order
    of price while they change."""
    offers = [_latest(told) for told in checkpoints]
    latest = {device: row for some in offers for device, row in some.items()}
    before = rows_by_key(conn, OFFER, latest)
    standing = dict(before)
    engines = {row["engine"] for some in (*offers, before) for row in some.values()}
    book = _Book(conn, engines)
    asks = {engine: _asks_in(row) for engine, row in rows_by_key(conn, ASK, engines).items()}
    changed: list[Row] = []
    for told, some in zip(checkpoints, offers, strict=True):
        touched: set[bytes] = set()
        for device, row in some.items():
            old = standing.pop(device, None)
            touched |= _repriced(old, row)
            book.change(old, row)
            if row["slots"]:
                standing[device] = row
        entry = told[-1][0]
        for engine in sorted(touched):
            now = book.asks(engine)
            if asks.get(engine) != now:
                asks[engine] = now
                changed.append(_row(engine, entry.height, entry.time, now))
    _write(conn, latest.values(), before)
    upsert(conn, ASK, {row["engine"]: row for row in changed}.values())
    append(conn, PRICE, in_order(PRICE, changed))


class _Book:
    """The offers of some engines in order of price, as they stand at one moment of a batch."""

    def __init__(self, conn: sa.Connection, engines: Collection[bytes]) -> None:
        self._of: dict[bytes, list[tuple[int, bytes]]] = {}
        for engine in engines:
            found = driver_sql(conn, _OFFERS_OF, engine)
            self._of[engine] = [(price, device) for price, device in found]

    def change(self, before: Row | None, after: Row) -> None:
        if before is not None:
            offers = self._of[before["engine"]]
            del offers[bisect_left(offers, (before["price"], before["device"]))]
        if after["slots"]:
            insort(self._of[after["engine"]], (after["price"], after["device"]))

    def asks(self, engine: bytes) -> Asks:
        offers = self._of[engine]
        if not offers:
            return None, None, 0
        return offers[0][0], offers[(len(offers) - 1) // 2][0], len(offers)


def _latest(told: Sequence[Told]) -> dict[bytes, Row]:
    return {effect.device: _offer(effect, entry.height) for entry, _, effect in told}


def _write(conn: sa.Connection, offers: Collection[Row], before: Collection[bytes]) -> None:
    """Offers as they now are; those `before` have a row already."""
    upsert(conn, OFFER, [row for row in offers if row["slots"]])
    for device in sorted(row["device"] for row in offers if not row["slots"]):
        if device in before:
            driver_sql(conn, _WITHDRAW, device)


def resume(conn: sa.Connection, standing: Standing) -> None:
    """The offers that stand, and what they ask now."""
    found = ((key, OFFERS.decode(value)) for key, value in standing.rows(OFFERS.name))
    rows = [_offer(as_effect(key, one), standing.height) for key, one in found if one.slots]
    upsert(conn, OFFER, rows)
    _reprice(conn, {row["engine"] for row in rows}, standing.height, standing.time)


def _reprice(conn: sa.Connection, engines: Collection[bytes], height: int, time: int) -> None:
    """Note the asks of these engines where they are not what they were."""
    if not engines:
        return
    before = rows_by_key(conn, ASK, engines)
    changed: list[Row] = []
    for engine in sorted(engines):
        now = _asks(conn, engine)
        if engine not in before or _asks_in(before[engine]) != now:
            changed.append(_row(engine, height, time, now))
    upsert(conn, ASK, changed)
    append(conn, PRICE, in_order(PRICE, changed))


def _row(engine: bytes, height: int, time: int, asks: Asks) -> Row:
    lowest, median, offers = asks
    return {
        "engine": engine,
        "height": height,
        "time": time,
        "lowest": lowest,
        "median": median,
        "offers": offers,
    }


def _asks_in(row: Row) -> Asks:
    return row["lowest"], row["median"], row["offers"]


def _offer(effect: OfferStands, height: int) -> Row:
    return {
        "device": effect.device,
        "account": effect.account,
        "engine": effect.engine,
        "price": effect.price,
        "slots": effect.slots,
        "busy": effect.busy,
        "until": effect.until,
        "bond": effect.bond,
        "height": height,
    }


def _repriced(before: Row | None, after: Row) -> set[bytes]:
    """The engines whose asks differ now; most effects only tell how busy an offer is."""
    asks = {(row["engine"], row["price"]) for row in (before,) if row} ^ (
        {(after["engine"], after["price"])} if after["slots"] else set()
    )
    return {engine for engine, _ in asks}


def _asks(conn: sa.Connection, engine: bytes) -> Asks:
    """Of the offers that stand, walking the index on (engine, price)."""
    [(count, lowest)] = driver_sql(conn, _COUNT, engine)
    if not count:
        return None, None, 0
    [(median,)] = driver_sql(conn, _AT, engine, (count - 1) // 2)
    return lowest, median, count


_OFFERS_OF: Final = f"SELECT price, device FROM rm_offer WHERE engine = {MARK} ORDER BY price, device"
_COUNT: Final = f"SELECT count(*), min(price) FROM rm_offer WHERE engine = {MARK}"
_AT: Final = f"SELECT price FROM rm_offer WHERE engine = {MARK} ORDER BY price, device LIMIT 1 OFFSET {MARK}"
_WITHDRAW: Final = f"DELETE FROM rm_offer WHERE device = {MARK}"
MODEL = ReadModel("prices", (OFFER, ASK, PRICE), fold, resume=resume)


def offers(conn: sa.Connection, engine: bytes | None, after: str | None, limit: int) -> pages.Page:
    """Standing offers by engine, cheapest first."""
    query = sa.select(OFFER)
    if engine is not None:
        query = query.where(OFFER.c.engine == engine)
    return pages.fetch(conn, query, CHEAPEST, after, limit)


def current(conn: sa.Connection, after: str | None, limit: int) -> pages.Page:
    """The latest asks of every engine that ever had an offer."""
    return pages.fetch(conn, sa.select(ASK), BY_ENGINE, after, limit)


def history(conn: sa.Connection, engine: bytes, after: str | None, limit: int) -> pages.Page:
    """How the asks of one engine changed, newest first."""
    return pages.fetch(conn, sa.select(PRICE).where(PRICE.c.engine == engine), NEWEST, after, limit)
