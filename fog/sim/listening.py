"""A node that starts again hears where its lane ends: what `fog.own_head` does, without waiting.

Whoever is up and can be reached in both directions counts as connected, and is asked at once; who failed is
asked again now and then. `fog.own_head.Heard` itself decides when that is enough.

What must always hold: nothing is said, and no vote is cast, before it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fog.own_head import LISTEN_S, Sessions, lanes_of, others_in
from ledger.cid import Cid
from network.identity import peer_of

if TYPE_CHECKING:
    from fog.sim.node import Node

LOOK_MS: Final = 1_000
"""How often it looks who else is there, and how long it waited."""

RETRY_MS: Final = 3_000
"""Between two sessions with a peer that failed (`network.sync_io.RETRY_S`)."""


class Listening:
    """Of one life of a node, until it is ready."""

    def __init__(self, node: Node) -> None:
        replica, key = node.replica, node.key.public
        self._node = node
        self._begun = node.ground.scheduler.now
        self._before = lanes_of(replica.heads, key)
        self._is_new = not replica.heads and replica.height == 0
        self._sessions = Sessions()
        self._asked: dict[int, None] = {}  # for the last events of our lanes
        self._ended_at: dict[int, int] = {}
        self._names = [peer_of(one.key.public) for one in node.ground.nodes]

    def look(self) -> None:
        """Ask whoever is there, and see whether what others told is enough; until it is."""
        node = self._node
        if node.is_ready:
            return
        here = [one for one in node.ground.nodes if self._is_here(one)]
        lacking = tuple(node.replica.heads_lacking())
        self._ask(here, lacking)
        heads, key, validators = node.replica.heads, node.key.public, node.replica.validators
        heard = self._sessions.heard(
            (self._names[one.index] for one in here),
            others_in(heads, validators.stakes, key),
            came=lanes_of(heads, key) != self._before,
            lacks=bool(lacking),
            is_new=self._is_new,
            is_unbegun=self._sessions.is_unbegun(validators, key),
        )
        waited_ms = node.ground.scheduler.now - self._begun
        if heard.is_enough(waited_ms / 1_000):
            node.ground.counts["heard_late"] += waited_ms > LISTEN_S * 1_000
            node.ground.counts["heard_our_lane"] += heard.came
            node.be_ready()

    def look_again(self) -> None:
        self.look()
        if not self._node.is_ready:
            self._node.later(LOOK_MS, self.look_again)

    def ended(self, peer: int, code: str, *, is_empty: bool) -> None:
        """A session with a peer."""
        again = self._sessions.ended(self._names[peer], code, is_empty=is_empty)
        self._ended_at[peer] = self._node.ground.scheduler.now
        if again and not self._node.is_ready:
            if code != "stalled":
                self._asked.pop(peer, None)
            self._node.sync_with(peer, ())
        self.look()

    def _is_here(self, other: Node) -> bool:
        node, passes = self._node, self._node.ground.links.passes
        is_linked = passes(node.index, other.index) and passes(other.index, node.index)
        return other is not node and other.up and is_linked and node.asks(other)

    def _ask(self, here: list[Node], lacking: tuple[Cid, ...]) -> None:
        now = self._node.ground.scheduler.now
        for peer in here:
            at = self._ended_at.get(peer.index)
            is_whole = self._sessions.is_whole(self._names[peer.index])
            is_due = at is None or (not is_whole and now - at >= RETRY_MS)
            if lacking and peer.index not in self._asked:
                self._asked[peer.index] = None
                self._node.sync_with(peer.index, lacking)
            elif is_due and not self._node.is_syncing(peer.index):
                self._node.sync_with(peer.index, ())
