"""Balances: what every account holds, and every transfer that moved it.

    rm_balance    one row an account: free, escrowed and pledged micro-credits, and the height that set them
    rm_transfer   one row a transfer, in final order

Knows `Balance` and `Transferred` effects. Does not know why escrow rose or fell.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from domain.effects import Balance, Transferred
from domain.rules.records import ACCOUNT
from ledger.database import blob, execute_many
from ledger.genesis import Genesis
from projections import pages
from projections.model import METADATA, Batch, Entry, ReadModel, Row, Standing, append, upsert

BALANCE = sa.Table(
    "rm_balance",
    METADATA,
    sa.Column("account", sa.LargeBinary, primary_key=True),
    sa.Column("free", sa.BigInteger, nullable=False),
    sa.Column("escrow", sa.BigInteger, nullable=False),
    sa.Column("pledged", sa.BigInteger, nullable=False),
    sa.Column("height", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

TRANSFER = sa.Table(
    "rm_transfer",
    METADATA,
    sa.Column("height", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("event", sa.LargeBinary, nullable=True),
    sa.Column("source", sa.LargeBinary, nullable=False),
    sa.Column("target", sa.LargeBinary, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Index("rm_transfer_source", "source", "height", "idx", "n"),
    sa.Index("rm_transfer_target", "target", "height", "idx", "n"),
    sqlite_with_rowid=False,
)

BY_ACCOUNT = pages.Order((BALANCE.c.account,))
NEWEST = pages.Order((TRANSFER.c.height, TRANSFER.c.idx, TRANSFER.c.n), descending=True)


def seed(conn: sa.Connection, genesis: Genesis) -> None:
    """The first balances: no receipt speaks of them."""
    upsert(conn, BALANCE, [{**_nothing(a.account), "free": a.amount} for a in genesis.accounts])


def resume(conn: sa.Connection, standing: Standing) -> None:
    """All accounts as they are; when each was last changed is not known, so they are of this height."""
    rows: list[Row] = []
    for key, value in standing.rows(ACCOUNT.name):
        held = ACCOUNT.decode(value)
        amounts = {"free": held.free, "escrow": held.escrow, "pledged": held.pledged}
        rows.append({"account": key, **amounts, "height": standing.height})
    execute_many(conn, _ADD, rows)


def fold(conn: sa.Connection, batch: Batch) -> None:
    latest = {effect.account: (entry, effect) for entry, _, effect in batch.told(Balance)}
    held = [
        {
            "account": effect.account,
            "free": effect.free,
            "escrow": effect.escrow,
            "pledged": effect.pledged,
            "height": entry.height,
        }
        for entry, effect in latest.values()
    ]
    upsert(conn, BALANCE, held)
    append(conn, TRANSFER, [_transfer(*told) for told in batch.told(Transferred)])


def _transfer(entry: Entry, n: int, effect: Transferred) -> tuple[Any, ...]:
    return (
        entry.height,
        entry.index,
        n,
        None if entry.event is None else blob(entry.event),
        blob(effect.source),
        blob(effect.to),
        effect.amount,
        entry.time,
    )


_ADD = BALANCE.insert()
MODEL = ReadModel("balances", (BALANCE, TRANSFER), fold, seed, resume)


def one(conn: sa.Connection, account: bytes) -> Row:
    """An account that nobody ever named has held nothing since genesis."""
    row = conn.execute(sa.select(BALANCE).where(BALANCE.c.account == account)).mappings().one_or_none()
    return _nothing(account) if row is None else dict(row)


def _nothing(account: bytes) -> Row:
    return {"account": account, "free": 0, "escrow": 0, "pledged": 0, "height": 0}


def page(conn: sa.Connection, after: str | None, limit: int) -> pages.Page:
    return pages.fetch(conn, sa.select(BALANCE), BY_ACCOUNT, after, limit)


def transfers(conn: sa.Connection, account: bytes | None, after: str | None, limit: int) -> pages.Page:
    """Newest first; with `account`, those it sent or received."""
    query = sa.select(TRANSFER)
    if account is None:
        return pages.fetch(conn, query, NEWEST, after, limit)
    # Two index walks of `limit` rows each; an OR would sort everything the account ever did.
    sides = (
        TRANSFER.c.source == account,
        sa.and_(TRANSFER.c.target == account, TRANSFER.c.source != account),
    )
    return pages.fetch_merged(conn, [query.where(side) for side in sides], NEWEST, after, limit)
