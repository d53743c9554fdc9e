"""Validators: who has how much at stake, who votes now and next, who was punished; and all money there is.

    rm_bond     one row an account that ever had a bond: bonded, unbonding, in jail until when
    rm_seat     the validators of the present epoch and of the next, each with its stake
    rm_slash    one row a punishment, in final order
    rm_minted   one row: the micro-credits that genesis gave out

Knows `BondIs`, `Seat` and `Slashed` effects. Seats are told two epochs ahead, at the end of an epoch: so the
last one told is always the next epoch, and the one before it the present.
"""

from __future__ import annotations

import sqlalchemy as sa
from msgspec.structs import asdict

from domain.effects import BondIs, Seat, Slashed
from domain.rules.bonds import BOND as BONDS
from domain.rules.records import SUPPLY
from ledger.genesis import Genesis
from ledger.validators import TABLE as SETS
from ledger.validators import parse_set
from projections import pages
from projections.balances import BALANCE
from projections.model import METADATA, AnyText, Batch, ReadModel, Row, Standing, append, in_order, upsert
from projections.reputation import FORFEIT

BOND = sa.Table(
    "rm_bond",
    METADATA,
    sa.Column("account", sa.LargeBinary, primary_key=True),
    sa.Column("bonded", sa.BigInteger, nullable=False),
    sa.Column("unbonding", sa.BigInteger, nullable=False),
    sa.Column("jailed", sa.BigInteger, nullable=False),
    sa.Column("height", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

SEAT = sa.Table(
    "rm_seat",
    METADATA,
    sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("account", sa.LargeBinary, primary_key=True),
    sa.Column("stake", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

SLASH = sa.Table(
    "rm_slash",
    METADATA,
    sa.Column("height", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("event", sa.LargeBinary, nullable=True),
    sa.Column("account", sa.LargeBinary, nullable=False),
    sa.Column("offence", AnyText, nullable=False),
    sa.Column("reporter", sa.LargeBinary, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("bounty", sa.BigInteger, nullable=False),
    sa.Column("share", sa.BigInteger, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Index("rm_slash_account", "account", "height", "idx", "n"),
    sqlite_with_rowid=False,
)

MINTED = sa.Table(
    "rm_minted",
    METADATA,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("minted", sa.BigInteger, nullable=False),
    sa.Column("burned", sa.BigInteger, nullable=False),  # before the first entry that was folded here
)

BY_ACCOUNT = pages.Order((BOND.c.account,))
NEWEST = pages.Order((SLASH.c.height, SLASH.c.idx, SLASH.c.n), descending=True)


def seed(conn: sa.Connection, genesis: Genesis) -> None:
    """The stakes of genesis, which vote in the first two epochs: no receipt speaks of them."""
    first = [(one.key, one.stake) for one in genesis.validators]
    nothing = {"unbonding": 0, "jailed": 0, "height": 0}
    upsert(conn, BOND, [{"account": key, "bonded": stake, **nothing} for key, stake in first])
    upsert(conn, SEAT, [{"epoch": n, "account": key, "stake": stake} for n in (0, 1) for key, stake in first])
    free = sum(allocation.amount for allocation in genesis.accounts)
    upsert(conn, MINTED, [{"one": 1, "minted": free + genesis.stake, "burned": 0}])


def resume(conn: sa.Connection, standing: Standing) -> None:
    """Bonds, seats and all money as they are; who was punished before is history."""
    bonds: list[Row] = []
    for key, value in standing.rows(BONDS.name):
        bond = BONDS.decode(value)
        row = {"account": key, "bonded": bond.bonded, "unbonding": bond.unbonding, "jailed": bond.jailed}
        bonds.append(row | {"height": standing.height})
    upsert(conn, BOND, bonds)
    sets = {int.from_bytes(key, "big"): parse_set(value) for key, value in standing.rows(SETS)}
    seats = [
        {"epoch": epoch, "account": key, "stake": stake}
        for epoch in sorted(sets)[-2:]
        for key, stake in sets[epoch].stakes.items()
    ]
    upsert(conn, SEAT, seats)
    [(_, money)] = standing.rows(SUPPLY.name)
    supply = SUPPLY.decode(money)
    upsert(conn, MINTED, [{"one": 1, "minted": supply.minted, "burned": supply.burned}])


def fold(conn: sa.Connection, batch: Batch) -> None:
    bonds = {bond.account: asdict(bond) | {"height": entry.height} for entry, _, bond in batch.told(BondIs)}
    seats = [asdict(seat) for _, _, seat in batch.told(Seat)]
    slashes = [
        asdict(slash)
        | {"height": entry.height, "idx": entry.index, "n": n, "event": entry.event, "time": entry.time}
        for entry, n, slash in batch.told(Slashed)
    ]
    upsert(conn, BOND, bonds.values())
    append(conn, SLASH, in_order(SLASH, slashes))
    if seats:
        upsert(conn, SEAT, seats)
        latest = max(row["epoch"] for row in seats)
        conn.execute(sa.delete(SEAT).where(SEAT.c.epoch < latest - 1))


MODEL = ReadModel("validators", (BOND, SEAT, SLASH, MINTED), fold, seed, resume)


def _with_seats() -> sa.Select[tuple[object, ...]]:
    """Every account that has something at stake or a seat, with its seats and what it ever lost."""
    newest = sa.select(sa.func.max(SEAT.c.epoch)).scalar_subquery()
    now, later = SEAT.alias("now"), SEAT.alias("later")
    lost = sa.select(_total(SLASH.c.amount)).where(SLASH.c.account == BOND.c.account)
    joined = sa.outerjoin(
        BOND, now, sa.and_(now.c.account == BOND.c.account, now.c.epoch == newest - 1)
    ).outerjoin(later, sa.and_(later.c.account == BOND.c.account, later.c.epoch == newest))
    return sa.select(
        BOND,
        sa.func.coalesce(now.c.stake, 0).label("votes"),
        sa.func.coalesce(later.c.stake, 0).label("votes_next"),
        lost.scalar_subquery().label("slashed"),
    ).select_from(joined)


def _total(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """All money together fits a BIGINT, but PostgreSQL adds those up to something wider."""
    return sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger)


def page(conn: sa.Connection, after: str | None, limit: int) -> pages.Page:
    """Every account that ever had a bond, sorted by account."""
    return pages.fetch(conn, _with_seats(), BY_ACCOUNT, after, limit)


def one(conn: sa.Connection, account: bytes) -> Row:
    """An account that never had a bond has nothing at stake."""
    query = _with_seats().where(BOND.c.account == account)
    row = conn.execute(query).mappings().one_or_none()
    nothing = ("bonded", "unbonding", "jailed", "height", "votes", "votes_next", "slashed")
    return {"account": account, **dict.fromkeys(nothing, 0)} if row is None else dict(row)


def slashes(conn: sa.Connection, account: bytes | None, after: str | None, limit: int) -> pages.Page:
    """Punishments, newest first; with `account`, those that it suffered."""
    query = sa.select(SLASH)
    if account is not None:
        query = query.where(SLASH.c.account == account)
    return pages.fetch(conn, query, NEWEST, after, limit)


def supply(conn: sa.Connection) -> Row:
    """All micro-credits that there are, and where; counted from the tables."""
    minted, burned = conn.execute(sa.select(MINTED.c.minted, MINTED.c.burned)).one()
    held = sa.select(_total(BALANCE.c.free), _total(BALANCE.c.escrow), _total(BALANCE.c.pledged))
    free, escrow, pledged = conn.execute(held).one()
    bonded, unbonding = conn.execute(sa.select(_total(BOND.c.bonded), _total(BOND.c.unbonding))).one()
    lost, paid = conn.execute(sa.select(_total(SLASH.c.amount), _total(SLASH.c.bounty))).one()
    of_runs = sa.select(_total(FORFEIT.c.amount - FORFEIT.c.refund - FORFEIT.c.bounty))
    return {
        "minted": minted,
        "free": free,
        "escrow": escrow,
        "pledged": pledged,
        "bonded": bonded,
        "unbonding": unbonding,
        "burned": burned + lost - paid + conn.execute(of_runs).scalar_one(),
    }
