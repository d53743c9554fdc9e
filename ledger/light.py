"""What a node that begins from a snapshot may believe, and of whom.

    genesis      its validators name their successors, and those theirs, up to who made the snapshot's
                 checkpoint final (`ledger.proofs.Trust`): nobody else can make one
    long ago     whoever has left with its stake loses nothing by signing another history. So that chain alone
                 is believed only while none of them can have left: as long after genesis as a bond stays
                 within reach of evidence
    an anchor    a checkpoint that somebody vouches for, younger than that: it must be part of the history of
                 the snapshot, which its event tree shows, so another history is of no use to anybody

Knows checkpoints and clocks. Does not know who gave an anchor, or what it is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError
from ledger.genesis import Genesis
from ledger.merkle import HASH_SIZE, Frontier

CLOCKS_MS: Final = 10 * 60_000
"""How far two honest clocks may be apart."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A checkpoint that is believed to be final, because somebody trusted said so."""

    height: int
    id: Cid

    @classmethod
    def parse(cls, text: str) -> Anchor:
        """`HEIGHT:ID`. Raises UsageError (`bad_checkpoint`)."""
        height, _, id = text.partition(":")
        try:
            if not (height.isascii() and height.isdigit() and 0 < int(height[:20]) < 2**63):
                raise RemoteError("no height")
            return cls(int(height), Cid.parse(id))
        except RemoteError as error:
            raise UsageError(
                f"{text[:100]!r} is no checkpoint: {error}",
                code="bad_checkpoint",
                next_step="give HEIGHT:ID, as /v1/checkpoints of a node that you trust shows them",
            ) from error

    def __str__(self) -> str:
        return f"{self.height}:{self.id}"


def check_age(genesis: Genesis, anchored: int | None, *, unbond_ms: int, now: int) -> None:
    """`anchored`: ledger time (unix ms) of the anchor, if there is one.

    Raises UsageError (`needs_checkpoint`) when all who could vouch may have left with their stakes.
    """
    since = genesis.created if anchored is None else anchored
    if now - since > unbond_ms + CLOCKS_MS:
        raise UsageError(
            "those who were validators then may have left with their stakes, and could sign any history",
            code="needs_checkpoint",
            next_step="ask somebody you trust for a recent one: fog join INVITE --checkpoint HEIGHT:ID",
        )


def check_anchor(anchor: Anchor, data: bytes, *, net: Cid) -> Checkpoint:
    """The checkpoint that an anchor names. Raises RemoteError (`bad_checkpoint`, …) for any other bytes."""
    if Cid.of(data) != anchor.id:
        raise RemoteError("not the checkpoint that was asked for", code="bad_checkpoint")
    checkpoint = parse_checkpoint(data, net=net)
    if checkpoint.height != anchor.height:
        raise RemoteError(f"{anchor} is of height {checkpoint.height}", code="bad_checkpoint")
    return checkpoint


def check_history(anchored: Checkpoint, tip: Checkpoint, leaves: Sequence[bytes]) -> None:
    """That `anchored` is `tip` or lies below it; `leaves` are runs of the leaf hashes of the tip's tree.

    Raises RemoteError (`other_history`): then one of both was signed by liars.
    """
    if anchored.id == tip.id:
        return
    if anchored.height < tip.height and anchored.n < tip.n:
        tree, left = Frontier(), anchored.n
        for run in leaves:
            for at in range(0, min(len(run), left * HASH_SIZE), HASH_SIZE):
                tree.append(run[at : at + HASH_SIZE])
            left = anchored.n - tree.n
        if tree.root() == anchored.eroot:
            return
    raise RemoteError(f"{anchored!r} is not in the history of {tip!r}", code="other_history")
