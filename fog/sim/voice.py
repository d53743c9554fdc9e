"""How a node speaks of finality: what `fog.validating` does, without waiting.

    hear      gossip -> replica.hear_all -> the news in it is passed on, and nothing wrong or unread
    step      replica.step, when something arrived, when it asked to be called, and now and then
    ask       certificates or proposals that are missing here, from one peer after another
    rejoin    after a start, what others hold of our votes, before we cast the first

Everything else in the simulator moves opaque bytes. What must always hold: only what the replica gave out,
which is durable, is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from fog.sim.disk import PowerCut
from fog.sim.ground import VOTES
from fog.sim.sessions import ask_votes
from ledger.errors import RemoteError
from ledger.reactions import Missing, Reaction
from ledger.replica import Replica
from network.gossip import decode_votes, encode_votes
from network.sync_actions import Delivered
from network.sync_messages import Checkpoints

if TYPE_CHECKING:
    from fog.sim.node import Node

LOOK_MS: Final = 5_000
"""How often a node without news looks whether a deadline has passed. (A real one does every 250 ms.)"""

ASK_GAP_MS: Final = 300
"""Between two questions for votes (`fog.validating`)."""

ANSWERS_MS: Final = 2_000
"""How long, after a start, it collects what others know of its votes (`fog.validating`)."""


class Voice:
    """Of one life of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._replica: Replica = node.replica
        self._step_at: int | None = None
        self._turn = node.index
        self._wanted: tuple[int, int] | None = None
        self._is_asking = False
        self._is_rejoining = False

    def start(self) -> None:
        """From here on it votes, once it may."""
        self.wake(0)

    # -- what others say

    def hear(self, message: bytes, source: int) -> list[bytes]:
        """One gossip message; what of it is worth passing on. Raises RemoteError, Diverged."""
        said = decode_votes(message)
        found = self._take_all(said, source)
        if len(found) == len(said) and None not in found:
            return [message] if any(found) else []
        news = [one for one, is_news in zip(said, found, strict=False) if is_news]
        return list(encode_votes(news, self._node.now))

    def _take_all(self, said: Sequence[bytes], source: int) -> list[bool | None]:
        """What was found of each, as far as the first that is wrong. Each has its own turn, as if it came
        alone: more can go wrong between two turns than within one."""
        node, found = self._node, list[bool | None]()
        for message in said:
            [verdict], reaction = node.write(self._replica.hear_all, [message], now=node.now)
            self._react(reaction, source)
            if isinstance(verdict, RemoteError):
                node.blame(source, verdict.code)
                break
            found.append(verdict)
        return found

    # -- what time brings

    def wake(self, ms: int) -> None:
        """Step in so many ms, unless it is to be done sooner anyhow."""
        due = self._node.ground.scheduler.now + ms
        if self._step_at is None or due < self._step_at:
            self._step_at = due
            self._node.later(ms, lambda: self._step(due))

    def _step(self, due: int) -> None:
        if self._step_at != due:
            return
        self._step_at = None
        if self._replica.is_silent and not self._is_rejoining:
            self._rejoin()
        self._react(self._node.write(self._replica.step, self._node.now), None)
        self.wake(LOOK_MS)

    def _react(self, reaction: Reaction, source: int | None) -> None:
        node = self._node
        if reaction.send:
            for message in encode_votes(reaction.send, node.now):
                node.say(VOTES, message)
        if reaction.missing:
            node.want(reaction.missing, node.somebody() if source is None else source)
        if reaction.is_behind:
            node.sync_with(node.somebody() if source is None else source, ())
        node.accusing.votes(reaction.faults)
        node.accusing.events(reaction)
        if reaction.ask_votes is not None:
            self._wanted = reaction.ask_votes
            self._ask()
        if reaction.next is not None:
            self.wake(max(1, reaction.next - node.now))

    # -- what is missing here

    def _ask(self) -> None:
        if not self._is_asking and self._wanted is not None:
            self._is_asking = True
            (epoch, slot), self._wanted = self._wanted, None
            peer = self._next_peer().facing(self._node)
            ask_votes(self._node, peer, epoch, slot, lambda said: self._take_all(said, peer.index))
            self._node.later(ASK_GAP_MS, self._ask_again)

    def _ask_again(self) -> None:
        self._is_asking = False
        self._ask()

    def _next_peer(self) -> Node:
        """One after the other."""
        nodes = self._node.ground.nodes
        for _ in nodes:
            self._turn += 1
            peer = nodes[self._turn % len(nodes)]
            if peer.index != self._node.index and self._node.asks(peer):
                return peer
        return nodes[self._node.somebody()]

    # -- after a start

    def _rejoin(self) -> None:
        """Ask everybody, and look after a while who answered."""
        self._is_rejoining = True
        node = self._node
        answers: dict[bytes, Sequence[bytes]] = {}
        for peer in node.ground.nodes:
            if peer is not node and node.asks(peer):
                ask_votes(node, peer.facing(node), 0, 0, _into(answers, peer.key.public))
        node.later(ANSWERS_MS, lambda: self._look_at(answers))

    def _look_at(self, answers: dict[bytes, Sequence[bytes]]) -> None:
        node = self._node
        if answers:
            node.write(self._replica.rejoin, answers, now=node.now)
            if node.stops_again:
                node.stops_again = False
                raise PowerCut
        if self._replica.is_silent:
            self._rejoin()
        else:
            self._is_rejoining = False
            self.wake(0)

    # -- sync

    def take(self, answer: Checkpoints) -> Delivered:
        before = self._replica.height
        result = self._node.write(self._replica.apply, answer.items, answer.final, self._node.now)
        missing = result.ids if isinstance(result, Missing) else ()
        return Delivered(self._replica.height - before, missing)

    def chain(self, first: int) -> list[bytes]:
        """Final checkpoints from height `first` on."""
        return [checkpoint for checkpoint, _ in self._replica.store.checkpoints(first, 100_000)]


def _into(answers: dict[bytes, Sequence[bytes]], key: bytes) -> Callable[[Sequence[bytes]], None]:
    def take(said: Sequence[bytes]) -> None:
        answers[key] = said

    return take
