"""The shelf: snapshots that this replica gives out, each cut once and kept while somebody may fetch it.

Anybody may ask for one above a height, and so for a new one whenever the height moves. What they can bring
about is bounded by time, whoever they are and however many:

    a cut         CUT_GAP_S after the last at the earliest, and only when the newest is RENEW_HEIGHTS old, or
                  not above what is asked for. Else the newest has to do, or nothing for now
    an offer      is kept for KEPT_S after it was made to anybody, whatever is cut meanwhile
    beyond that   while it is asked for, IDLE_S between two questions, as long as there is room: the one goes
                  first that nobody has asked for the longest. The newest stays

States never change in place, so keeping one costs what changed since, and 150 bytes a row for the way it is
cut.

Knows when to cut and what to keep. Does not know peers. Blocking; one thread at a time may `offer`, any may
do the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ledger import proving
from ledger.cid import Cid
from ledger.errors import UsageError
from ledger.replica import Replica
from ledger.snapshot import Manifest, Offer, Part
from ledger.state_parts import ROWS_BYTES_MAX

RENEW_HEIGHTS: Final = 600
"""The tail that who begins here has to execute at most, beside what becomes final meanwhile."""

CUT_GAP_S: Final = 30.0
"""Between two cuts: a second's work each for 100,000 rows. Who trusts a newer checkpoint waits so long."""

KEPT_S: Final = 180.0
"""For who began to fetch one: 100,000 accounts take some ten seconds."""

IDLE_S: Final = 600.0
"""Between two questions of the same one, who was started again meanwhile."""

KEPT_MAX: Final = 7
"""Snapshots at once: one, unless somebody wants new ones. Only the newest is offered, so of those before it
one can go as soon as that many gaps have passed."""

assert (KEPT_MAX - 1) * CUT_GAP_S >= KEPT_S, "a cut would have to wait until one can go"


@dataclass
class _Kept:
    offer: Offer
    cut: float
    offered: float
    asked: float


class Shelf:
    def __init__(
        self,
        replica: Replica,
        rows_max: int = ROWS_BYTES_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rows_max`: bytes of rows in one part. `clock` in seconds, from whenever."""
        self._rows_max = rows_max
        self._replica = replica
        self._clock = clock
        self._kept: dict[Cid, _Kept] = {}
        self._newest: _Kept | None = None  # of these; read while another thread adds one

    def offer(self, above: int) -> Manifest | None:
        """The newest, cut now if that is due; None when there is none of a height above this one as yet."""
        now = self._clock()
        if self._is_due(above, now):
            self._renew(now)
        return self.newest(above)

    def newest(self, above: int) -> Manifest | None:
        """The newest that is there, of a height above this one."""
        newest = self._newest
        if newest is None or newest.offer.checkpoint.height <= above:
            return None
        newest.asked = newest.offered = self._clock()
        return newest.offer.manifest

    def part(self, checkpoint: Cid, part: Part) -> bytes | None:
        """None when the snapshot is not kept any more, or has no such part."""
        kept = self._kept.get(checkpoint)
        if kept is None:
            return None
        kept.asked = self._clock()
        offer, (kind, index) = kept.offer, part
        match kind:
            case "steps":
                return offer.step(index)
            case "rows":
                return offer.rows(index)
        run = offer.run(index)
        return None if run is None else proving.offered_leaves(self._replica.store, *run)

    def __contains__(self, checkpoint: object) -> bool:
        return checkpoint in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def _is_due(self, above: int, now: float) -> bool:
        newest, height = self._newest, self._replica.height
        if newest is None or height <= above:
            return height > above
        too_old = max(above, height - RENEW_HEIGHTS)
        return newest.offer.checkpoint.height <= too_old and now - newest.cut >= CUT_GAP_S

    def _renew(self, now: float) -> None:
        standing, superfluous = self._replica.standing(), self._superfluous(now)
        if standing is None or len(self._kept) - len(superfluous) >= KEPT_MAX:
            return
        last, state, frontier = standing
        try:
            offer = proving.offer(self._replica.store, last, state, frontier, self._rows_max)
        except UsageError:  # too large, or the stake changed hands too often: replaying everything is left
            return
        for id in superfluous:
            del self._kept[id]
        self._kept[last.checkpoint.id] = newest = _Kept(offer, now, now, now)
        self._newest = newest

    def _superfluous(self, now: float) -> list[Cid]:
        """Those that have to make room for another one. Not the newest: it may be being offered."""
        older = [(kept, id) for id, kept in self._kept.items() if kept is not self._newest]
        free = sorted((kept.asked, id) for kept, id in older if now - kept.offered >= KEPT_S)
        idle = [id for asked, id in free if now - asked >= IDLE_S]
        if idle or len(self._kept) < KEPT_MAX:
            return idle
        return [id for _, id in free[:1]]

    def __repr__(self) -> str:
        return f"<Shelf {[kept.offer for kept in self._kept.values()]}>"
