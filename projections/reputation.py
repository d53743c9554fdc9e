"""Reputation: how often an account's runs agreed, and every run it was paid for.

    rm_reputation     one row an account: counts of runs that agreed, were wrong, were let go or lost
    rm_contribution   one row a run that was verified and paid, in final order
    rm_contributor    one row an account: how many such runs, their fuel and pay; totals stop at 2^63-1
    rm_forfeit        one row a run's bond that was lost, in final order

Knows `Reputation`, `Contribution` and `Forfeited` effects. Does not judge: what a count is worth is the
reader's business.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from domain.effects import Contribution, Forfeited, Reputation
from domain.rules.records import STANDING
from projections import pages
from projections.model import (
    METADATA,
    AnyText,
    Entry,
    ReadModel,
    Row,
    Standing,
    rows_by_key,
    saturated,
    upsert,
)

REPUTATION = sa.Table(
    "rm_reputation",
    METADATA,
    sa.Column("account", sa.LargeBinary, primary_key=True),
    sa.Column("agreed", sa.BigInteger, nullable=False),
    sa.Column("wrong", sa.BigInteger, nullable=False),
    sa.Column("lost", sa.BigInteger, nullable=False),
    sa.Column("streak", sa.BigInteger, nullable=False),
    sa.Column("height", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

CONTRIBUTION = sa.Table(
    "rm_contribution",
    METADATA,
    sa.Column("height", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("account", sa.LargeBinary, nullable=False),
    sa.Column("job", sa.LargeBinary, nullable=False),
    sa.Column("shard", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.BigInteger, nullable=False),
    sa.Column("role", AnyText, nullable=False),
    sa.Column("fuel", sa.BigInteger, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Index("rm_contribution_account", "account", "height", "idx", "n"),
    sa.Index("rm_contribution_job", "job", "height", "idx", "n"),
    sqlite_with_rowid=False,
)

CONTRIBUTOR = sa.Table(
    "rm_contributor",
    METADATA,
    sa.Column("account", sa.LargeBinary, primary_key=True),
    sa.Column("runs", sa.BigInteger, nullable=False),
    sa.Column("fuel", sa.BigInteger, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("height", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

FORFEIT = sa.Table(
    "rm_forfeit",
    METADATA,
    sa.Column("height", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("account", sa.LargeBinary, nullable=False),
    sa.Column("job", sa.LargeBinary, nullable=False),
    sa.Column("shard", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.BigInteger, nullable=False),
    sa.Column("reason", AnyText, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("submitter", sa.LargeBinary, nullable=False),
    sa.Column("refund", sa.BigInteger, nullable=False),
    sa.Column("finder", sa.LargeBinary, nullable=True),
    sa.Column("bounty", sa.BigInteger, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Index("rm_forfeit_account", "account", "height", "idx", "n"),
    sqlite_with_rowid=False,
)

BY_ACCOUNT = pages.Order((REPUTATION.c.account,))
NEWEST = pages.Order((CONTRIBUTION.c.height, CONTRIBUTION.c.idx, CONTRIBUTION.c.n), descending=True)
LAST_LOST = pages.Order((FORFEIT.c.height, FORFEIT.c.idx, FORFEIT.c.n), descending=True)
NO_COUNTS = {"agreed": 0, "wrong": 0, "lost": 0, "streak": 0, "height": 0}
NO_TOTALS = {"runs": 0, "fuel": 0, "amount": 0, "height": 0}


def fold(conn: sa.Connection, entries: Sequence[Entry]) -> None:
    counts: dict[bytes, Row] = {}
    contributions: list[Row] = []
    forfeits: list[Row] = []
    for entry in entries:
        for n, effect in enumerate(entry.effects):
            if isinstance(effect, Reputation):
                counts[effect.account] = {
                    "account": effect.account,
                    "agreed": effect.agreed,
                    "wrong": effect.wrong,
                    "lost": effect.lost,
                    "streak": effect.streak,
                    "height": entry.height,
                }
            elif isinstance(effect, Contribution):
                contributions.append(_fields(effect) | {"height": entry.height, "idx": entry.index, "n": n})
            elif isinstance(effect, Forfeited):
                place = {"height": entry.height, "idx": entry.index, "n": n, "time": entry.time}
                forfeits.append(_fields(effect) | place)
    upsert(conn, REPUTATION, counts.values())
    _add_totals(conn, contributions)
    upsert(conn, CONTRIBUTION, contributions)
    upsert(conn, FORFEIT, forfeits)


def _fields(effect: Contribution | Forfeited) -> Row:
    return {name: getattr(effect, name) for name in effect.__struct_fields__}


def _add_totals(conn: sa.Connection, contributions: Sequence[Row]) -> None:
    """The one fold that adds to what is there: right because the runner folds each entry exactly once."""
    accounts = {row["account"] for row in contributions}
    totals = {a: {"account": a, **NO_TOTALS} for a in accounts} | dict(
        rows_by_key(conn, CONTRIBUTOR, accounts)
    )
    for row in contributions:
        total = totals[row["account"]]
        total["runs"] += 1
        total["fuel"] = saturated(total["fuel"] + row["fuel"])
        total["amount"] = saturated(total["amount"] + row["amount"])
        total["height"] = row["height"]
    upsert(conn, CONTRIBUTOR, totals.values())


def resume(conn: sa.Connection, standing: Standing) -> None:
    """The counts of runs; what each was paid is history."""
    rows: list[Row] = []
    for key, value in standing.rows(STANDING.name):
        counts = msgspec.structs.asdict(STANDING.decode(value))
        rows.append(counts | {"account": key, "height": standing.height})
    upsert(conn, REPUTATION, rows)


MODEL = ReadModel("reputation", (REPUTATION, CONTRIBUTION, CONTRIBUTOR, FORFEIT), fold, resume=resume)


def _with_totals() -> sa.Select[tuple[object, ...]]:
    joined = sa.outerjoin(REPUTATION, CONTRIBUTOR, REPUTATION.c.account == CONTRIBUTOR.c.account)
    return sa.select(
        REPUTATION,
        sa.func.coalesce(CONTRIBUTOR.c.runs, 0).label("runs"),
        sa.func.coalesce(CONTRIBUTOR.c.fuel, 0).label("fuel"),
        sa.func.coalesce(CONTRIBUTOR.c.amount, 0).label("amount"),
    ).select_from(joined)


def page(conn: sa.Connection, after: str | None, limit: int) -> pages.Page:
    """Every account that ever ran something, with its totals."""
    return pages.fetch(conn, _with_totals(), BY_ACCOUNT, after, limit)


def one(conn: sa.Connection, account: bytes) -> Row:
    """An account without a history has all counts at 0."""
    query = _with_totals().where(REPUTATION.c.account == account)
    row = conn.execute(query).mappings().one_or_none()
    return {"account": account, **NO_TOTALS, **NO_COUNTS} if row is None else dict(row)


def contributions(
    conn: sa.Connection, account: bytes | None, job: bytes | None, after: str | None, limit: int
) -> pages.Page:
    """Newest first."""
    query = sa.select(CONTRIBUTION)
    if account is not None:
        query = query.where(CONTRIBUTION.c.account == account)
    if job is not None:
        query = query.where(CONTRIBUTION.c.job == job)
    return pages.fetch(conn, query, NEWEST, after, limit)


def forfeits(conn: sa.Connection, account: bytes | None, after: str | None, limit: int) -> pages.Page:
    """Bonds that were lost, newest first; with `account`, its own."""
    query = sa.select(FORFEIT)
    if account is not None:
        query = query.where(FORFEIT.c.account == account)
    return pages.fetch(conn, query, LAST_LOST, after, limit)
