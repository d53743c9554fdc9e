"""The invariants of the ledger (design, "Invariants"): sixteen sentences, and how each is looked at.

A check returns what is wrong, or None. Those that are cheap are asked at every height of every honest node
(`observer`); those that are dear once a run, at its end (`finale`); the sixteenth by running a seed in other
processes (`tests/sim`). `fault` and `blame` are no invariants of the ledger but of this program: no assertion
fails, and no honest node is taken for a liar.

Knows values of the ledger. Does not know the simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from domain import effects
from domain.rules import conservation
from ledger import canonical, merkle
from ledger.admission import PLACES_MAX, TIPS_MAX, UNORDERED_BYTES_MAX, UNORDERED_MAX
from ledger.candidates import DEPTH_MAX
from ledger.checkpoint import DELTA_EVENTS_MAX
from ledger.checkpoint import TIPS_MAX as DELTA_TIPS_MAX
from ledger.cid import Cid
from ledger.dag import check_structure
from ledger.errors import RemoteError
from ledger.event import Event
from ledger.execution import Receipt
from ledger.genesis import Genesis
from ledger.heads import Place
from ledger.pending import PENDING_BYTES_MAX, PENDING_MAX, PENDING_PER_PEER_MAX
from ledger.proposals import PROPOSALS_MAX, PROPOSALS_PER_SLOT_MAX
from ledger.simplex import AHEAD_MAX
from ledger.state import State

SENTENCES: Final = {
    "I1": "balances, escrow, bonds and what was burned add up to what was minted",
    "I2": "no balance is negative",
    "I3": "honest nodes have one final checkpoint a height",
    "I4": "one final id, one set of roots: those that executing it gives",
    "I5": "what is final never reverts, and consistency proofs verify",
    "I6": "at most one event is effective at a (key, lane, seq)",
    "I7": "no event takes effect twice",
    "I8": "replay from an archive, a copy with the tail, and any order of arrival give the live state",
    "I9": "the DAG is causally closed, and lc is exact",
    "I10": "two conflicting finals name more than a third of the stake",
    "I11": "an honest validator never signs what can be held against it, crashes included",
    "I12": "every buffer is within its bound",
    "I13": "what is valid is in the next cut of an honest leader that has room, and once the network has "
    "healed it is final within a bounded number of slots",
    "I14": "of an escrow no more is redeemed than was opened",
    "I15": "nothing is called final that is not",
    "I16": "nothing depends on hash seed, locale or time zone",
    "fault": "no assertion of ours fails, and no error of ours gets out",
    "blame": "no honest node is taken for a liar",
}


def money(state: State, genesis: Genesis) -> tuple[str, str] | None:
    """I1 and I2: (which, what is wrong)."""
    found = conservation(state)
    minted = sum(allocation.amount for allocation in genesis.accounts) + genesis.stake
    if found.negative:
        return "I2", f"{found.negative} negative balances"
    if found.kept.minted != minted or not found.holds:
        return "I1", f"{found}, where genesis minted {minted}"
    return None


def closed(order: Sequence[Event], places: Mapping[Cid, Place]) -> str | None:
    """I9 for one delta, given the places of all that was ordered before and of the delta itself."""
    known: dict[Cid, Place] = {}
    for event in order:
        for parent in event.parents:
            if parent not in places and parent not in known:
                return f"{event} is ordered before its parent {parent}"
        try:
            check_structure(event, {parent: known.get(parent) or places[parent] for parent in event.parents})
        except RemoteError as error:
            return f"{event}: {error}"
        header = event.header
        known[event.id] = Place(header.by, header.lane, header.seq, header.lc, header.ts)
    return None


def grown(leaves: Sequence[bytes], sizes: Sequence[int], roots: Sequence[bytes]) -> str | None:
    """I5: each tree of a chain is the beginning of the next, and proofs say so."""
    for (older, old_root), (newer, new_root) in zip(
        zip(sizes, roots, strict=True), zip(sizes[1:], roots[1:], strict=True), strict=False
    ):
        proof = merkle.consistency_proof(leaves[:newer], older)
        if not merkle.verify_consistency(older, newer, old_root, new_root, proof):
            return f"the tree of {newer} leaves does not continue the one of {older}"
    return None


BOUNDS: Final = {
    "pending": PENDING_MAX,
    "pending.bytes": PENDING_BYTES_MAX,
    "pending.of_a_peer": 2 * PENDING_PER_PEER_MAX,  # beside what a quorum ordered, which no peer can make
    "unordered": UNORDERED_MAX,
    "unordered.bytes": UNORDERED_BYTES_MAX,
    "places": PLACES_MAX,
    "tips": TIPS_MAX,
    "delta.events": DELTA_EVENTS_MAX,
    "delta.tips": DELTA_TIPS_MAX,
    "proposals": PROPOSALS_MAX + (AHEAD_MAX + DEPTH_MAX) * PROPOSALS_PER_SLOT_MAX,
}


def bounded(levels: Mapping[str, int]) -> str | None:
    """I12: what a replica says of itself (`Replica.metrics`), held against the constants."""
    for name, most in BOUNDS.items():
        if levels.get(name, 0) > most:
            return f"{name} is at {levels[name]}, over its bound of {most}"
    return None


def accountable(guilty: int, total: int) -> str | None:
    """I10: `guilty` is the stake of those who signed contradictory votes."""
    if 3 * guilty > total:
        return None
    return f"two finals, and only {guilty} of {total} stake signed contradictory votes"


def slandered(receipt: Receipt, is_spotless: Callable[[bytes, str], bool]) -> str | None:
    """I11: nobody loses a bond for what it never did. `is_spotless` says so of a key and an offence."""
    for effect in map(effects.decode, receipt.effects):
        if isinstance(effect, effects.Slashed) and is_spotless(effect.account, effect.offence):
            return f"{effect.account.hex()} lost {effect.amount} for {effect.offence}"
    return None


class Escrows:
    """I14: an own book of what escrows were opened with and what was redeemed of them, from events alone."""

    def __init__(self) -> None:
        self._amounts: dict[Cid, int] = {}
        self._redeemed: dict[Cid, int] = {}

    def take(self, event: Event, receipt: Receipt) -> str | None:
        if not receipt.ok or event.body is None:
            return None
        body = canonical.decode(event.body, size_max=len(event.body))
        if event.header.k == "escrow.open":
            self._amounts[event.id] = body["amount"]
        if event.header.k != "escrow.redeem":
            return None
        escrow, total = body["escrow"], body["total"]
        before, most = self._redeemed.get(escrow, 0), self._amounts.get(escrow, 0)
        if not before < total <= most:
            return f"{event} redeems {total} of an escrow of {most}, of which {before} were redeemed"
        self._redeemed[escrow] = total
        return None
