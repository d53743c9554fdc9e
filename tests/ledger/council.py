"""Several validators in one process, on one clock: replicas with stores of their own, and a network between.

Everything is a message in one queue: events, votes and answers reach every other member after `delay_ms`,
unless `drops` says no. A member can be cut off, lose its process or its disk, and come back.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from ledger.event import Event
from ledger.evidence import VoteFault
from ledger.genesis import Allocation, Genesis, Validator
from ledger.reactions import Missing, Reaction
from ledger.replica import Replica
from ledger.simplex import Voter
from ledger.store import Store
from tests.ledger.paying import PayingRules
from tests.ledger.world import START, key_of

DELAY_MS = 20


def council_genesis(members: int, *, epoch: int = 600, stakes: Sequence[int] = ()) -> Genesis:
    stake_of = dict(enumerate(stakes))
    seats = (Validator(key_of(f"v{n}").public, stake_of.get(n, 1)) for n in range(members))
    accounts = (Allocation(key_of(name).public, 1_000) for name in ("alice", "bob"))
    return Genesis(
        v=1,
        name="council",
        created=START,
        rules=1,
        validators=tuple(sorted(seats, key=lambda one: one.key)),
        accounts=tuple(sorted(accounts, key=lambda one: one.account)),
        params={"epoch_checkpoints": epoch},
    )


class Council:
    def __init__(
        self,
        members: int = 4,
        *,
        epoch: int = 600,
        stakes: Sequence[int] = (),
        drops: Callable[[str, str, int], bool] = lambda sender, to, now: False,
        voters: dict[str, Callable[..., Voter]] | None = None,
        urls: dict[str, str] | None = None,
    ) -> None:
        """`drops(sender, to, ms since the start)`; `voters` and `urls` by member, where they differ."""
        self.genesis = council_genesis(members, epoch=epoch, stakes=stakes)
        self.names = [f"v{n}" for n in range(members)]
        self.now = START + 1_000
        self.drops = drops
        self.voters = voters or {}
        self.nodes: dict[str, Replica] = {}
        self.faults: list[VoteFault] = []
        self._queue: list[tuple[int, int, str, str, Any]] = []
        self._order = count()
        self._steps_at: dict[str, int] = {}
        for name in self.names:
            store = Store.create((urls or {}).get(name, "sqlite://"), self.genesis)
            self.nodes[name] = self._open(name, store)
        for name in self.names:
            self.rejoin(name)

    def _open(self, name: str, store: Store) -> Replica:
        voter = self.voters.get(name, Voter)
        return Replica.open(store, PayingRules(), key_of(name), validator=True, voter=voter)

    # -- what members do ------------------------------------------------------------------------------------

    def rejoin(self, name: str) -> bool:
        """Ask everybody who can be reached, and begin to vote if that is enough."""
        others = [one for one in self.nodes if one != name and not self._is_lost(one, name)]
        answers = {key_of(one).public: self.nodes[one].ballots(0, 0) for one in others}
        done = self.nodes[name].rejoin(answers, now=self.now)
        self._step_at(name, self.now)
        return done

    def stop(self, name: str) -> Store:
        """The process ends; its store is what it is."""
        self._steps_at.pop(name, None)
        return self.nodes.pop(name).store

    def start(self, name: str, store: Store | None = None) -> None:
        """With its store, or with a new one: the disk was lost."""
        self.nodes[name] = self._open(name, store or Store.create("sqlite://", self.genesis))

    def say(self, *events: Event, to: Sequence[str] | None = None) -> None:
        """Events reach these members (all of them) now."""
        for name in self.names if to is None else to:
            for event in events:
                self._put(self.now, "author", name, event)

    def meet(self) -> None:
        """Everybody syncs with everybody: what a process that was down did not hear, the others bring."""
        for name in self.nodes:
            for helper in self.nodes:
                if helper != name:
                    self._sync(name, helper)

    # -- time -----------------------------------------------------------------------------------------------

    def run(self, ms: int) -> None:
        until = self.now + ms
        while self._queue and self._queue[0][0] <= until:
            self.now, _, sender, name, what = heapq.heappop(self._queue)
            if name in self.nodes:
                self._deliver(name, sender, what)
        self.now = until

    def _deliver(self, name: str, sender: str, what: Any) -> None:
        node = self.nodes[name]
        match what:
            case bytes():
                self._react(name, node.hear(what, now=self.now))
            case Event():
                node.ingest([what.wire], peer=sender, now=self.now)
                self._react(name, node.step(self.now))
            case None:
                if self._steps_at.get(name) == self.now:
                    del self._steps_at[name]
                    self._react(name, node.step(self.now))

    def _react(self, name: str, reaction: Reaction) -> None:
        self.faults += reaction.faults
        for message in reaction.send:
            for other in self.names:
                if other != name and not self._is_lost(name, other):
                    self._put(self.now + DELAY_MS, name, other, message)
        if reaction.next is not None:
            self._step_at(name, max(reaction.next, self.now + 1))
        others = [one for one in self.nodes if one != name and not self._is_lost(one, name)]
        if reaction.ask_votes is not None and others:
            helper = others[self.now % len(others)]
            for message in self.nodes[helper].ballots(*reaction.ask_votes):
                self._put(self.now + 2 * DELAY_MS, helper, name, message)
        if (reaction.is_behind or reaction.missing) and others:
            self._sync(name, max(others, key=lambda one: self.nodes[one].height))

    def _sync(self, name: str, helper: str) -> None:
        """As sync would: checkpoints, with the events that they need."""
        node, theirs = self.nodes[name], self.nodes[helper]
        while node.height < theirs.height:
            links, final = theirs.store.run(node.height + 1, 24)
            answer = node.apply(links, final, self.now)
            if isinstance(answer, Missing):
                node.ingest(list(theirs.store.wires(answer.ids).values()), peer=helper, now=self.now)
        lacking = [id for id in theirs.unordered() if node.missing([id])]
        node.ingest(list(theirs.store.wires(lacking).values()), peer=helper, now=self.now)
        self._step_at(name, self.now + 1)

    def _is_lost(self, sender: str, to: str) -> bool:
        return self.drops(sender, to, self.now - START)

    def _step_at(self, name: str, moment: int) -> None:
        if moment < self._steps_at.get(name, 2**63):
            self._steps_at[name] = moment
            self._put(moment, name, name, None)

    def _put(self, moment: int, sender: str, to: str, what: Any) -> None:
        heapq.heappush(self._queue, (moment, next(self._order), sender, to, what))

    # -- what came of it ------------------------------------------------------------------------------------

    @property
    def heights(self) -> list[int]:
        return [node.height for node in self.nodes.values()]

    def roots(self) -> set[bytes]:
        return {node.state.root for node in self.nodes.values()}
