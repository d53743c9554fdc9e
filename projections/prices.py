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

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby

import sqlalchemy as sa

from domain.effects import OfferStands
from domain.rules.offers import as_effect
from domain.rules.records import OFFER as OFFERS
from projections import pages
from projections.model import METADATA, Batch, Entry, ReadModel, Row, Standing, rows_by_key, upsert

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


def fold(conn: sa.Connection, batch: Batch) -> None:
    for _, told in groupby(batch.told(OfferStands), key=lambda told: told[0].height):
        _fold_checkpoint(conn, list(told))


def _fold_checkpoint(conn: sa.Connection, told: Sequence[tuple[Entry, int, OfferStands]]) -> None:
    offers = {effect.device: _offer(effect, entry.height) for entry, _, effect in told}
    before = rows_by_key(conn, OFFER, offers)
    upsert(conn, OFFER, [row for row in offers.values() if row["slots"]])
    gone = sorted(device for device, row in offers.items() if not row["slots"] and device in before)
    if gone:
        conn.execute(
            sa.delete(OFFER).where(OFFER.c.device == sa.bindparam("gone")), [{"gone": g} for g in gone]
        )
    touched = {engine for d, row in offers.items() for engine in _repriced(before.get(d), row)}
    _reprice(conn, touched, told[-1][0].height, told[-1][0].time)


def resume(conn: sa.Connection, standing: Standing) -> None:
    """The offers that stand, and what they ask now."""
    found = ((key, OFFERS.decode(value)) for key, value in standing.rows(OFFERS.name))
    rows = [_offer(as_effect(key, one), standing.height) for key, one in found if one.slots]
    upsert(conn, OFFER, rows)
    _reprice(conn, {row["engine"] for row in rows}, standing.height, standing.time)


def _reprice(conn: sa.Connection, engines: Collection[bytes], height: int, time: int) -> None:
    changed = list(_changed(conn, engines, height, time))
    upsert(conn, ASK, changed)
    upsert(conn, PRICE, changed)


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


def _changed(conn: sa.Connection, engines: Collection[bytes], height: int, time: int) -> Iterable[Row]:
    """The asks of these engines, where they are not what they were."""
    before = rows_by_key(conn, ASK, engines)
    for engine in sorted(engines):
        lowest, median, offers = _asks(conn, engine)
        last = before.get(engine)
        if last is None or (last["lowest"], last["median"], last["offers"]) != (lowest, median, offers):
            yield {
                "engine": engine,
                "height": height,
                "time": time,
                "lowest": lowest,
                "median": median,
                "offers": offers,
            }


def _asks(conn: sa.Connection, engine: bytes) -> tuple[int | None, int | None, int]:
    """(lowest, median, how many) of the offers that stand, walking the index on (engine, price)."""
    mine = OFFER.c.engine == engine
    count = conn.execute(sa.select(sa.func.count()).select_from(OFFER).where(mine)).scalar_one()
    if not count:
        return None, None, 0
    in_order = sa.select(OFFER.c.price).where(mine).order_by(OFFER.c.price, OFFER.c.device).limit(1)
    lowest = conn.execute(in_order).scalar_one()
    return lowest, conn.execute(in_order.offset((count - 1) // 2)).scalar_one(), count


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
