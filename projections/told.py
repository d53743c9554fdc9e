"""What the rows of the state tell people, and whether an answer says the same.

The other end of `projections.proofs`: `mismatches` compares an answer, field by field, with the rows that
were proven beside it, and `unproven` names what no row decides. It needs no node; `fog proof check` uses it
on a file.

Knows which fields come from which row. Does not know whether a row is proven (`ledger.proofs`), nor what was
asked.

What must always hold: a field of an answer that both pass over says what its row says, or `final`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from domain.rules import bonds, records
from domain.rules.checking import by_history
from domain.rules.records import JobState
from ledger.errors import RemoteError
from ledger.proofs import RowProof
from projections import answers as a
from projections.proofs import RowItem


def mismatches(item: object, rows: Iterable[RowProof]) -> list[str]:
    """Names of the fields in which an answer differs from the rows that were proven beside it."""
    return differing(item, _decided(item, rows))


def unproven(item: object, rows: Sequence[RowProof]) -> list[str]:
    """Names of the fields of an answer that its rows leave open, such as the height that set a value.

    Raises RemoteError (`unproven`) when the rows cannot be what this answer stands on: no answer has such
    rows, they are of several things, it says more than answers of its kind do, or only a row could say it and
    there is none.
    """
    if _is_row(item) and len(rows) == 1:
        return left_open(item, _decided(item, rows), RowItem)
    shape = ANSWERS.get(tuple(row.table for row in rows))
    if shape is None or len({row.key for row in rows}) != 1:
        raise RemoteError("no answer stands on rows like its own", code="unproven")
    for row in rows:
        if row.value is None and row.table not in ZERO_WITHOUT_A_ROW:
            raise RemoteError(f"{row.table}/{row.key.hex()} is not there to say so", code="unproven")
    return left_open(item, _decided(item, rows), shape)


def differing(item: object, decided: Mapping[str, Any]) -> list[str]:
    """Names of the fields in which an answer is not what is decided. What is proven is final."""
    given = _fields(item)
    wrong = [
        path for path, value in _fields(decided).items() if path not in given or not same(given[path], value)
    ]
    wrong += [path for path, value in given.items() if path[-1] == "status" and value != "final"]
    return list(dict.fromkeys(map(".".join, wrong)))


def left_open(item: object, decided: Mapping[str, Any], shape: type[BaseModel]) -> list[str]:
    """Names of the fields that nothing decides. Raises RemoteError (`unproven`) for one that is not of the
    answer's shape: nobody could tell what it is there for."""
    given, settled = _fields(item), _fields(decided)
    forms = shape.model_fields, a.Value.model_fields
    for path in given:
        for name, form in zip(path, forms, strict=False):
            if name not in form:
                raise RemoteError(f"no such answer has a field {name[:40]!r}", code="unproven")
    return [".".join(path) for path in given if path not in settled and path[-1] != "status"]


def same(one: object, other: object) -> bool:
    """As JSON: 1 is neither true nor 1.0."""
    return type(one) is type(other) and one == other


def _is_row(item: object) -> bool:
    """Whether the answer is a row itself, as bytes."""
    return isinstance(item, Mapping) and "table" in item


