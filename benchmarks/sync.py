"""What does it cost two nodes to find and fetch what they do not both hold?

    python -m benchmarks.sync [--items 200000] [--lanes 10000] [--events 12000] [--folder FOLDER]

Three parts, each with differences of which one side lacks one half and the other side the other half; both
ask in turn, and both end equal, which is checked. Bytes and round trips are those of both sessions together,
without the events themselves.

    sets     200,000 unordered events as `ledger.holdings` keeps them, by clock and id (the ids are made up,
             no event is signed); the frames of `ledger.reconcile`, and the questions by id that follow; the
             differences lie at the end of the log (contiguous) or anywhere (scattered)
    lanes    10,000 heads of lanes as `ledger.holdings` keeps them, some of which are at another seq
    nodes    two replicas with real SQLite stores and 12,000 signed events of 40 lanes in each, over libp2p on
             loopback; all that is on the streams but the events: the last of each lane (contiguous), or
             rivals of forks anywhere, which no head shows (scattered)

`--events 200000` has as many real ones as a node holds without an order, differences included. That takes
160 s of CPU time, most of it to sign, store and open stores. Printed once, without the events:

    contiguous  0: 157 bytes, 1 round trip        scattered  1: 3,746 bytes, 8 round trips
                1: 2,149, 6                                  100: 86,425, 9
                100: 3,968 (39.7 each), 6                    1,000: 467,874, 23
                2,000: 32,923 (16.5 each), 8
                10,000: 96,827 (9.7 each), 12

Reference, in the same run: the bytes of naming everything, that is each side's ids (32 bytes each) or heads;
and what no protocol that names ids can do without, 32 bytes a difference.

Prints a table and, last, one line of JSON. Exits with 1, and says what, when equal nodes take more than one
round trip or EQUAL_BYTES_MAX, one difference more than ONE_MAX, or 100 and more contiguous differences more
than CONTIGUOUS_BYTES_MAX each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import gt
from pathlib import Path
from typing import Any

import trio
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import CREATED, NoRules
from fog.replica_thread import ReplicaThread
from ledger import event as events
from ledger.admission import UNORDERED_MAX
from ledger.cid import Cid
from ledger.event import Event
from ledger.genesis import Genesis, Validator
from ledger.holdings import UNORDERED_WIDTH, frontier_set, id_of, unordered_item
from ledger.item_set import ID_SIZE, ItemSet
from ledger.reconcile import FRAME_MAX, Initiator, answer, lacking
from ledger.reconcile_frames import SALT_SIZE
from ledger.replica import Replica
from ledger.signing import SigningKey
from ledger.store import Store
from network.host import open_host
from network.sync_actions import Delivered
from network.sync_answering import Answering
from network.sync_io import Sync
from network.sync_messages import ANSWER_BYTES_MAX, IDS_MAX, PROTOCOL, GetIds, encode

EQUAL_BYTES_MAX = 400
CONTIGUOUS_BYTES_MAX = 1.3 * ID_SIZE
CONTIGUOUS_MIN = 100  # differences from which on their number, and no longer the way to them, is what counts
ONE_MAX = {"contiguous": (6, 2_400), "scattered": (10, 4_000)}
"""(round trips, bytes) for one difference: both ask, and go down some levels of fingerprints."""
DIFFERENCES = (0, 1, 100, 10_000)
NODE_DIFFERENCES = {"contiguous": (0, 1, 100, 2_000), "scattered": (1, 100, 1_000)}
MANY_EVENTS = 100_000  # from so many on, real nodes meet with 10,000 contiguous differences as well
AT_ONCE = 2_000  # events handed to a replica together
EVENT_SIZE = 400  # bytes of a typical event: how many come at once in answer to lists
SALT = bytes(SALT_SIZE)
FRAMING = 4  # bytes of length before each frame on a stream
GENESIS = Genesis(1, "bench", CREATED, 1, (Validator(SigningKey(bytes(32)).public, 1),), (), {})
LISTEN = ["/ip4/127.0.0.1/tcp/0"]


@dataclass
class Cost:
    """Of both sessions together."""

    differences: int
    bytes: int = 0
    round_trips: int = 0
    seconds: float = 0.0
    reference: int = 0  # bytes of naming everything

    def row(self) -> dict[str, Any]:
        each = round(self.bytes / self.differences, 1) if self.differences else None
        return {
            "bytes": self.bytes,
            "bytes_per_difference": each,
            "round_trips": self.round_trips,
            "ms": round(1000 * self.seconds, 1),
            "reference_bytes": self.reference,
            "least_bytes": ID_SIZE * self.differences,
        }


# -- sets and lanes: the real structures and frames, without a network


def session(ours: ItemSet, theirs: ItemSet, cost: Cost, *, direct: bool) -> ItemSet:
    """What one side holds after it asked the other."""
    initiator = Initiator(ours, direct=direct, differs=not direct, salt=SALT if direct else b"")
    found: list[bytes] = []
    while (question := initiator.question()) is not None:
        cost.bytes += len(question) + 2 * FRAMING
        cost.round_trips += 1
        if initiator.is_listing:
            cost.bytes += SALT_SIZE
            names = lacking(theirs, question, SALT)
            given = list(islice(names, ANSWER_BYTES_MAX // EVENT_SIZE))
            initiator.given(given)
            initiator.given_all(cut=next(names, None) is not None)
            found += given
            continue
        frame = answer(theirs, question, FRAME_MAX, direct=direct)
        cost.bytes += len(frame)
        new = initiator.receive(frame)
        found += new
        if direct:
            ask_by_id(new, cost)
    return ours.changed(added=found)


def ask_by_id(items: Sequence[bytes], cost: Cost) -> None:
    for at in range(0, len(items), IDS_MAX):
        asked = tuple(id_of(item) for item in items[at : at + IDS_MAX])
        cost.bytes += len(encode(GetIds(asked))) + 2 * FRAMING
        cost.round_trips += 1


def both_ask(one: ItemSet, other: ItemSet, differences: int, *, direct: bool) -> Cost:
    cost = Cost(differences)
    begun = time.perf_counter()
    one_then = session(one, other, cost, direct=direct)
    other_then = session(other, one_then, cost, direct=direct)
    cost.seconds = time.perf_counter() - begun
    assert not direct or one_then == other_then, "they did not end equal"
    return cost


def chosen(count: int, differences: int, where: str) -> tuple[set[int], set[int]]:
    """Places in a log that one side lacks, and that the other side lacks."""
    chance = random.Random(f"{differences} {where}")
    tail = range(count - differences, count)
    places = list(tail) if where == "contiguous" else chance.sample(range(count), differences)
    chance.shuffle(places)
    return set(places[::2]), set(places[1::2])


def sets(count: int) -> dict[str, dict[str, Any]]:
    chance = random.Random(count)
    log = [unordered_item(1 + at // 4, Cid.of(chance.randbytes(32))) for at in range(count)]
    rows = {}
    for where in ("contiguous", "scattered"):
        for differences in DIFFERENCES:
            lacks = chosen(count, differences, where)
            one, other = (
                ItemSet.of((item for at, item in enumerate(log) if at not in some), width=UNORDERED_WIDTH)
                for some in lacks
            )
            cost = both_ask(one, other, differences, direct=True)
            cost.reference = ID_SIZE * (len(one) + len(other))
            rows[f"{where}.{differences}"] = cost.row()
    return rows


def lanes(count: int) -> dict[str, dict[str, Any]]:
    """Heads that differ are found by both, since either may be the one that is behind."""
    chance = random.Random(count)
    heads = {(chance.randbytes(32), 0): (at, Cid.of(chance.randbytes(32))) for at in range(count)}
    rows = {}
    for differences in DIFFERENCES:
        moved = set(chance.sample(sorted(heads), min(differences, count)))
        ahead = {
            lane: (seq + 1, Cid.of(tip)) if lane in moved else (seq, tip)
            for lane, (seq, tip) in heads.items()
        }
        one, other = frontier_set(heads), frontier_set(ahead)
        cost = both_ask(one, other, len(moved), direct=False)
        cost.reference = 2 * count * one.width
        rows[f"heads.{len(moved)}"] = cost.row()
    return rows


# -- nodes: signed events, stores, libp2p


class Writer:
    """The author of one lane."""

    def __init__(self, number: int) -> None:
        self.key = SigningKey(hashlib.sha256(b"author %d" % number).digest())
        self.lane: list[Event] = []

    def event(self, mark: int = 0, *, at: int | None = None) -> Event:
        """The next of the lane, or a rival of the one at this place."""
        seq = len(self.lane) if at is None else at
        made = events.make(
            self.key,
            net=GENESIS.net,
            lane=0,
            seq=seq,
            prev=self.lane[seq - 1].id if seq else None,
            parents=(),
            lc=seq + 1,
            ts=CREATED + seq,
            kind="transfer",
            body={"to": self.key.public, "amount": mark, "memo": "for the hours lent"},
        )
        if at is None:
            self.lane.append(made)
        return made


class Log:
    """Signed events of 40 lanes, once for all meetings, and a store that holds those that everybody has."""

    def __init__(self, folder: Path, count: int) -> None:
        most = max(sum(differences(count).values(), ()))
        self._writers = [Writer(number) for number in range(40)]
        self._count = count
        self._events = [self._writers[at % 40].event(at) for at in range(count + most)]
        self._base = self._common(most)
        self._path = folder / "base.db"
        store = Store.create(f"sqlite:///{self._path}", GENESIS)
        take_in(Replica.open(store, NoRules(), None, validator=False), self._events[: self._base])
        store.close()

    def _common(self, differing: int) -> int:
        """How many both hold. Together they hold no more than a node does without an order."""
        return min(self._count, UNORDERED_MAX - differing)

    def split(self, differing: int, where: str) -> tuple[list[Event], list[Event], list[Event]]:
        """What both hold beside the store, and what either has besides, parents first."""
        common = self._common(differing)
        both = self._events[self._base : common]
        if where == "contiguous":  # each side has gone on with lanes of its own
            more = self._events[common : common + differing]
            return both, more[0::2], more[1::2]
        places = random.Random(differing).sample(range(40, common), differing)
        rivals = [self._writers[at % 40].event(-at % 2**40, at=at // 40) for at in places]
        return both, rivals[0::2], rivals[1::2]

    def held(self, differing: int) -> int:
        """Events in each store."""
        return self._common(differing) + differing // 2

    def copy(self, to: Path) -> Store:
        shutil.copyfile(self._path, to)
        return Store.open(f"sqlite:///{to}")


def differences(count: int) -> dict[str, tuple[int, ...]]:
    """Of real nodes with so many events."""
    more = (10_000,) if count >= MANY_EVENTS else ()
    return NODE_DIFFERENCES | {"contiguous": NODE_DIFFERENCES["contiguous"] + more}


def take_in(replica: Replica, held: Sequence[Event]) -> None:
    wires = [event.wire for event in held]
    for at in range(0, len(wires), AT_ONCE):
        result = replica.ingest(wires[at : at + AT_ONCE], peer="here", now=CREATED + 10**9)
        assert not [*result.rejected, *result.missing], "the log is not in order"


class Node:
    """A replica, and sync between it and a peer."""

    def __init__(self, store: Store, held: Sequence[Event]) -> None:
        replica = Replica.open(store, NoRules(), None, validator=False)
        take_in(replica, held)
        self.ledger = ReplicaThread(replica, lambda: CREATED + 10**9)
        self.event_bytes = 0

    async def take(self, wires: Sequence[bytes], peer: str) -> Delivered:
        self.event_bytes += sum(map(len, wires))
        replica = self.ledger.replica
        taken = await self.ledger.call(replica.ingest, wires, peer=peer, now=CREATED + 10**9)
        return Delivered(len(taken.admitted), tuple(taken.missing))

    async def no_checkpoints(self, *what: object) -> Delivered:
        raise AssertionError("nothing is ordered here")


async def meet(folder: Path, log: Log, differing: int, where: str) -> Cost:
    both, ones, others = log.split(differing, where)
    one = Node(log.copy(folder / "one.db"), [*both, *ones])
    other = Node(log.copy(folder / "other.db"), [*both, *others])
    cost = Cost(differing, reference=ID_SIZE * 2 * log.held(differing))
    async with (
        open_host(b"\x01" * 32, LISTEN) as a,
        open_host(b"\x02" * 32, LISTEN) as b,
        trio.open_nursery() as nursery,
    ):
        syncs = [Sync(h, n.ledger, n.take, n.no_checkpoints) for h, n in ((a, one), (b, other))]
        for host, node in ((a, one), (b, other)):
            host.handle(PROTOCOL, Answering(host, node.ledger).answer)  # and ask only when told to
        peers = [await a.dial(b.addresses()[0]), a.peer_id]
        begun = time.perf_counter()
        for sync, peer in zip(syncs, peers, strict=True):
            await sync.pull(peer)
            if differing == 0:
                break
        cost.seconds = time.perf_counter() - begun
        assert await one.ledger.hello() == await other.ledger.hello(), "they did not end equal"
        counts = a.counts + b.counts
        cost.bytes = counts["sync.bytes_in"] + counts["sync.bytes_out"] - one.event_bytes - other.event_bytes
        cost.round_trips = counts["sync.questions"]
        nursery.cancel_scope.cancel()
    one.ledger.replica.store.close()
    other.ledger.replica.store.close()
    return cost


def nodes(count: int, folder: Path | None) -> dict[str, dict[str, Any]]:
    rows = {}
    with tempfile.TemporaryDirectory(dir=folder) as base:
        log = Log(Path(base), count)
        for where, some in differences(count).items():
            for differing in some:
                with tempfile.TemporaryDirectory(dir=base) as name:
                    cost = trio.run(meet, Path(name), log, differing, where)
                rows[f"{where}.{differing}"] = cost.row() | {"events": log.held(differing)}
    return rows


# -- what comes of it


def show(console: Console, parts: dict[str, dict[str, dict[str, Any]]]) -> None:
    table = Table(title="finding what two nodes do not both hold, both asking in turn; without the events")
    columns = ("bytes", "bytes_per_difference", "round_trips", "ms", "reference_bytes", "least_bytes")
    table.add_column("part")
    for name in ("bytes", "a difference", "round trips", "ms", "naming all", "32 B a difference"):
        table.add_column(name, justify="right")
    for part, rows in parts.items():
        for name, row in rows.items():
            shown = ("" if row[column] is None else f"{row[column]:,}" for column in columns)
            table.add_row(f"{part} {name.replace('.', ' ')}", *shown)
    console.print(table)


def misses(parts: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    """What was promised of sync and does not hold here."""
    equal = parts["nodes"]["contiguous.0"]
    if equal["round_trips"] != 1 or equal["bytes"] >= EQUAL_BYTES_MAX:
        yield f"two equal nodes take {equal['round_trips']} round trips and {equal['bytes']} bytes"
    for part in ("sets", "nodes"):
        for name, row in parts[part].items():
            where, _, count = name.partition(".")
            if count == "1" and any(map(gt, (row["round_trips"], row["bytes"]), ONE_MAX[where])):
                yield f"{part}, {where}: one costs {row['round_trips']} round trips, {row['bytes']} bytes"
            each = row["bytes_per_difference"]
            if where == "contiguous" and int(count) >= CONTIGUOUS_MIN and each > CONTIGUOUS_BYTES_MAX:
                yield f"{part}, {where}: each of {count} costs {each} bytes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--lanes", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=12_000)
    parser.add_argument("--folder", type=Path, help="where to put the stores (default: a temporary folder)")
    given = parser.parse_args()
    console = Console(stderr=True, highlight=False, width=120)
    work: dict[str, Callable[[], dict[str, dict[str, Any]]]] = {
        "sets": lambda: sets(given.items),
        "lanes": lambda: lanes(given.lanes),
        "nodes": lambda: nodes(given.events, given.folder),
    }
    parts = {}
    for name, part in work.items():
        console.print(f"{name} …")
        parts[name] = part()
    show(console, parts)
    print(json.dumps({"items": given.items, "lanes": given.lanes, "events": given.events, **parts}))
    if missed := list(misses(parts)):
        raise SystemExit("\n".join(missed))


if __name__ == "__main__":
    main()
