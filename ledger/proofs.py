"""Proofs that travel: a value or a receipt, with everything a stranger needs to check it offline.

    Certified      a checkpoint and the certificate that makes it final
    RowProof       that the state after it has this row, or has no such row
    ReceiptProof   that this event is final, at this place, with this receipt:
                   receipt -> rroot -> the leaf that ends its checkpoint -> eroot of the final checkpoint;
                   event id -> the same eroot

The one thing a reader must bring is a genesis object it believes in (`Trust`): its Cid is the network, and
its validators sign. Nothing else is taken on trust, whoever the proof came from.

Knows trees, checkpoints and certificates. Does not know what a row or an event means, nor where proofs are
made (`ledger.proving`).

Fuzz contract: every check returns what was proven or raises RemoteError (`bad_proof`, or a parser's code).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ledger import canonical, merkle, merkle_map
from ledger import event as events
from ledger.checkpoint import CHECKPOINT_SIZE_MAX, DELTA_EVENTS_MAX, Checkpoint, parse_checkpoint
from ledger.cid import Cid
from ledger.cut import checkpoint_leaf
from ledger.errors import RemoteError
from ledger.event import Header
from ledger.execution import Receipt
from ledger.finality import check_final, check_vouched
from ledger.genesis import Genesis
from ledger.types import Digest, Positive, Signature, TableName, Uint
from ledger.validators import (
    SET_SIZE_MAX,
    ValidatorSet,
    epoch_length,
    epoch_of,
    genesis_set,
    parse_set,
)
from ledger.votes import CERTIFICATE_SIZE_MAX

ROW_SIZE_MAX: Final = 1024 * 1024
"""Bytes of one row's value; the rules' own limits are far below."""

ROWS_MAX: Final = 400
"""Rows of one proof: two for each item of the longest page."""

RECEIPT_SIZE_MAX: Final = 16 * 1024 * 1024
EPOCHS_OF_GENESIS: Final = 2
STEPS_MAX: Final = 1_000
"""Between genesis and a proof: 1.5 KB each of four validators, 20 KB of a hundred. It takes one more when a
third of the stake has changed hands since the last, however often validators changed."""

Hashes = Annotated[tuple[Digest, ...], Meta(max_length=merkle.PROOF_HASHES_MAX)]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A final checkpoint with its certificate, and the validators that it names for the next epoch."""

    checkpoint: Annotated[bytes, Meta(max_length=CHECKPOINT_SIZE_MAX)]
    certificate: Annotated[bytes, Meta(max_length=CERTIFICATE_SIZE_MAX)]
    validators: Annotated[bytes, Meta(max_length=SET_SIZE_MAX)]


