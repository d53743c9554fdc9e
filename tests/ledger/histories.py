"""Small histories of a whole network, written by hand: one voter, a few authors, rules that only count.

A history is made once and can then be written to any number of stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ledger import canonical, cut, finality, order
from ledger import event as events
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.cut import Outcome
from ledger.event import Event
from ledger.execution import OK, Context, Receipt
from ledger.genesis import Genesis, Validator
from ledger.merkle import Frontier
from ledger.outcomes import Decided
from ledger.signing import SigningKey
from ledger.state import State
from ledger.store import Store
from ledger.validators import epoch_length
from ledger.votes import Certificate, Phase, SignedVote, Vote

CREATED = 1_790_000_000_000


def key(name: str) -> SigningKey:
    return SigningKey(name.encode().ljust(32, b"."))


class CountingRules:
    """Counts each account's events; a `refuse` is refused; the end of a checkpoint notes time and beacon."""

    def genesis(self, genesis: Genesis) -> State:
        return State().put("start", b"created", genesis.created.to_bytes(8, "big"))

    def execute(self, state: State, event: Event, context: Context) -> tuple[State, Receipt]:
        if event.header.k == "refuse":
            return state, Receipt(event.id, "refused", (canonical.encode({"why": "asked to"}),))
        if event.header.k == "forget":
            return state.delete("count", event.account), Receipt(event.id, OK)
        count = int.from_bytes(state.get("count", event.account) or b"", "big") + 1
        return state.put("count", event.account, count.to_bytes(8, "big")), Receipt(event.id, OK)

    def close(self, state: State, context: Context) -> tuple[State, Receipt]:
        state = state.put("clock", b"", context.time.to_bytes(8, "big") + context.beacon)
        return state, Receipt(None, OK, (canonical.encode({"time": context.time}),))

    def due(self, state: State) -> int | None:
        return None


@dataclass
class Step:
    """Either events that arrived, or a checkpoint that became final."""

    events: tuple[Event, ...] = ()
    rivals: tuple[Event, ...] = ()
    final: tuple[Decided, Certificate] | None = None

    def write_to(self, store: Store) -> None:
        if self.final is None:
            store.add(self.events, rivals=self.rivals)
            return
        decided, certificate = self.final
        store.commit([decided], certificate)


def seated(names: Iterable[str]) -> list[Validator]:
    """With one stake each, as a genesis has them."""
    return sorted((Validator(key(name).public, 1) for name in names), key=lambda one: one.key)


