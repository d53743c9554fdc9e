"""Making proofs out of the store, for `ledger.proofs` to check anywhere else.

Knows the tables and trees. What must always hold: a proof that is given away was checked against the
checkpoint that it names; one that does not check is damage here, and StoreCorrupt.
"""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

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
from ledger.proofs import Certified, Known, ReceiptProof, RowProof, Step
from ledger.snapshot import LEAF_LEVEL, Offer
from ledger.state import State
from ledger.store import Store
from ledger.tables import CHECKPOINT, OUTCOME, REMEDY
from ledger.validators import ValidatorSet, epoch_length, epoch_of, parse_set
from ledger.votes import decode_certificate


def row_proof(rows: MerkleMap, table: str, key: bytes, value: bytes | None) -> RowProof:
    """That the map has (or has not) this row; `value` is what its state says."""
    inside = rows.prove(table, key)
    return RowProof(table, bytes(key), value, inside.siblings, inside.other)


def certified(store: Store, last: Last, known: Known | None = None) -> Certified:
    """That a final checkpoint of ours is one, for whoever believes in genesis, or in `known` validators.

    Raises UsageError (`too_many_steps`) when the stake changed hands too often since.
    """
    ways = steps(store, last.checkpoint.epoch, known)
    return Certified(last.checkpoint.encode(), last.final.encode(), ways)


def certified_at(store: Store, n: int, seen: int) -> Certified | None:
    """That the tree of `n` leaves is that of a final checkpoint of ours.

    For whoever knows who made the tree of `seen` leaves final (0: believes in those of genesis).

    None when it is not, or was made final by a later one. Raises UsageError (`too_many_steps`).
    """
    height, before = _height_at(store, n), _height_at(store, seen)
    links, final = ([], b"") if height is None else store.run(height, 1)
    if height is None or not links:
        return None
    length = epoch_length(store.genesis)
    epoch, known = epoch_of(height, length), None
    since = -1 if before is None else epoch_of(before, length)
    if since >= proofs.EPOCHS_OF_GENESIS:
        members = store.validators(since)
        assert members is not None, f"the validators of epoch {since} are not here"
        known = Known(parse_set(members), since, since)
    return Certified(links[0][0], final, steps(store, epoch, known))


def _height_at(store: Store, n: int) -> int | None:
    """Of the checkpoint after which the event tree has `n` leaves."""
    if store.base is not None and store.base.n == n:
        return store.base.height
    query = sa.select(OUTCOME.c.height).where(OUTCOME.c.place == n, OUTCOME.c.event.is_(None))
    with reading(store.engine) as connection:
        height: int | None = connection.execute(query).scalar()
    return height


def steps(
    store: Store, epoch: int, known: Known | None = None, most: int = proofs.STEPS_MAX
) -> tuple[Step, ...]:
    """From the validators of genesis (or those known) to those of `epoch`, which has begun.

    Each goes about as far as those vouch who are known by then. Raises UsageError (`too_many_steps`).
    """
    kept = _KEPT.get(store)
    if kept is not None and known is None and kept[0] == epoch:
        return kept[1]
    begin = known or Known.of(store.genesis)
    ahead, validators = _Ways(store, begin.until, epoch), begin.validators
    found: list[Step] = []
    while ahead:
        if len(found) == most:
            raise UsageError(
                f"the stake changed hands too often: more than {most} steps",
                code="too_many_steps",
                next_step="audit an export, which has every change of validators",
            )
        step = ahead.farthest(validators)
        found.append(step)
        validators = parse_set(step.validators)
    if known is None:
        _KEPT[store] = epoch, tuple(found)
    return tuple(found)


class _Ways:
    """Every step that a store could give beyond an epoch, from the nearest to the farthest.

    First those that led to where the store began; then the end of each epoch, which the chain itself proves:
    the height after it shows a finality certificate. Each vouches for the next one.
    """

    def __init__(self, store: Store, beyond: int, epoch: int) -> None:
        """Steps to epochs after `beyond`, up to `epoch`."""
        self._store = store
        self._length = epoch_length(store.genesis)
        begun = 0 if store.base is None else epoch_of(store.base.height, self._length)
        below = store.steps_below()
        self._below = [step for step in below if beyond < self._epoch(step) <= epoch]
        self._first = max(begun, beyond) + 1  # epoch whose validators the first of the others names
        self._count = len(self._below) + max(0, epoch + 1 - self._first)
        self._next = 0

    def farthest(self, known: ValidatorSet) -> Step:
        """One that a quorum of these signed, and on from there. It is the farthest, as a rule: those who sign
        are known less and less, and where that is not so there is a step more than need be."""
        at, beyond, middle = self._next, self._count, self._count - 1
        step = self._step(at)
        while beyond - at > 1:
            found = self._step(middle)
            if _vouches(known, found):
                step, at = found, middle
            else:
                beyond = middle
            middle = (at + beyond) // 2
        self._next = at + 1
        return step

    def _step(self, index: int) -> Step:
        if index < len(self._below):
            return self._below[index]
        epoch = self._first + index - len(self._below)
        (end, _), (_, shown) = self._store.checkpoints(epoch * self._length, 2)
        members = self._store.validators(epoch)
        assert members is not None, f"the validators of epoch {epoch} are not here"
        return Step(end, shown, members)

    def _epoch(self, step: Step) -> int:
        """Whose validators it names."""
        return canonical.decode_as(Checkpoint, step.checkpoint, size_max=CHECKPOINT_SIZE_MAX).epoch + 1

    def __len__(self) -> int:
        return self._count - self._next


def _vouches(known: ValidatorSet, step: Step) -> bool:
    signed = decode_certificate(step.certificate).votes
    return known.is_quorum(known.weight(ballot.by for ballot in signed))


_KEPT: Final[WeakKeyDictionary[Store, tuple[int, tuple[Step, ...]]]] = WeakKeyDictionary()
"""The steps from genesis to the epoch that was last asked for: the same until that ends."""


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
