"""Escrows for vouchers: who set aside how much for whom, how much of it went over, and how it ended.

    rm_escrow    one row an escrow, open or not; `opened` is the height at which it was, `height` of the
                 last change

Knows `EscrowIs` effects. Does not know a voucher: one that was signed and not redeemed is its payee's affair.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from domain.effects import EscrowIs
from domain.rules.records import ESCROW as ESCROWS_OPEN
from projections import pages
from projections.model import METADATA, Batch, Entry, ReadModel, Row, Standing, upsert

ESCROW = sa.Table(
    "rm_escrow",
    METADATA,
    sa.Column("escrow", sa.LargeBinary, primary_key=True),
    sa.Column("payer", sa.LargeBinary, nullable=False),
    sa.Column("payee", sa.LargeBinary, nullable=False),
    sa.Column("key", sa.LargeBinary, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("redeemed", sa.BigInteger, nullable=False),
    sa.Column("expiry", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("expiry_time", sa.BigInteger, nullable=False),
    sa.Column("until_time", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("opened", sa.BigInteger, nullable=False),
    sa.Column("height", sa.BigInteger, nullable=False),
    sa.Index("rm_escrow_newest", "opened", "escrow"),
    sa.Index("rm_escrow_payer", "payer", "opened", "escrow"),
    sa.Index("rm_escrow_payee", "payee", "opened", "escrow"),
    sa.Index("rm_escrow_state", "state", "opened", "escrow"),
    sqlite_with_rowid=False,
)

NEWEST = pages.Order((ESCROW.c.opened, ESCROW.c.escrow), descending=True)


def fold(conn: sa.Connection, batch: Batch) -> None:
    rows: dict[bytes, Row] = {}
    for entry, _, effect in batch.told(EscrowIs):
        rows[effect.escrow] = _row(entry, effect, rows.get(effect.escrow))
    upsert(conn, ESCROW, rows.values(), keep=("opened",))


def _row(entry: Entry, effect: EscrowIs, before: Row | None) -> Row:
    """What is told of an escrow for the first time is that it was opened."""
    return {
        "escrow": effect.escrow,
        "payer": effect.payer,
        "payee": effect.payee,
        "key": effect.key,
        "amount": effect.amount,
        "redeemed": effect.redeemed,
        "expiry": effect.expiry,
        "until": effect.until,
        "expiry_time": effect.expiry_time,
        "until_time": effect.until_time,
        "state": effect.state,
        "opened": entry.height if before is None else before["opened"],
        "height": entry.height,
    }


def resume(conn: sa.Connection, standing: Standing) -> None:
    """Those that are open, as if they had been opened by now."""
    rows: list[Row] = []
    for key, value in standing.rows(ESCROWS_OPEN.name):
        row = msgspec.structs.asdict(ESCROWS_OPEN.decode(value))
        rows.append(
            row | {"escrow": key, "state": "open", "opened": standing.height, "height": standing.height}
        )
    upsert(conn, ESCROW, rows)


MODEL = ReadModel("escrows", (ESCROW,), fold, resume=resume)


def one(conn: sa.Connection, escrow: bytes) -> Row | None:
    row = conn.execute(sa.select(ESCROW).where(ESCROW.c.escrow == escrow)).mappings().one_or_none()
    return None if row is None else dict(row)


def page(
    conn: sa.Connection, account: bytes | None, state: str | None, after: str | None, limit: int
) -> pages.Page:
    """Newest first; with `account`, those it pays from or is paid from. Nobody is both."""
    query = sa.select(ESCROW)
    if state is not None:
        query = query.where(ESCROW.c.state == state)
    if account is None:
        return pages.fetch(conn, query, NEWEST, after, limit)
    sides = (ESCROW.c.payer == account, ESCROW.c.payee == account)
    return pages.fetch_merged(conn, [query.where(side) for side in sides], NEWEST, after, limit)
