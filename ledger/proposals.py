"""Proposals that were heard, for open slots: the bodies of checkpoints that may become final.

Knows which there are, how many of a slot were taken, and what each must look like. Does not execute them, and
writes nothing.

What must always hold: of a slot that was not notarized, at most PROPOSALS_PER_SLOT_MAX were ever taken, those
that made room included; beyond PROPOSALS_MAX only what is still of use is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from ledger.candidates import DEPTH_MAX
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.votes import Proposal

PROPOSALS_PER_SLOT_MAX: Final = 2
"""An honest leader makes one; a second proves it a liar and may be the one that others notarize."""

PROPOSALS_MAX: Final = 4 * DEPTH_MAX
"""Kept with their executed states, before those of slots that ended without a notarization are forgotten,
but for the bodies of those that we notarized ourselves."""


class Proposals:
    """By (slot, id of the checkpoint)."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, Cid], Proposal] = {}
        self._taken: Counter[int] = Counter()  # slot -> proposals that were heard, forgotten ones too

    def __contains__(self, place: object) -> bool:
        return place in self._kept

    def __getitem__(self, place: tuple[int, Cid]) -> Proposal:
        return self._kept[place]

    def __len__(self) -> int:
        return len(self._kept)

    def is_full(self, slot: int) -> bool:
        return self._taken[slot] >= PROPOSALS_PER_SLOT_MAX

    def hear(self, slot: int, id: Cid, proposal: Proposal) -> None:
        """One of another node, or of the disk."""
        self._taken[slot] += 1
        self.put(slot, id, proposal)

    def put(self, slot: int, id: Cid, proposal: Proposal) -> None:
        """One of our own."""
        self._kept[slot, id] = proposal

    def of(self, id: Cid) -> Proposal | None:
        """The first in which this checkpoint was proposed."""
        return next((one for (_, of), one in self._kept.items() if of == id), None)

    def since(self, slot: int) -> Iterable[Proposal]:
        """Those of this slot and later ones, in order."""
        return [one for (at, _), one in sorted(self._kept.items()) if at >= slot]

    def at(self, slots: set[int]) -> Iterable[Proposal]:
        return [one for (slot, _), one in sorted(self._kept.items()) if slot in slots]

    def settle(self, slot: int) -> None:
        """Everything up to this slot is decided."""
        self._kept = {at: one for at, one in self._kept.items() if at[0] > slot}
        self._taken = Counter({at: n for at, n in self._taken.items() if at > slot})

    def clear(self) -> None:
        """Forget the bodies, as making room does."""
        self._kept.clear()

    def begin(self) -> None:
        """An epoch begins, and its slots with 1."""
        self._kept.clear()
        self._taken.clear()

    def tidy(self, is_of_use: Callable[[int, Cid], bool]) -> set[tuple[int, Cid]] | None:
        """Make room if there are too many; the (slot, id)s that are kept then. What is needed again, others
        have."""
        if len(self._kept) <= PROPOSALS_MAX:
            return None
        self._kept = {(slot, id): one for (slot, id), one in self._kept.items() if is_of_use(slot, id)}
        return set(self._kept)

    def __repr__(self) -> str:
        return f"<Proposals {len(self._kept)}>"


def checked(proposal: Proposal, leader: bytes, epoch: int, net: Cid) -> Checkpoint:
    """Its checkpoint, if the slot's leader proposed it for this epoch, with its parent's certificate.

    Raises RemoteError (`not_leader`, `bad_checkpoint`, `bad_certificate`, or a parser's code). The signature
    is judged elsewhere.
    """
    signed = proposal.vote
    slot = signed.vote.slot
    if signed.by != leader:
        raise RemoteError(f"{signed.by.hex()} does not lead slot {slot}", code="not_leader")
    checkpoint = parse_checkpoint(proposal.checkpoint, net=net)
    if checkpoint.epoch != epoch or checkpoint.slot > slot:
        raise RemoteError(f"height {checkpoint.height} is not of slot {slot}", code="bad_checkpoint")
    if checkpoint.cert != (Cid.of(proposal.parent) if proposal.parent else None):
        raise RemoteError("a proposal without its parent's certificate", code="bad_certificate")
    return checkpoint
