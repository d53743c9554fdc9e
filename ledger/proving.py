"""Making proofs out of the store, for `ledger.proofs` to check anywhere else.

Knows the tables and trees. What must always hold: a proof that is given away was checked against the
checkpoint that it names; one that does not check is damage here, and StoreCorrupt.
"""

from __future__ import annotations

import sqlalchemy as sa

from ledger import canonical, merkle, proofs, tiles
from ledger.checkpoint import CHECKPOINT_SIZE_MAX, Checkpoint
from ledger.cid import Cid
from ledger.database import reading
from ledger.errors import RemoteError, StoreCorrupt, UsageError
from ledger.event import WIRE_SIZE_MAX
from ledger.finality import Last
from ledger.merkle import Frontier
from ledger.merkle_map import MerkleMap
from ledger.proofs import Certified, ReceiptProof, RowProof, Step
from ledger.snapshot import LEAF_LEVEL, Offer
from ledger.state import State
from ledger.store import Store
from ledger.tables import CHECKPOINT, OUTCOME, REMEDY, VALIDATOR_SET
from ledger.validators import epoch_length, epoch_of


def row_proof(rows: MerkleMap, table: str, key: bytes, value: bytes | None) -> RowProof:
    """That the map has (or has not) this row; `value` is what its state says."""
    inside = rows.prove(table, key)
    return RowProof(table, bytes(key), value, inside.siblings, inside.other)


def certified(store: Store, last: Last) -> Certified:
    """That a final checkpoint of ours is one, for whoever believes in genesis.

    Raises UsageError (`too_many_steps`) when validators changed too often since.
    """
    return Certified(last.checkpoint.encode(), last.final.encode(), steps(store, last.checkpoint.epoch))


def steps(store: Store, epoch: int) -> tuple[Step, ...]:
    """From the validators of genesis to those of `epoch`, which has begun."""
    length = epoch_length(store.genesis)
    begun = 0 if store.base is None else epoch_of(store.base.height, length)
    below = store.steps_below()
    if epoch < proofs.EPOCHS_OF_GENESIS or epoch == begun:
        return below
    query = (
        sa.select(VALIDATOR_SET.c.epoch)
        .where(VALIDATOR_SET.c.epoch.between(begun + 1, epoch))
        .order_by(VALIDATOR_SET.c.epoch)
        .limit(proofs.STEPS_MAX + 1)
    )
    with reading(store.engine) as connection:
        decided = sorted({*connection.execute(query).scalars(), epoch})
    if len(below) + len(decided) > proofs.STEPS_MAX:
        raise UsageError(
            f"validators changed more than {proofs.STEPS_MAX} times since genesis",
            code="too_many_steps",
            next_step="audit an export, which has all of them",
        )
    found: list[Step] = []
    for one in decided:
        # The chain itself proves the end of every epoch: the next height shows a finality certificate.
        (end, _), (_, shown) = store.checkpoints(one * length, 2)
        members = store.validators(one)
        assert members is not None, f"the validators of epoch {one} are not here"
        found.append(Step(end, shown, members))
    return (*below, *found)


def offer(store: Store, last: Last, state: State, frontier: Frontier, rows_max: int) -> Offer:
    """The snapshot of a final checkpoint of ours, with the state and the event tree after it.

    Raises UsageError (`too_many_steps`), StoreCorrupt. Takes a second for 100,000 rows.
    """
    checkpoint = last.checkpoint
    [(_, shown)] = store.checkpoints(checkpoint.height, 1)
    with reading(store.engine) as connection:
        runs = tiles.runs(connection, LEAF_LEVEL, checkpoint.n >> LEAF_LEVEL)
    return Offer(last, shown, state, frontier, runs, steps(store, checkpoint.epoch), rows_max)


def offered_leaves(store: Store, first: int, last: int) -> bytes:
    """The hashes of the leaves `first` up to `last`, from 0, one after another. Raises StoreCorrupt."""
    with reading(store.engine) as connection:
        return tiles.leaves(connection, first, last)


def receipt_proof(store: Store, event: Cid, checkpoint: Checkpoint) -> ReceiptProof | None:
    """That an event is final as of `checkpoint` (one of ours); None when it is not. Raises StoreCorrupt."""
    height = store.event_status(event)
    if height is None or height > checkpoint.height:
        return None
    wire = canonical.decode(store.wires([event])[event], size_max=WIRE_SIZE_MAX)
    with reading(store.engine) as connection:
        made = connection.execute(sa.select(CHECKPOINT).where(CHECKPOINT.c.height == height)).one()
        query = sa.select(OUTCOME.c.event, OUTCOME.c.receipt).where(
            OUTCOME.c.place.between(made.first, made.last)
        )
        rows = connection.execute(query.order_by(OUTCOME.c.place)).all()
        index = next((at for at, row in enumerate(rows) if row.event == event), None)
        if index is None:
            raise StoreCorrupt(f"{event} is final at height {height} and not in it", next_step=REMEDY)
        its = canonical.decode_as(Checkpoint, made.checkpoint, size_max=CHECKPOINT_SIZE_MAX)
        proof = ReceiptProof(
            header=wire["h"],
            signature=wire["s"],
            receipt=rows[index].receipt,
            index=index,
            receipts=len(rows),
            height=height,
            sroot=its.sroot,
            rroot=its.rroot,
            end=made.last,
            event_path=tiles.inclusion(connection, made.first + index - 1, checkpoint.n),
            receipt_path=merkle.inclusion_proof([merkle.leaf_hash(row.receipt) for row in rows], index),
            end_path=tiles.inclusion(connection, made.last - 1, checkpoint.n),
        )
    try:
        proofs.check_receipt(proof, checkpoint)
    except RemoteError as error:
        raise StoreCorrupt(f"the history in the store: {error}", next_step=REMEDY) from error
    return proof


def inclusion(store: Store, position: int, size: int) -> tuple[bytes, tuple[bytes, ...]]:
    """(hash of the leaf at `position`, from 1; its proof in the tree of the first `size` leaves)."""
    with reading(store.engine) as connection:
        return tiles.leaf(connection, position - 1), tiles.inclusion(connection, position - 1, size)


def consistency(store: Store, first: int, second: int) -> tuple[bytes, ...]:
    """That the tree of `first` leaves is a prefix of that of `second`."""
    with reading(store.engine) as connection:
        return tiles.consistency(connection, first, second)
