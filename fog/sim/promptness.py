"""Promptness: how many slots it takes until what honest people say is final (I13), in slots and not in time.

    a cut of an honest leader   leaves nothing out that stands there, unless it is full; and however full cuts
                                are, no event is left out of more than PASSED_MAX that became final, and one
                                more for each cut's worth of events before it
    after the storm             all is final before SLOTS_MAX slots of honest leaders have begun, counted from
                                when all have it and the sessions of sync that the storm broke are over

So a leader who leaves an account out delays it until the next honest leader, and no longer.

Knows proposals of honest nodes, and what they had when they made them. Decides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ledger import votes
from ledger.checkpoint import TIPS_MAX
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.order import Node as Shape
from ledger.votes import Proposal
from network.gossip import decode_votes

if TYPE_CHECKING:
    from fog.sim.node import Node

PASSED_MAX: Final = 2
"""Final cuts of leaders who had an event, and left it out for lack of room."""

SLOTS_MAX: Final = 24
"""Slots of honest leaders after the storm: five at most in forty runs."""


class Promptness:
    def __init__(self) -> None:
        self._left: dict[Cid, tuple[tuple[Cid, ...], int]] = {}  # proposal -> (left out, cuts that wait)
        self._seen: set[Cid] = set()
        self._passed: Counter[Cid] = Counter()
        self._allowed: dict[Cid, int] = {}
        self._slots: dict[tuple[int, int], bool] = {}  # (epoch, slot) -> whether an honest node leads it

    # -- what honest leaders leave out

    def said(self, node: Node, message: bytes, open_events: Mapping[Cid, Any]) -> str | None:
        """A vote message of an honest node. `open_events`: what honest people said and is not final."""
        self._note_slot(node)
        for proposal in self._own_proposals(node, message):
            wrong = self._look(node, proposal, open_events)
            if wrong is not None:
                return wrong
        return None

    def _own_proposals(self, node: Node, message: bytes) -> Iterable[Proposal]:
        try:
            said = [votes.parse_message(data, net=node.replica.net) for data in decode_votes(message)]
        except RemoteError:
            return ()
        return [one for one in said if isinstance(one, Proposal) and one.vote.by == node.key.public]

    def _look(self, node: Node, proposal: Proposal, open_events: Mapping[Cid, Any]) -> str | None:
        id = Cid.of(proposal.checkpoint)
        candidate = node.replica._voting.candidates.get(id)
        of_now = (proposal.vote.vote.slot, proposal.vote.vote.ts)
        if candidate is None or id in self._seen or (candidate.checkpoint.slot, node.now) != of_now:
            return None  # it is not of now: said, or proposed, again
        self._seen.add(id)
        unordered = node.replica._admission.unordered
        left = tuple(id for id in open_events if id in unordered and id not in candidate.taken)
        self._left[id] = left, len(unordered) // TIPS_MAX
        if left and not _was_full(unordered, candidate.cut.order):
            return f"node {node.index} leaves {left[0]} out of height {candidate.checkpoint.height}"
        return None

    def final(self, id: Cid, height_of: Mapping[Cid, int]) -> str | None:
        """This checkpoint is final, and `height_of` has its events."""
        left, backlog = self._left.pop(id, ((), 0))
        for event in left:
            if event in height_of:
                continue
            self._passed[event] += 1
            most = self._allowed[event] = max(self._allowed.get(event, 0), PASSED_MAX + backlog)
            if self._passed[event] > most:
                return f"{self._passed[event]} final cuts left out {event}, which their leaders had"
        return None

    # -- slots after the storm

    def _note_slot(self, node: Node) -> None:
        voter = node.replica._voting.voter
        leader = voter.schedule.leader(voter.slot)
        nodes = node.ground.nodes
        self._slots[voter.epoch, voter.slot] = any(
            one.key.public == leader and not one.is_liar for one in nodes
        )

    @property
    def slots(self) -> int:
        """How many slots with honest leaders honest nodes have spoken in."""
        return sum(self._slots.values())


def _was_full(unordered: Mapping[Cid, Shape], cut: Iterable[Cid]) -> bool:
    """Whether this cut had as many tips as it may at any time while it was put together, first come first
    served: who comes then is left out, also if a later event covers some of them."""
    taken = set(cut)
    tips: set[Cid] = set()
    for id, node in unordered.items():
        if id in taken:
            tips.difference_update(node.parents)
            tips.add(id)
            if len(tips) == TIPS_MAX:
                return True
    return False
