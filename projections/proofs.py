"""Proofs beside answers: which rows of the state an answer stands on, and whether it says what they say.

`?proof=1` adds the rows behind an answer, each with its path to the state's root, and the checkpoint with the
certificate that makes the root final. `mismatches` is the other end: it compares what an answer tells people
with the rows that were proven, field by field. It needs no node; `fog proof check` uses it on a file.

Knows which fields come from which row. Does not know trees or certificates (`ledger.proofs`).

What must always hold: an answer with a proof is of the height that the proof is of.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
import trio
from pydantic import BaseModel, BeforeValidator, Field

from domain.rules import bonds, records
from domain.rules.records import JobState
from ledger import proving
from ledger.errors import FogError
from ledger.proofs import Proof, RowProof
from projections import answers as a
from projections.asking import Asker
from projections.live import FinalState
from projections.problems import NotHere

T = TypeVar("T")

TRIES_MAX: Final = 20
"""Times that an answer and a state are asked for until they are of one height."""

Key = tuple[str, bytes]
"""Table and key of a row."""

KeysOf = Callable[[dict[str, Any]], Iterable[Key]]
"""Which rows an answer stands on."""


class StateMoved(FogError):
    """Checkpoints come faster than an answer can be put together."""

    code = "busy"


async def answered(
    asker: Asker, ask: Callable[[], Awaitable[dict[str, Any]]], keys: KeysOf, *, proven: bool
) -> dict[str, Any]:
    """The answer of `ask`; if `proven`, with proofs of the rows `keys(answer)`.

    Raises NotHere before the first checkpoint, StateMoved when checkpoints come too fast.
    """
    if not proven:
        return await ask()
    for _ in range(TRIES_MAX):
        final = await _final_state(asker)
        await asker.folded_past(final.checkpoint.height - 1)
        answer = await ask()
        if answer["height"] == final.checkpoint.height:
            return answer | {"proof": shown(Proof(final.final, rows_of(final, keys(answer))))}
        await trio.lowlevel.checkpoint()
    raise StateMoved(f"{TRIES_MAX} times a checkpoint came between an answer and its proof; try again")


async def row(asker: Asker, table: str, key: bytes) -> dict[str, Any]:
    """One row of the state as it is. Raises NotHere before the first checkpoint."""
    final = await _final_state(asker)
    (proof,) = rows_of(final, [(table, key)])
    item = {"table": table, "key": key.hex(), "value": proof.value}
    return {
        "height": final.checkpoint.height,
        "time": final.checkpoint.T,
        "item": item,
        "proof": shown(Proof(final.final, (proof,))),
    }


async def _final_state(asker: Asker) -> FinalState:
    final = await asker.live.final_state()
    if final is None:
        raise NotHere("nothing is final yet, so there is nothing to prove")
    return final


def rows_of(final: FinalState, keys: Iterable[Key]) -> tuple[RowProof, ...]:
    rows = final.state.merkle_map
    return tuple(proving.row_proof(rows, table, key, final.state.get(table, key)) for table, key in keys)


def shown(proof: Proof) -> dict[str, Any]:
    """As JSON has it: bytes in base64."""
    plain: dict[str, Any] = msgspec.to_builtins(proof)
    return plain


# -- what each row tells ------------------------------------------------------------------------------------


def mismatches(item: object, rows: Iterable[RowProof]) -> list[str]:
    """Names of the fields in which an answer differs from the rows that were proven beside it."""
    as_bytes = isinstance(item, Mapping) and "table" in item  # the answer is the row itself
    fields: dict[str, Any] = {}
    for proof in rows:
        fields |= _raw(proof.table, proof.key, proof.value) if as_bytes else told(proof)
    return list(_differing("", item, fields))


def told(row: RowProof) -> dict[str, Any]:
    """The fields of an answer that this row decides; of a table that no answer speaks of, its own bytes."""
    tells = TELLS.get(row.table)
    return _raw(row.table, row.key, row.value) if tells is None else tells(row.key, row.value)


def _raw(table: str, key: bytes, value: bytes | None) -> dict[str, Any]:
    text = None if value is None else base64.b64encode(value).decode()
    return {"table": table, "key": key.hex(), "value": text}


def _differing(prefix: str, item: object, told: Mapping[str, Any]) -> Iterable[str]:
    for name, value in told.items():
        given = item.get(name) if isinstance(item, Mapping) else None
        if isinstance(value, Mapping):
            yield from _differing(f"{prefix}{name}.", given, value)
        elif given != value:
            yield prefix + name


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
    """What is over has left the state: then only that is proven."""
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


# -- shapes -------------------------------------------------------------------------------------------------


def _base64(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


Base64 = Annotated[str, BeforeValidator(_base64), Field(examples=["gkEBQQI="], description="Base64.")]


class StepShape(a.Shape):
    """A final checkpoint, and the list of the validators that it names for the next epoch."""

    checkpoint: Base64
    certificate: Base64
    validators: Base64


class FinalShape(a.Shape):
    """DAG-CBOR of a checkpoint, and of the certificate that makes it final.

    `steps` lead from the validators of genesis to those who signed it, by way of each change.
    """

    checkpoint: Base64
    certificate: Base64
    steps: list[StepShape]


class RowShape(a.Shape):
    """A row of the state's Merkle map; `value` null proves that there is none. See `ledger.merkle_map`."""

    table: str = Field(examples=["account"])
    key: Base64
    value: Base64 | None
    siblings: list[Base64]
    other: Base64 | None


class ReceiptShape(a.Shape):
    """An event and its receipt, with their paths in the trees of RFC 6962. See `ledger.proofs`."""

    header: Base64
    signature: Base64
    receipt: Base64
    index: a.Count
    receipts: a.Count
    height: a.Height
    sroot: Base64
    rroot: Base64
    end: a.Count
    event_path: list[Base64]
    receipt_path: list[Base64]
    end_path: list[Base64]


class ProofShape(a.Shape):
    """What it takes to check an answer offline, given the network's genesis: `fog proof check FILE`."""

    final: FinalShape
    rows: list[RowShape]
    receipt: ReceiptShape | None


class ProvenOne(a.One[T], Generic[T]):
    proof: ProofShape


class ProvenPage(a.Page[T], Generic[T]):
    """The rows are in the order of the items. That the list is complete is not proven."""

    proof: ProofShape


class RowItem(a.Shape):
    table: str = Field(examples=["account"])
    key: str = Field(examples=[a.ACCOUNT], description="Hex digits.")
    value: Base64 | None


class InclusionShape(BaseModel):
    """`leaf` is the hash of the leaf (RFC 6962), `path` goes from it up to the `root` of `size` leaves."""

    position: a.Count
    size: a.Count
    leaf: a.Digest
    root: a.Digest
    path: list[a.Digest]


class ConsistencyShape(BaseModel):
    first: a.Count
    second: a.Count
    path: list[a.Digest]