class Certified(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes of a checkpoint and of the certificate that proves it final.

    steps  from the validators of genesis to those who signed the certificate (see `Trust`)
    """

    checkpoint: Annotated[bytes, Meta(max_length=CHECKPOINT_SIZE_MAX)]
    certificate: Annotated[bytes, Meta(max_length=CERTIFICATE_SIZE_MAX)]
    steps: Annotated[tuple[Step, ...], Meta(max_length=STEPS_MAX)] = ()


class RowProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the state; `value` null says that there is none. The rest is `merkle_map.Proof`."""

    table: TableName
    key: Annotated[bytes, Meta(max_length=256)]
    value: Annotated[bytes, Meta(max_length=ROW_SIZE_MAX)] | None
    siblings: Annotated[tuple[Digest, ...], Meta(max_length=merkle_map.DEPTH_MAX)]
    other: Annotated[bytes, Meta(min_length=64, max_length=64)] | None


class ReceiptProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event with what became of it.

    header, signature   as the author made them;  receipt  its canonical bytes
    index               of the receipt, from 0, among the `receipts` of its checkpoint (the close is the last)
    height, sroot, rroot   what the leaf says that ends its checkpoint; `end` is that leaf's position, from 1

    Nothing commits to how many receipts there are, and the path of leaf 4 of 6 is one of leaf 2 of 4 too: of
    `index` and `receipts` only the difference is proven, by `position`.
    """

    header: Annotated[bytes, Meta(max_length=events.HEADER_SIZE_MAX)]
    signature: Signature
    receipt: Annotated[bytes, Meta(max_length=RECEIPT_SIZE_MAX)]
    index: Uint
    receipts: Annotated[int, Meta(ge=2, le=DELTA_EVENTS_MAX + 1)]
    height: Positive
    sroot: Digest
    rroot: Digest
    end: Positive
    event_path: Hashes
    receipt_path: Hashes
    end_path: Hashes

    @property
    def position(self) -> int:
        """Of the event in the whole history, from 1."""
        return self.end - self.receipts + 1 + self.index


CERTIFIED_SIZE_MAX: Final = 600 * 1024
"""Bytes of a `Certified` that travels alone, in a note."""


def parse_certified(data: bytes) -> Certified:
    """Raises RemoteError (`oversize`, `non_canonical`, `bad_schema`). Nothing is verified: see `Trust`."""
    return canonical.decode_as(Certified, data, size_max=CERTIFIED_SIZE_MAX)


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that stands behind one answer: rows of one state, or one receipt, as of one final checkpoint."""

    final: Certified
    rows: Annotated[tuple[RowProof, ...], Meta(max_length=ROWS_MAX)] = ()
    receipt: ReceiptProof | None = None


@dataclass(frozen=True, slots=True)
class Proven:
    """An event that is final, and its receipt. `height` is that of the checkpoint which has it."""

    id: Cid
    header: Header
    receipt: Receipt
    height: int
    position: int


@dataclass(frozen=True, slots=True)
class Known:
    """Validators, and the epochs (first and last) that they surely decide."""

    validators: ValidatorSet
    since: int
    until: int

    @classmethod
    def of(cls, genesis: Genesis) -> Known:
        return cls(genesis_set(genesis), 0, EPOCHS_OF_GENESIS - 1)


class Trust:
    """What a reader believes: one genesis, and so who may finalise in its network.

    The validators of genesis decide epochs 0 and 1. A checkpoint that a quorum of known validators signed, in
    whatever epoch and with whomever, names the validators of the next one: an honest one among them would not
    sign for others, because who validates in the next epoch was final before this one began. So a step leads
    as far as those who are known stay a quorum of themselves among those who sign, and the last one to the
    epoch of the proof, whose validators must be known exactly.
    """

    def __init__(self, genesis: Genesis, known: Known | None = None) -> None:
        """`known`: validators of a later epoch, from what was proven before."""
        self.net = genesis.net
        self._known = known or Known.of(genesis)
        self._length = epoch_length(genesis)

    def check_final(self, final: Certified) -> Checkpoint:
        """The checkpoint, if the certificate proves it final. Raises RemoteError."""
        return self.follow(final)[0]

    def follow(self, final: Certified) -> tuple[Checkpoint, Known]:
        """The checkpoint, and who decides its epoch. Raises RemoteError."""
        known = self._known
        for step in final.steps:
            named = self._parsed(step.checkpoint)
            check_vouched(named, step.certificate, known.validators)
            if named.epoch < known.since:
                raise RemoteError(f"epoch {named.epoch} after epoch {known.since}", code="bad_proof")
            known = Known(parse_set(step.validators), named.epoch + 1, named.epoch + 1)
            if known.validators.id != named.vnext:
                raise RemoteError(f"not the validators that height {named.height} names", code="bad_proof")
        checkpoint = self._parsed(final.checkpoint)
        check_final(checkpoint, final.certificate, known.validators)
        if not known.since <= checkpoint.epoch <= known.until:
            raise RemoteError(f"nobody names the validators of epoch {checkpoint.epoch}", code="bad_proof")
        return checkpoint, known

    def _parsed(self, data: bytes) -> Checkpoint:
        checkpoint = parse_checkpoint(data, net=self.net)
        if checkpoint.epoch != epoch_of(checkpoint.height, self._length):
            raise RemoteError(
                f"height {checkpoint.height} is not of epoch {checkpoint.epoch}", code="bad_proof"
            )
        return checkpoint


def check_row(proof: RowProof, checkpoint: Checkpoint) -> bytes | None:
    """The row's value after this checkpoint, None when there is no such row. Raises RemoteError."""
    inside = merkle_map.Proof(proof.siblings, proof.other)
    if not merkle_map.verify_proof(checkpoint.sroot, proof.table, proof.key, proof.value, inside):
        raise RemoteError(
            f"the state at height {checkpoint.height} does not say so of {proof.table[:40]!r}/"
            f"{proof.key[:40].hex()}",
            code="bad_proof",
        )
    return proof.value


def check_receipt(proof: ReceiptProof, checkpoint: Checkpoint) -> Proven:
    """The event and its receipt, if this checkpoint's tree has both. Raises RemoteError."""
    header = events.parse_header(proof.header, net=checkpoint.net)
    id = Cid.of(proof.header)
    event = events.Event(id, header, proof.header, proof.signature, None, b"")
    events.check_signature(event)
    receipt = canonical.decode_as(Receipt, proof.receipt, size_max=RECEIPT_SIZE_MAX)
    if receipt.event != id:
        raise RemoteError("the receipt is that of another event", code="bad_proof")
    if proof.end < proof.receipts or proof.height > checkpoint.height:
        raise RemoteError("the event lies outside of the history that it is said to be in", code="bad_proof")
    for what, leaf, at, size, path, root in (
        ("event", id, proof.position - 1, checkpoint.n, proof.event_path, checkpoint.eroot),
        ("receipt", proof.receipt, proof.index, proof.receipts, proof.receipt_path, proof.rroot),
        ("checkpoint", _end(proof), proof.end - 1, checkpoint.n, proof.end_path, checkpoint.eroot),
    ):
        if not merkle.verify_inclusion(merkle.leaf_hash(leaf), at, size, path, root):
            raise RemoteError(f"the {what} is not where the proof says", code="bad_proof")
    return Proven(id, header, receipt, proof.height, proof.position)


def _end(proof: ReceiptProof) -> bytes:
    return checkpoint_leaf(proof.height, proof.sroot, proof.rroot)
