"""The shelf: snapshots that this replica gives out, each cut once and kept while somebody may fetch it.

States never change in place, so keeping one costs what changed since. A new one is cut when the newest is
RENEW_HEIGHTS old, or older than who asks will take.

Knows when to cut and what to keep. Does not know peers. Blocking; one thread at a time may `offer`, and any
may `part`.
"""

from __future__ import annotations

from typing import Final

from ledger import proving
from ledger.cid import Cid
from ledger.errors import UsageError
from ledger.replica import Replica
from ledger.snapshot import Manifest, Offer, Part
from ledger.state_parts import ROWS_BYTES_MAX

KEPT_MAX: Final = 2
"""Snapshots at once: the newest, and the one that others are in the midst of fetching."""

RENEW_HEIGHTS: Final = 600
"""The tail that who begins here has to execute at most, beside what becomes final meanwhile."""


class Shelf:
    def __init__(self, replica: Replica, rows_max: int = ROWS_BYTES_MAX) -> None:
        """`rows_max`: bytes of rows in one part."""
        self._rows_max = rows_max
        self._replica = replica
        self._kept: dict[Cid, Offer] = {}  # oldest first

    def is_stale(self, above: int) -> bool:
        """Whether to `offer` one of a height above this one means to cut it first."""
        newest, height = self._newest, self._replica.height
        too_old = max(above, height - RENEW_HEIGHTS)
        return height > above and (newest is None or newest.checkpoint.height <= too_old)

    def offer(self, above: int) -> Manifest | None:
        """The newest, of a height above this one; None when there is none yet."""
        newest = self._renewed() if self.is_stale(above) else self._newest
        return None if newest is None or newest.checkpoint.height <= above else newest.manifest

    @property
    def _newest(self) -> Offer | None:
        return next(reversed(self._kept.values()), None)

    def part(self, checkpoint: Cid, part: Part) -> bytes | None:
        """None when the snapshot is not kept any more, or has no such part."""
        offer = self._kept.get(checkpoint)
        if offer is None:
            return None
        kind, index = part
        match kind:
            case "steps":
                return offer.step(index)
            case "rows":
                return offer.rows(index)
        run = offer.run(index)
        return None if run is None else proving.offered_leaves(self._replica.store, *run)

    def _renewed(self) -> Offer | None:
        standing = self._replica.standing()
        if standing is None:
            return None
        last, state, frontier = standing
        try:
            offer = proving.offer(self._replica.store, last, state, frontier, self._rows_max)
        except UsageError:  # too large, or validators changed too often: replaying everything is what is left
            return None
        self._kept[last.checkpoint.id] = offer
        while len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        return offer

    def __repr__(self) -> str:
        return f"<Shelf {list(self._kept.values())}>"
