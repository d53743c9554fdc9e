"""A small network in one process: named keys, a genesis, authors who sign at will, and replicas."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from ledger import event as events
from ledger.cid import Cid
from ledger.event import LANE_LEDGER, Event
from ledger.finality import Last
from ledger.genesis import Allocation, Genesis, Validator
from ledger.reactions import Applied
from ledger.replica import Replica
from ledger.signing import SigningKey
from ledger.store import Store
from tests.ledger.paying import PayingRules, balance

START = 1_700_000_000_000


def key_of(name: str) -> SigningKey:
    return SigningKey(hashlib.sha256(name.encode()).digest())


def make_genesis(*, anchor: str = "anchor", **balances: int) -> Genesis:
    accounts = sorted((key_of(name).public, amount) for name, amount in balances.items())
    return Genesis(
        v=1,
        name="test",
        created=START,
        rules=1,
        validators=(Validator(key_of(anchor).public, 1),),
        accounts=tuple(Allocation(account, amount) for account, amount in accounts),
        params={},
    )


def pay(to: str, amount: int) -> dict[str, Any]:
    return {"to": key_of(to).public, "amount": amount}


class Author:
    """Signs events on its lane by hand, so that it can also lie. `head` is the event it goes on from."""

    def __init__(self, genesis: Genesis, name: str, lane: int = LANE_LEDGER) -> None:
        self.net = genesis.net
        self.key = key_of(name)
        self.lane = lane
        self.head: Event | None = None

    def says(self, body: dict[str, Any] | bytes, *, seen: Sequence[Event] = (), **lies: Any) -> Event:
        """The next event. `seen` become its parents; `lies` replace fields (seq, lc, ts, prev, kind, net)."""
        prev = lies.pop("after", self.head)
        above = [event.header.lc for event in (*seen, prev) if event is not None]
        fields: dict[str, Any] = {
            "net": self.net,
            "lane": self.lane,
            "seq": 0 if prev is None else prev.header.seq + 1,
            "prev": None if prev is None else prev.id,
            "parents": tuple(event.id for event in seen),
            "lc": 1 + max(above, default=0),
            "ts": START + 1_000 if prev is None else prev.header.ts + 1,
            "kind": "pay",
            "body": body,
        }
        self.head = events.make(self.key, **(fields | lies))
        return self.head

    def fork(self, one: dict[str, Any], other: dict[str, Any]) -> tuple[Event, Event]:
        """Two different events at the next place; goes on from the first."""
        before = self.head
        second = self.says(other)
        return self.says(one, after=before), second


def replica(
    genesis: Genesis,
    name: str | None = None,
    *,
    validator: bool = False,
    url: str = "sqlite://",
    rules: PayingRules | None = None,
) -> Replica:
    """A new replica with an empty store (in memory, unless `url` says otherwise)."""
    key = None if name is None else key_of(name)
    return Replica.open(Store.create(url, genesis), rules or PayingRules(), key, validator=validator)


def anchor(genesis: Genesis, **options: Any) -> Replica:
    return replica(genesis, "anchor", validator=True, **options)


def wires(given: Iterable[Event]) -> list[bytes]:
    return [event.wire for event in given]


def feed(node: Replica, *given: Event, now: int = START + 5_000, peer: str = "peer") -> Any:
    return node.ingest(wires(given), peer=peer, now=now)


def finalize(node: Replica, now: int = START + 5_000) -> Last | None:
    """Let a sole validator do what there is to do; the last checkpoint, if one became final."""
    return node.last if node.step(now).final else None


def follow(node: Replica, leader: Replica, *, now: int = START + 5_000) -> None:
    """Bring `node` to where `leader` is, as sync would: events first, then checkpoints in height order."""
    while node.height < leader.height:
        links, final = leader.store.run(node.height + 1, 24)
        while not isinstance(answer := node.apply(links, final, now), Applied):
            given = leader.store.wires(answer.ids)
            assert set(given) == set(answer.ids), "the leader lacks what it ordered"
            node.ingest(list(given.values()), peer="leader", now=now)


def codes(node: Replica) -> dict[Cid, str]:
    """The receipt codes of all final events."""
    return {
        line.event_id: line.receipt.code
        for line in node.store.finalized(0, 10_000)
        if line.event_id is not None
    }


def money(node: Replica, *names: str) -> dict[str, int]:
    return {name: balance(node.state, key_of(name).public) for name in names}
