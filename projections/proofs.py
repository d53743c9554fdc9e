"""Proofs beside answers: which rows of the state an answer stands on, and their proofs.

`?proof=1` adds the rows behind an answer, each with its path to the state's root, and the checkpoint with the
certificate that makes the root final. Whether the answer says what they say is for the reader to see
(`projections.told`).

Does not know trees or certificates (`ledger.proofs`).

What must always hold: an answer with a proof is of the height that the proof is of.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
import trio
from pydantic import BaseModel, BeforeValidator, Field

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
