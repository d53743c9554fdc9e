"""Votes between the network and the ledger: what others say is heard, what the ledger says is told.

    hear     gossip -> replica.hear_all -> the news in it is passed on, and nothing that is not known to be
             good: whoever passes on a word that it did not look at is blamed by who does
    step     replica.step, when something arrived, when it asked to be called, and now and then
    ask      certificates or proposals that are missing here, from one peer after another
    rejoin   after a start, what others hold of our votes, before we cast the first

Every node runs it: one that is no validator casts nothing, and learns from the votes of others what is final.

Decides nothing itself: `ledger.voting` does. What must always hold: only what the ledger gave out, which is
durable, is told; a peer is blamed for messages that are provably wrong and for nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import trio

from fog.exchange import Exchange
from fog.pulse import Pulse
from fog.replica_thread import ReplicaThread
from ledger.errors import RemoteError
from ledger.evidence import VoteFault
from ledger.reactions import Reaction
from network.gossip_io import Words
from network.host import Host
from network.identity import key_of

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

LOOK_S: Final = 0.25
"""How often a node without news looks whether a deadline has passed."""

WORDS_AT_ONCE: Final = 64
"""Messages of the vote topic that are heard in one turn, when so many wait because our disk is slow."""

ASK_GAP_S: Final = 0.3
"""Between two questions for votes: an answer is at most half a MiB."""

ANSWERS_S: Final = 2.0
"""How long, after a start, we collect what others know of our votes; then we look again who is there."""

LOOK_AGAIN_S: Final = 1.0
"""How often to see whether this node became a validator that has not asked yet."""

ALONE_S: Final = 5.0
"""After so long without an answer, a validator that is a quorum by itself goes on alone."""


class Validating:
    """`run` until cancelled. `faults` is told of validators that contradicted themselves."""

    def __init__(
        self,
        host: Host,
        exchange: Exchange,
        ledger: ReplicaThread,
        faults: Callable[[Sequence[VoteFault]], None] = lambda faults: None,
    ) -> None:
        self._host = host
        self._exchange = exchange
        self._ledger = ledger
        self._faults = faults
        self._next: int | None = None  # unix ms
        self._sooner = trio.Event()
        self._wanted: tuple[int, int] | None = None
        self._asked = Pulse()

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear)
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._step_on_arrival)
            nursery.start_soon(self._ask)
            nursery.start_soon(self._rejoin)
            task_status.started()

    def look(self) -> None:
        """See now whether something is due: what decides that has changed."""
        self._sooner.set()

    # -- what others say ---------------------------------------------------------------------------------

    async def _hear(self) -> None:
        async with aclosing(self._exchange.announcer.votes.some(WORDS_AT_ONCE)) as votes:
            async for come in votes:
                some = [words for words in come if not self._host.is_banned(words.peer)]
                said = [(message, words.peer) for words in some for message in words.said]
                verdicts = iter(await self._take(said) if said else ())
                for words in some:
                    await self._pass_on(words, [next(verdicts) for _ in words.said])

    async def _pass_on(self, words: Words, verdicts: Sequence[bool | None]) -> None:
        """What was not looked at is left out: somebody might find it wrong, and blame us."""
        announcer = self._exchange.announcer
        if None not in verdicts:
            if any(verdicts):
                await announcer.relay(words)
        elif news := [one for one, is_news in zip(words.said, verdicts, strict=True) if is_news]:
            await announcer.announce_votes(news, self._ledger.clock())

    async def _take(self, said: Sequence[tuple[bytes, str]], *, is_live: bool = True) -> list[bool | None]:
        """(message, peer) of each -> whether it was news; None when it was wrong, or not looked at."""
        ledger = self._ledger
        messages, peers = [message for message, _ in said], [peer for _, peer in said]
        verdicts, reaction = await ledger.write(
            ledger.replica.hear_all, messages, now=ledger.clock(), sources=peers, is_live=is_live
        )
        found: list[bool | None] = []
        for peer, verdict in zip(peers, verdicts, strict=True):
            if isinstance(verdict, RemoteError):
                log.info("a vote from %s: %s (%s)", peer, verdict, verdict.code)
                self._host.blame(peer, verdict.code)
                found.append(None)
            else:
                found.append(verdict)
        await self._react(reaction, peers[-1])
        return found

    # -- what time brings --------------------------------------------------------------------------------

    async def _keep_time(self) -> None:
        while True:
            await self._step()
            wait_s = LOOK_S
            if self._next is not None:
                wait_s = min(max((self._next - self._ledger.clock()) / 1000, 0.001), LOOK_S)
            self._sooner = trio.Event()
            with trio.move_on_after(wait_s):
                await self._sooner.wait()

    async def _step_on_arrival(self) -> None:
        seen = -1
        while True:
            seen = await self._ledger.arrived.after(seen)
            await self._step()

    async def _step(self) -> None:
        await self._react(await self._ledger.write(self._ledger.replica.step, self._ledger.clock()), None)

    async def _react(self, reaction: Reaction, peer: str | None) -> None:
        """`peer`: whoever said what this is the reaction to."""
        if reaction.final:
            self._ledger.advanced.advance()
        if reaction.faults:
            self._faults(reaction.faults)
        self._exchange.tell_faults(reaction.forks, reaction.warrants)
        if reaction.missing:
            self._exchange.sync.need(reaction.missing, peer or "")
        if reaction.is_behind:
            self._exchange.sync.wake()
        if reaction.ask_votes is not None:
            self._wanted = reaction.ask_votes
            self._asked.advance()
        if reaction.next != self._next:
            self._next = reaction.next
            self._sooner.set()
        if reaction.send:
            await self._exchange.announcer.announce_votes(reaction.send, self._ledger.clock())

    # -- what is missing here ----------------------------------------------------------------------------

    async def _ask(self) -> None:
        """One peer after another, as long as something is missing."""
        seen, turn = 0, 0
        while True:
            seen = await self._asked.after(seen)
            peers = [link.peer for link in self._host.peers()]
            if peers and self._wanted is not None:
                turn += 1
                peer = peers[turn % len(peers)]
                (epoch, slot), self._wanted = self._wanted, None
                ballots = await self._ballots_of(peer, epoch, slot)
                if ballots:
                    await self._take([(ballot, peer) for ballot in ballots], is_live=False)
            await trio.sleep(ASK_GAP_S)

    async def _ballots_of(self, peer: str, epoch: int, slot: int) -> Sequence[bytes]:
        try:
            return await self._exchange.sync.ask_votes(peer, epoch, slot)
        except RemoteError as error:
            log.info("asked %s for votes: %s (%s)", peer, error, error.code)
            return ()

    # -- after a start -----------------------------------------------------------------------------------

    async def _rejoin(self) -> None:
        """Whenever the ledger will not let us vote, ask everybody who is here, until it does."""
        ledger = self._ledger
        begun = trio.current_time()
        while True:
            if not ledger.replica.is_silent:  # no validator yet, perhaps, or one that votes
                await trio.sleep(LOOK_AGAIN_S)
                begun = trio.current_time()
                continue
            answers: dict[bytes, Sequence[bytes]] = {}
            with trio.move_on_after(ANSWERS_S):
                async with trio.open_nursery() as nursery:
                    for link in self._host.peers():
                        nursery.start_soon(self._collect, link.peer, answers)
            if answers or trio.current_time() - begun > ALONE_S:
                await ledger.write(ledger.replica.rejoin, answers, now=ledger.clock())
            await trio.sleep(LOOK_S)

    async def _collect(self, peer: str, answers: dict[bytes, Sequence[bytes]]) -> None:
        key = key_of(peer)
        if key is not None:
            try:
                answers[key] = await self._exchange.sync.ask_votes(peer, 0, 0)
            except RemoteError as error:
                log.info("asked %s what it knows of our votes: %s", peer, error)
