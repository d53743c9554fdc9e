"""Runs of checkpoints as they come from others: each the child of the one before, cut where an epoch ends.

Pure. Knows heights, parents and epochs. Does not know whether anything in them is true.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

from ledger.checkpoint import Checkpoint
from ledger.errors import RemoteError
from ledger.validators import epoch_of, is_last_of_epoch

Unchecked: TypeAlias = tuple[Checkpoint, bytes]
"""A checkpoint, and the bytes of the certificate that it names."""


def check_chain(run: Sequence[Checkpoint], length: int) -> None:
    """Raises RemoteError (`bad_checkpoint`) unless each is the child of the one before, and of the epoch of
    its height: else validators of another epoch would be asked about it."""
    if not run:
        raise RemoteError("a run without a checkpoint", code="bad_checkpoint")
    for one in run:
        if one.epoch != epoch_of(one.height, length):
            raise RemoteError(f"height {one.height} is not of epoch {one.epoch}", code="bad_checkpoint")
    for parent, child in pairwise(run):
        if child.parent != parent.id or child.height != parent.height + 1:
            raise RemoteError(
                f"height {child.height} is no child of what is before it", code="bad_checkpoint"
            )


def segments(
    links: Sequence[Unchecked], final: bytes, length: int
) -> Iterator[tuple[Sequence[Unchecked], bytes]]:
    """Cut where an epoch ends: the next link shows that its last checkpoint is final."""
    start = 0
    for at, (checkpoint, _) in enumerate(links):
        if at + 1 == len(links):
            yield links[start:], final
        elif is_last_of_epoch(checkpoint.height, length):
            yield links[start : at + 1], links[at + 1][1]
            start = at + 1