def _decided(item: object, rows: Iterable[RowProof]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for row in rows:
        fields |= _raw(row.table, row.key, row.value) if _is_row(item) else told(row)
    return fields


def _fields(item: object) -> dict[tuple[str, ...], Any]:
    """By path: of an amount its parts, each by itself. Nothing in an answer lies deeper."""
    found: dict[tuple[str, ...], Any] = {}
    for name, value in item.items() if isinstance(item, Mapping) else ():
        if isinstance(value, Mapping) and value:
            found |= {(name, part): inner for part, inner in value.items()}
        else:
            found[name,] = value
    return found


def told(row: RowProof) -> dict[str, Any]:
    """The fields of an answer that this row decides; of a table that no answer speaks of, its own bytes."""
    tells = TELLS.get(row.table)
    return _raw(row.table, row.key, row.value) if tells is None else tells(row.key, row.value)


def _raw(table: str, key: bytes, value: bytes | None) -> dict[str, Any]:
    text = None if value is None else base64.b64encode(value).decode()
    return {"table": table, "key": key.hex(), "value": text}


def _account(key: bytes, value: bytes | None) -> dict[str, Any]:
    held = records.Account() if value is None else records.ACCOUNT.decode(value)
    amounts = {"free": held.free, "escrow": held.escrow, "pledged": held.pledged}
    return {"account": key.hex()} | {name: {"value": str(amount)} for name, amount in amounts.items()}


def _standing(key: bytes, value: bytes | None) -> dict[str, Any]:
    counts = records.Standing() if value is None else records.STANDING.decode(value)
    return {
        "account": key.hex(),
        "agreed": counts.agreed,
        "wrong": counts.wrong,
        "lost": counts.lost,
        "streak": counts.streak,
        "check_ppm": by_history(counts.streak),
    }


def _offer(key: bytes, value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {"device": key.hex(), "account": None}
    offer = records.OFFER.decode(value)
    return {
        "account": offer.account.hex(),
        "device": key.hex(),
        "engine": offer.engine.hex(),
        "price": str(offer.price),
        "slots": offer.slots,
        "busy": offer.busy,
        "until": offer.until,
        "bond": str(offer.bond),
    }


def _job(key: bytes, value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {"job": a.link(key)}
    job = records.JOB.decode(value)
    return {
        "job": a.link(key),
        "submitter": job.submitter.hex(),
        "spec": str(job.spec),
        "shards": job.count,
        "fuel": str(job.fuel),
        "price": str(job.price),
        "deadline": job.deadline,
        "checks": job.checks,
        "bond": str(job.bond),
        "submitted": job.submitted,
    }


def _tally(key: bytes, value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {"job": a.link(key)}
    tally = records.TALLY.decode(value)
    return {
        "job": a.link(key),
        "state": _STATES[tally.state],
        "settled": tally.settled,
        "failed": tally.failed,
        "spent": str(tally.spent),
    }


def _escrow(key: bytes, value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {"escrow": a.link(key)}
    escrow = records.ESCROW.decode(value)
    return {
        "escrow": a.link(key),
        "payer": escrow.payer.hex(),
        "payee": escrow.payee.hex(),
        "key": escrow.key.hex(),
        "state": "open",
        "amount": str(escrow.amount),
        "redeemed": str(escrow.redeemed),
        "expiry": escrow.expiry,
        "until": escrow.until,
        "expiry_time": escrow.expiry_time,
        "until_time": escrow.until_time,
    }


def _bond(key: bytes, value: bytes | None) -> dict[str, Any]:
    bond = bonds.NOTHING if value is None else bonds.BOND.decode(value)
    return {
        "account": key.hex(),
        "bonded": str(bond.bonded),
        "unbonding": str(bond.unbonding),
        "jailed": bond.jailed,
    }


def _supply(key: bytes, value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {"minted": None}
    held = records.SUPPLY.decode(value)
    return {name: str(getattr(held, name)) for name in ("minted", *records.POTS)}


_STATES: Final = {JobState.RUNNING: "running", JobState.CANCELLED: "cancelled", JobState.EXPIRED: "expired"}

TELLS: Final[Mapping[str, Callable[[bytes, bytes | None], dict[str, Any]]]] = {
    records.ACCOUNT.name: _account,
    records.STANDING.name: _standing,
    records.OFFER.name: _offer,
    records.JOB.name: _job,
    records.TALLY.name: _tally,
    records.ESCROW.name: _escrow,
    records.SUPPLY.name: _supply,
    bonds.BOND.name: _bond,
}

ANSWERS: Final[Mapping[tuple[str, ...], type[BaseModel]]] = {
    (records.ACCOUNT.name,): a.Balance,
    (records.STANDING.name,): a.Reputation,
    (records.OFFER.name,): a.Offer,
    (records.JOB.name, records.TALLY.name): a.Job,
    (records.ESCROW.name,): a.Escrow,
    (records.SUPPLY.name,): a.Supply,
    (bonds.BOND.name,): a.Validator,
}
"""The tables of the rows that an answer stands on, in order, and its shape."""

ZERO_WITHOUT_A_ROW: Final = frozenset((records.ACCOUNT.name, records.STANDING.name, bonds.BOND.name))
"""Tables in which no row means zeros. In the others it means that there never was such a thing, or that it is
over: of a job or an escrow that is, the state knows nothing any more."""
