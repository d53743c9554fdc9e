"""An archive of four validators over three epochs, and every step of making it open to a lie.

A `Forger` holds all keys, so what it changes it also hashes and signs again: a lie is then found by the rule
that it breaks, and not by a hash that no longer fits. `Lies` say what it does differently, and where.

    validators   north 3, east 2, south 2, west 2; from epoch 2 on centre 2 instead of west
    epochs       of three heights; slots with gaps; the end of an epoch is proposed again in a later slot
    events       alice, bob and dave talk, carol forks herself; the last height is empty
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger import canonical, car, cut, merkle, order
from ledger import event as events
from ledger import validators as sets
from ledger.cid import Cid
from ledger.event import Event
from ledger.execution import Context, Receipt
from ledger.genesis import Genesis, Validator
from ledger.merkle import Frontier
from ledger.signing import Domain
from ledger.state import State
from ledger.validators import ValidatorSet
from ledger.votes import Certificate, Phase, SignedVote, Vote
from tests.ledger.histories import CREATED, CountingRules, key

EPOCH = 3
HEIGHTS = 8
SLOTS = (1, 3, 4)
"""In which slot of its epoch each height is proposed."""

STAKES = {"north": 3, "east": 2, "south": 2, "west": 2}
LATER = {"north": 3, "east": 2, "south": 2, "centre": 2}
VOTERS = ("north", "east", "south")
"""7 of 9: more than two thirds."""

Block = tuple[str, bytes]


def set_of(stakes: dict[str, int]) -> ValidatorSet:
    return ValidatorSet.of(Validator(key(name).public, stake) for name, stake in stakes.items())


class MovingRules(CountingRules):
    """From epoch 2 on other validators."""

    def close(self, state: State, context: Context) -> tuple[State, Receipt]:
        state, receipt = super().close(state, context)
        if sets.is_last_of_epoch(context.height, EPOCH):
            epoch = sets.epoch_of(context.height, EPOCH)
            state = state.put(sets.TABLE, sets.row_key(epoch + 2), set_of(LATER).encode())
        return state, receipt


Change = Callable[[Any], Any]


def same(given: Any) -> Any:
    return given


@dataclass
class Lies:
    """What is done differently. Each `at` a height gets the honest value and gives what is written instead.

    events       the list of events of a height          order      its ids, in canonical order
    executed     its (sroot, rroot), before the event tree takes them
    fields       of its checkpoint, as a dict             genesis    the fields of genesis, as a dict
    voters       names and times of who votes on it       phase      of the votes on it
    votes        the signed votes on it                   certificate   its fields, as a dict
    blocks       of the whole file, (kind, bytes)         roots      of the file;  file   its bytes
    """

    events: dict[int, Change] = field(default_factory=dict)
    order: dict[int, Change] = field(default_factory=dict)
    executed: dict[int, Change] = field(default_factory=dict)
    fields: dict[int, Change] = field(default_factory=dict)
    voters: dict[int, Change] = field(default_factory=dict)
    phase: dict[int, Change] = field(default_factory=dict)
    votes: dict[int, Change] = field(default_factory=dict)
    certificate: dict[int, Change] = field(default_factory=dict)
    genesis: Change = same
    blocks: Change = same
    roots: Change = same
    file: Change = same


class Forger:
    def __init__(self, lies: Lies | None = None, *, name: str = "four of them") -> None:
        self.lies = lies or Lies()
        fields = {
            "v": 1,
            "name": name,
            "created": CREATED,
            "rules": 2,
            "validators": tuple(Validator(k, s) for k, s in set_of(STAKES).stakes.items()),
            "accounts": (),
            "params": {sets.EPOCH_CHECKPOINTS: EPOCH},
        }
        self.genesis = Genesis(**self.lies.genesis(fields))
        self.net = self.genesis.net
        self.heads: dict[tuple[str, int], Event] = {}
        self.blocks: list[Block] = [("genesis", self.genesis.encode())]
        self.ids: list[Cid] = []
        self._rules = MovingRules()
        self._state = cut.genesis_state(self._rules, self.genesis)
        self._frontier = Frontier()
        self._parent: dict[str, Any] | None = None
        self._named = set_of(STAKES).id
        self._shown = b""

    def archive(self) -> bytes:
        """The whole file."""
        for height in range(1, HEIGHTS + 1):
            self._write(height, self.script(height))
        self.blocks.append(("finality", self._shown))
        blocks = self.lies.blocks(self.blocks)
        roots = self.lies.roots([self.ids[-1], Cid.of(self.genesis.encode())])
        file: bytes = self.lies.file(car.header(roots) + b"".join(car.block(data) for _, data in blocks))
        return file

    # -- what is said ---------------------------------------------------------------------------------------

    def script(self, height: int) -> list[Event]:
        """The events of one height, children after their parents."""
        if height == HEIGHTS:
            return []
        first = self.say("alice")
        answer = self.say("bob", after=[first])
        apart = self.say("dave", lane=2)
        if height != 2:
            return [first, answer, apart]
        one = self.draft("carol", after=[first])
        rival = self.draft("carol", after=[first], body={"text": "the other"})
        return [first, answer, apart, one, rival, self.draft("carol", on=rival)]

    def say(self, who: str, **more: Any) -> Event:
        event = self.draft(who, **more)
        self.heads[who, event.header.lane] = event
        return event

    def draft(
        self, who: str, *, after: Sequence[Event] = (), on: Event | None = None, lane: int = 0, **lies: Any
    ) -> Event:
        prev = on or self.heads.get((who, lane))
        lc = 1 + max((event.header.lc for event in (*after, *filter(None, [prev]))), default=0)
        fields: dict[str, Any] = {
            "net": self.net,
            "lane": lane,
            "seq": 0 if prev is None else prev.header.seq + 1,
            "prev": None if prev is None else prev.id,
            "parents": tuple(event.id for event in after),
            "lc": lc,
            "ts": CREATED + lc,
            "kind": "say",
            "body": {"text": "hello"},
        }
        return events.make(key(who), **{**fields, **lies})

    # -- what is agreed -------------------------------------------------------------------------------------

    def _write(self, height: int, said: list[Event]) -> None:
        said = self._told(self.lies.events, height, said)
        parent = self.net if self._parent is None else self.ids[-1]
        nodes = {event.id: order.node_of(event) for event in said}
        by_id = {event.id: event for event in said}
        ids = self._told(self.lies.order, height, list(order.canonical_order(nodes, nodes, parent)))
        above = {id for event in said for id in event.parents}
        fields = self._fields(height, sorted(set(nodes) - above), [by_id[id] for id in ids])
        data = canonical.encode(self._told(self.lies.fields, height, fields))
        self.blocks.append(("checkpoint", data))
        if fields["vnext"] != self._named:
            self._named = fields["vnext"]
            self.blocks.append(("validators", set_of(LATER).encode()))
        if self._shown:
            self.blocks.append(("certificate", self._shown))
        self.blocks.append(("delta", canonical.encode(ids)))
        for id in ids:
            self.blocks += event_blocks(by_id[id])
        self.ids.append(Cid.of(data))
        self._parent = fields
        self._shown = self._certificate(height, self.ids[-1], fields)

    def _fields(self, height: int, tips: Iterable[Cid], ordered: list[Event]) -> dict[str, Any]:
        epoch = sets.epoch_of(height, EPOCH)
        shown = canonical.decode(self._shown, size_max=1 << 16) if self._shown else None
        stakes = set_of(STAKES if epoch < 2 else LATER).stakes
        time = self.genesis.created + 1
        if self._parent is not None:
            votes = [(vote["ts"], stakes.get(vote["by"], 0)) for vote in shown["votes"]]
            time = max(self._parent["T"] + 1, median(votes))
        seed = self._shown or self.net
        context = Context(self.net, height, time, hashlib.sha256(b"fogledger/v1/beacon\n" + seed).digest())
        outcome = self._executed(ordered, context)
        return {
            "v": 2,
            "net": self.net,
            "epoch": epoch,
            "slot": SLOTS[(height - 1) % EPOCH],
            "height": height,
            "parent": None if self._parent is None else self.ids[-1],
            "cert": Cid.of(self._shown) if self._shown else None,
            "tips": list(tips),
            **outcome,
            "T": time,
            "vnext": set_of(STAKES if epoch == 0 else LATER).id,
        }

    def _executed(self, ordered: list[Event], context: Context) -> dict[str, Any]:
        """The roots; where a lie cannot even be executed, of the event tree alone."""
        roots = bytes(32), bytes(32)
        with contextlib.suppress(AssertionError):
            outcome = cut.execute_cut(self._rules, self._state, self._frontier, ordered, context, EPOCH)
            self._state, roots = outcome.state, (outcome.sroot, outcome.rroot)
        sroot, rroot = self._told(self.lies.executed, context.height, roots)
        ids = [event.id for event in ordered]
        for leaf in cut.leaves(ids, context.height, sroot, rroot):
            self._frontier.append(merkle.leaf_hash(leaf))
        return {
            "delta": order.delta_id(ids),
            "n": self._frontier.n,
            "eroot": self._frontier.root(),
            "sroot": sroot,
            "rroot": rroot,
        }

    def _certificate(self, height: int, id: Cid, fields: dict[str, Any]) -> bytes:
        """Of this height: that it was notarized; at the end of an epoch and of the file, that it is final."""
        ends = height % EPOCH == 0 or height == HEIGHTS
        phase = self._told(self.lies.phase, height, Phase.FINALIZE if ends else Phase.NOTARIZE)
        slot = fields["slot"] + (1 if height % EPOCH == 0 else 0)  # proposed again
        voters = [(name, CREATED + 1_000 * height + at) for at, name in enumerate(VOTERS)]
        votes = [
            SignedVote.make(key(name), Vote(self.net, fields["epoch"], slot, phase, id, ts))
            for name, ts in self._told(self.lies.voters, height, voters)
        ]
        votes = self._told(self.lies.votes, height, votes)
        made = canonical.decode(Certificate.of(votes).encode(), size_max=1 << 16)
        return canonical.encode(self._told(self.lies.certificate, height, made))

    @staticmethod
    def _told(lies: dict[int, Change], height: int, truth: Any) -> Any:
        return lies.get(height, same)(truth)


def median(votes: list[tuple[int, int]]) -> int:
    """The first vote time with half of the voting stake at or before it."""
    weight = 0
    for ts, stake in sorted(votes):
        weight += stake
        if 2 * weight >= sum(stake for _, stake in votes):
            return ts
    raise AssertionError("no votes")


def event_blocks(event: Event) -> list[Block]:
    assert event.body is not None
    return [
        ("event", event.header_bytes),
        ("signature", canonical.encode({"h": event.id, "s": event.signature})),
        ("body", event.body),
    ]


def rewritten(event: Event, author: str, **fields: Any) -> Event:
    """The event with other fields in its header (None leaves one out), signed again by its author."""
    header = canonical.decode(event.header_bytes, size_max=1 << 16) | fields
    data = canonical.encode({name: value for name, value in header.items() if value is not None})
    signature = key(author).sign(Domain.EVENT, data)
    return Event(Cid.of(data), event.header, data, signature, event.body, event.wire)