class History:
    def __init__(
        self,
        *,
        voter: str = "anchor",
        name: str = "a small network",
        rules: CountingRules | None = None,
        params: dict[str, int] | None = None,
        seats: Callable[[int], Sequence[str]] | None = None,
    ) -> None:
        """`seats`: who validates in an epoch, with one stake each; the rules must say so too."""
        self.voter = key(voter)
        self.seats = seats or (lambda epoch: [voter])
        self.rules = rules or CountingRules()
        self.steps: list[Step] = []
        self.genesis = Genesis(
            v=1,
            name=name,
            created=CREATED,
            rules=1,
            validators=tuple(seated(self.seats(0))),
            accounts=(),
            params=params or {},
        )
        self.net = self.genesis.net
        self.state = cut.genesis_state(self.rules, self.genesis)
        self.frontier = Frontier()
        self.last: finality.Last | None = None
        self.tips: dict[tuple[bytes, int], Event] = {}
        self.unordered: dict[Cid, Event] = {}

    def say(
        self, who: str, kind: str = "say", *, after: Sequence[Event] = (), lane: int = 0, body: object = None
    ) -> Event:
        """The next event of `who`, which has seen `after`; it arrives at once."""
        event = self.draft(who, kind, after=after, lane=lane, body=body)
        self.arrive(event)
        return event

    def draft(
        self,
        who: str,
        kind: str = "say",
        *,
        after: Sequence[Event] = (),
        lane: int = 0,
        body: object = None,
        on: Event | None = None,
        **lies: object,
    ) -> Event:
        """An event that nobody has seen yet, on `on` or on the author's last one; `lies` replace fields."""
        author = key(who)
        prev = on or self.tips.get((author.public, lane))
        lc = 1 + max((event.header.lc for event in (*after, *filter(None, [prev]))), default=0)
        fields: dict[str, Any] = {
            "net": self.net,
            "lane": lane,
            "seq": 0 if prev is None else prev.header.seq + 1,
            "prev": None if prev is None else prev.id,
            "parents": tuple(event.id for event in after),
            "lc": lc,
            "ts": CREATED + lc,
            "kind": kind,
            "body": {"text": "hello"} if body is None else body,
        }
        return events.make(author, **{**fields, **lies})

    def arrive(self, *new: Event, rivals: Sequence[Event] = ()) -> None:
        for event in new:
            self.tips[event.lane] = event
        self.unordered.update((event.id, event) for event in (*new, *rivals))
        self.steps.append(Step(events=new, rivals=tuple(rivals)))

    def finalize(self, *, now: int | None = None) -> Checkpoint:
        """A checkpoint over all that arrived."""
        parent = self.net if self.last is None else self.last.checkpoint.id
        nodes = {id: order.node_of(event) for id, event in self.unordered.items()}
        chosen = order.choose(nodes, parent)
        outcome = self.execute([self.unordered.pop(id) for id in chosen.order])
        return self._final(self.checkpoint(chosen.tips, outcome), outcome, chosen.order, now=now)

    def _final(
        self, checkpoint: Checkpoint, outcome: Outcome, ids: Sequence[Cid], *, now: int | None = None
    ) -> Checkpoint:
        now = CREATED + 1_000 * checkpoint.height if now is None else now
        certificate = certified(map(key, self.seats(checkpoint.epoch)), checkpoint, now)
        decided = Decided(
            checkpoint,
            self.shown,
            ids,
            outcome.receipts,
            outcome.close_receipt,
            outcome.changes,
            outcome.frontier.encode(),
        )
        self.steps.append(Step(final=(decided, certificate)))
        self.state, self.frontier = outcome.state, outcome.frontier
        self.last = finality.Last(checkpoint, certificate)
        return checkpoint

    @property
    def shown(self) -> Certificate | None:
        """What the next checkpoint builds on."""
        return None if self.last is None else self.last.final

    @property
    def parent(self) -> Checkpoint | None:
        return None if self.last is None else self.last.checkpoint

    def checkpoint(self, tips: tuple[Cid, ...], outcome: Outcome, /, **lies: object) -> Checkpoint:
        """What follows the last one; `lies` replace fields."""
        fields = {
            "v": 2,
            "slot": 1 if self.parent is None else self.parent.slot + 1,
            "tips": tips,
            **finality.follows(self.genesis, self.parent, self.shown, self.state),
            **{name: getattr(outcome, name) for name in ("delta", "n", "eroot", "sroot", "rroot")},
            **lies,
        }
        return msgspec.convert(fields, Checkpoint)

    def execute(self, ordered: Sequence[Event]) -> Outcome:
        context = finality.next_context(self.genesis, self.parent, self.shown, self.state)
        length = epoch_length(self.genesis)
        return cut.execute_cut(self.rules, self.state, self.frontier, ordered, context, length)

    def finalize_so(self, tips: Sequence[Event], ordered: Sequence[Event], /, **lies: object) -> Checkpoint:
        """A checkpoint by a voter who signs whatever it is told."""
        outcome = self.execute(ordered)
        names = tuple(sorted(event.id for event in tips))
        return self._final(self.checkpoint(names, outcome, **lies), outcome, [event.id for event in ordered])

    def write_to(self, store: Store) -> Store:
        for step in self.steps:
            step.write_to(store)
        return store


def certify(voter: SigningKey, checkpoint: Checkpoint, ts: int) -> Certificate:
    """One voter's word that a checkpoint is final."""
    return certified([voter], checkpoint, ts)


def certified(voters: Iterable[SigningKey], checkpoint: Checkpoint, ts: int) -> Certificate:
    vote = Vote(checkpoint.net, checkpoint.epoch, checkpoint.slot, Phase.FINALIZE, checkpoint.id, ts)
    return Certificate.of([SignedVote.make(voter, vote) for voter in voters])


def talk() -> History:
    """Alice and Bob talk over three checkpoints; Carol forks herself; the third checkpoint is empty."""
    history = History()
    hello = history.say("alice")
    history.say("bob", after=[hello])
    history.say("alice", "refuse", lane=2)
    history.finalize()
    first = history.draft("carol", after=[hello])
    rival = history.draft("carol", "rival", after=[hello])
    second = history.draft("carol", on=rival)
    history.arrive(first, rivals=[rival, second])
    history.say("bob", "forget", after=[second])
    history.finalize()
    history.finalize()
    return history
