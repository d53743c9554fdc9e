"""Reputation: how often an account's runs agreed, and every run it was paid for.

    rm_reputation     one row an account: counts of runs that agreed, were wrong, were let go or lost
    rm_contribution   one row a run that was verified and paid, in final order
    rm_contributor    one row an account: how many such runs, their fuel and pay; totals stop at 2^63-1
    rm_earner         the same, one row a device of an account
    rm_forfeit        one row a run's bond that was lost, in final order

Knows `Reputation`, `Contribution` and `Forfeited` effects. Does not judge: what a count is worth is the
reader's business.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from msgspec.structs import asdict

from domain.effects import Contribution, Forfeited, Reputation
from domain.rules.records import STANDING
from projections import pages
from projections.model import (
    METADATA,
    AnyText,
    Batch,
    Entry,
    ReadModel,
    Row,
    Standing,
    append,
    in_order,
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
    sa.Column("device", sa.LargeBinary, nullable=False),
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

EARNER = sa.Table(
    "rm_earner",
    METADATA,
    sa.Column("earner", sa.LargeBinary, primary_key=True),  # account, device
    sa.Column("account", sa.LargeBinary, nullable=False),
    sa.Column("device", sa.LargeBinary, nullable=False),
    sa.Column("runs", sa.BigInteger, nullable=False),
    sa.Column("fuel", sa.BigInteger, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),  # of the last run that was paid
    sa.Column("height", sa.BigInteger, nullable=False),
    sa.Index("rm_earner_account", "account", "device"),
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
BY_DEVICE = pages.Order((EARNER.c.account, EARNER.c.device))
LAST_LOST = pages.Order((FORFEIT.c.height, FORFEIT.c.idx, FORFEIT.c.n), descending=True)
NO_COUNTS = {"agreed": 0, "wrong": 0, "lost": 0, "streak": 0, "height": 0}
NO_TOTALS = {"runs": 0, "fuel": 0, "amount": 0, "height": 0}


def fold(conn: sa.Connection, batch: Batch) -> None:
    latest = {effect.account: (effect, entry.height) for entry, _, effect in batch.told(Reputation)}
    paid = [asdict(effect) | _place(entry, n) for entry, n, effect in batch.told(Contribution)]
    lost = [
        asdict(effect) | _place(entry, n) | {"time": entry.time} for entry, n, effect in batch.told(Forfeited)
    ]
    upsert(conn, REPUTATION, [asdict(effect) | {"height": height} for effect, height in latest.values()])
    _add_totals(conn, paid)
    append(conn, CONTRIBUTION, in_order(CONTRIBUTION, paid))
    append(conn, FORFEIT, in_order(FORFEIT, lost))


def _place(entry: Entry, n: int) -> Row:
    return {"height": entry.height, "idx": entry.index, "n": n}


def _add_totals(conn: sa.Connection, contributions: Sequence[Row]) -> None:
    """The one fold that adds to what is there: right because the runner folds each entry exactly once."""
    accounts = {row["account"] for row in contributions}
    totals = {a: {"account": a, **NO_TOTALS} for a in accounts} | dict(
        rows_by_key(conn, CONTRIBUTOR, accounts)
    )
    earners = {_earner(row): _unpaid(row) for row in contributions}
    earners |= rows_by_key(conn, EARNER, earners)
    for row in contributions:
        for total in (totals[row["account"]], earners[_earner(row)]):
            total["runs"] += 1
            total["fuel"] = saturated(total["fuel"] + row["fuel"])
            total["amount"] = saturated(total["amount"] + row["amount"])
            total["height"] = row["height"]
        earners[_earner(row)]["time"] = row["time"]
    upsert(conn, CONTRIBUTOR, totals.values())
    upsert(conn, EARNER, earners.values())


def _earner(row: Row) -> bytes:
    return bytes(row["account"] + row["device"])


def _unpaid(row: Row) -> Row:
    whose = {"earner": _earner(row), "account": row["account"], "device": row["device"]}
    return whose | NO_TOTALS | {"time": row["time"]}


def resume(conn: sa.Connection, standing: Standing) -> None:
    """The counts of runs; what each was paid is history."""
    rows: list[Row] = []
    for key, value in standing.rows(STANDING.name):
        counts = asdict(STANDING.decode(value))
        rows.append(counts | {"account": key, "height": standing.height})
    upsert(conn, REPUTATION, rows)


MODEL = ReadModel("reputation", (REPUTATION, CONTRIBUTION, CONTRIBUTOR, EARNER, FORFEIT), fold, resume=resume)


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


def earners(conn: sa.Connection, account: bytes | None, after: str | None, limit: int) -> pages.Page:
    """What each device of each account was ever paid for, sorted by account and device."""
    query = sa.select(EARNER)
    if account is not None:
        query = query.where(EARNER.c.account == account)
    return pages.fetch(conn, query, BY_DEVICE, after, limit)


def earned_since(conn: sa.Connection, account: bytes, time: int) -> dict[bytes, int]:
    """Micro-credits by device, of runs paid after ledger time `time`."""
    query = (
        sa.select(CONTRIBUTION.c.device, sa.func.sum(CONTRIBUTION.c.amount))
        .where(CONTRIBUTION.c.account == account, CONTRIBUTION.c.time > time)
        .group_by(CONTRIBUTION.c.device)
    )
    return {bytes(device): int(amount) for device, amount in conn.execute(query)}


def forfeits(conn: sa.Connection, account: bytes | None, after: str | None, limit: int) -> pages.Page:
    """Bonds that were lost, newest first; with `account`, its own."""
    query = sa.select(FORFEIT)
    if account is not None:
        query = query.where(FORFEIT.c.account == account)
    return pages.fetch(conn, query, LAST_LOST, after, limit)
