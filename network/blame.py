"""Who misbehaved, how often, and for how long it stays away. Pure: `now` is any clock in seconds.

What must always hold: at most PEERS_MAX peers are remembered, the longest unheard of are forgiven first;
faults further apart than a ban lasts do not add up.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

PEERS_MAX: Final = 4_096  # a new identity is free, so a longer memory would only help whoever makes them


class Blame:
    """`faults` within `ban_s` seconds of each other ban a peer for `ban_s` seconds."""

    def __init__(self, faults: int, ban_s: float) -> None:
        self._faults, self._ban_s = faults, ban_s
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()  # peer -> (faults, last at)
        self._bans: OrderedDict[str, float] = OrderedDict()  # peer -> end

    def hold(self, peer: str, now: float, *, fatal: bool = False) -> bool:
        """Count one fault; True when the peer is banned by it."""
        count, last = self._counts.pop(peer, (0, now))
        count = 1 if now - last > self._ban_s else count + 1
        if fatal or count >= self._faults:
            _remember(self._bans, peer, now + self._ban_s)
            return True
        _remember(self._counts, peer, (count, now))
        return False

    def is_banned(self, peer: str, now: float) -> bool:
        return peer in self._bans and self._bans[peer] > now

    def __repr__(self) -> str:
        return f"<Blame {len(self._counts)} counted, {len(self._bans)} banned>"


def _remember(known: OrderedDict[str, Any], peer: str, what: Any) -> None:
    known.pop(peer, None)
    known[peer] = what
    while len(known) > PEERS_MAX:
        known.popitem(last=False)
