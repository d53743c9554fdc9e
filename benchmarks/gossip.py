"""How many events a second does one node tell another, with none missing?

    python -m benchmarks.gossip [--seconds 60] [--rate 2500] [--authors 20] [--body 300] [--tick-ms 50]

Two processes on this machine, each a whole exchange: host, gossip, sync and a replica with a real SQLite
store (WAL, synchronous=FULL). The teller takes in events of many authors (with a body of 300 bytes an event
is some 650 bytes on the wire) at a fixed rate and announces them; the listener verifies and stores them.
What gossip loses, sync repairs. The clock runs from the first event told to the last one stored over there.

Reference, in the same run: the same events from one process to another over one plain TCP connection, where
each is parsed and its signature verified, and that is all: no gossip, no encryption, no chain, no store.

CPU microseconds an event are given beside the rate, because other programs disturb them less. Prints a table
and, last, one line of JSON. Exits with 1 when an event is missing or the rate is below TARGET.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import trio
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import CREATED, NoRules
from fog.exchange import Exchange
from fog.replica_thread import ReplicaThread
from ledger import event as events
from ledger.event import LANE_BULK, Event
from ledger.genesis import Genesis, Validator
from ledger.replica import Replica
from ledger.signing import SigningKey
from ledger.store import Store
from network.host import Host, open_host

TARGET = 2_000  # events a second
GENESIS = Genesis(1, "bench", CREATED, 1, (Validator(SigningKey(bytes(32)).public, 1),), (), {})
LISTEN = ["/ip4/127.0.0.1/tcp/0"]
DONE = b"."
PLAIN_EVENTS = 20_000  # some seconds of them
LATE_S = 60.0  # for what is still on its way after the last event was told


def clock_ms() -> int:
    return time.time_ns() // 1_000_000


def make_events(count: int, authors: int, body: int) -> list[Event]:
    """`authors` bulk lanes in turn, `body` bytes of body in each event."""
    keys = [SigningKey(hashlib.sha256(b"author %d" % n).digest()) for n in range(authors)]
    heads: list[Event | None] = [None] * authors
    filling = os.urandom(body)
    made: list[Event] = []
    for n in range(count):
        prev = heads[n % authors]
        event = events.make(
            keys[n % authors],
            net=GENESIS.net,
            lane=LANE_BULK,
            seq=n // authors,
            prev=None if prev is None else prev.id,
            parents=(),
            lc=1 if prev is None else prev.header.lc + 1,
            ts=CREATED + n,
            kind="telemetry",
            body={"n": n, "data": filling[: max(0, body - 12)]},
        )
        heads[n % authors] = event
        made.append(event)
    return made


class Node:
    """Host, replica and the exchange between them, as `fog` puts them together."""

    def __init__(self, host: Host, exchange: Exchange, ledger: ReplicaThread) -> None:
        self.host, self.exchange, self.ledger = host, exchange, ledger

    @classmethod
    async def start(cls, host: Host, folder: Path, nursery: trio.Nursery) -> Node:
        store = Store.create(f"sqlite:///{folder / 'ledger.db'}", GENESIS)
        ledger = ReplicaThread(Replica.open(store, NoRules(), None, validator=False), clock_ms)
        exchange = await Exchange.open(host, ledger, flush_ms=5)
        await nursery.start(exchange.run)
        return cls(host, exchange, ledger)

    @property
    def stored(self) -> int:
        return self.ledger.replica.metrics.get("admitted", 0)


# -- the listening process


async def listen(folder: Path, address: str, count: int) -> None:
    """Connect, say so, and tell when `count` events are stored (or no more came for LATE_S)."""
    async with open_host(b"\x02" * 32, LISTEN) as host, trio.open_nursery() as nursery:
        node = await Node.start(host, folder, nursery)
        await host.dial(address)
        print("ready", flush=True)
        begun_cpu_s = time.process_time()
        beat = -1
        while node.stored < count:
            with trio.move_on_after(LATE_S) as late:
                beat = await node.ledger.arrived.after(beat)
            if late.cancelled_caught:
                break
        used = resource.getrusage(resource.RUSAGE_SELF)
        numbers = {
            "stored": node.stored,
            "cpu_us_per_event": round(1e6 * (time.process_time() - begun_cpu_s) / max(1, node.stored)),
            "rss_mib": used.ru_maxrss // 1024,
            "counts": dict(sorted(host.counts.items())),
        }
        print(json.dumps(numbers), flush=True)
        nursery.cancel_scope.cancel()


# -- the telling process


async def tell(options: argparse.Namespace, folder: Path, console: Console) -> dict[str, Any]:
    count = options.seconds * options.rate
    console.print(f"signing {count} events …")
    made = make_events(count, options.authors, options.body)
    async with open_host(b"\x01" * 32, LISTEN) as host, trio.open_nursery() as nursery:
        node = await Node.start(host, folder / "teller", nursery)
        command = [sys.executable, "-m", "benchmarks.gossip", "--listener", host.addresses()[0]]
        listener = await trio.lowlevel.open_process(
            [*command, "--count", str(count), "--folder", str(folder / "listener")], stdout=subprocess.PIPE
        )
        assert listener.stdout is not None
        lines = Lines(listener.stdout)
        assert await lines.next() == "ready"
        while not node.exchange._announcer.neighbours:
            await trio.sleep(0.05)
        console.print(f"telling them at {options.rate} a second …")
        load, cpu_s, begun = os.getloadavg()[0], time.process_time(), time.perf_counter()
        await tell_all(node, made, options)
        told_s = time.perf_counter() - begun
        numbers = json.loads(await lines.next())
        whole_s = time.perf_counter() - begun
        cpu_s = time.process_time() - cpu_s
        await listener.wait()
        nursery.cancel_scope.cancel()
    reference = await trio.to_thread.run_sync(plain, made[:PLAIN_EVENTS])
    return {
        "events": count,
        "missing": count - numbers["stored"],
        "events_per_s": round(numbers["stored"] / whole_s),
        "offered_per_s": round(count / told_s),
        "whole_s": round(whole_s, 2),
        "plain_tcp_and_verify_per_s": round(reference),
        "wire_bytes": len(made[-1].wire),
        "listener_cpu_us_per_event": numbers["cpu_us_per_event"],
        "listener_rss_mib": numbers["rss_mib"],
        "teller_cpu_us_per_event": round(1e6 * cpu_s / count),
        "load_before": round(load, 2),
        "dropped": sum(n for key, n in numbers["counts"].items() if ".dropped" in key)
        + sum(n for key, n in host.counts.items() if ".dropped" in key),
        "by_sync": sum(n for key, n in numbers["counts"].items() if key == "sync.synced"),
    }


async def tell_all(node: Node, made: list[Event], options: argparse.Namespace) -> None:
    """Take in and announce what is due, tick by tick."""
    begun = trio.current_time()
    step = max(1, options.rate * options.tick_ms // 1000)
    for at in range(0, len(made), step):
        await trio.sleep_until(begun + at / options.rate)
        wires = [event.wire for event in made[at : at + step]]
        taken = await node.ledger.call(node.ledger.replica.ingest, wires, peer="here", now=clock_ms())
        assert len(taken.admitted) == len(wires), taken
        await node.exchange.announce(wires)


# -- the reference


def plain(made: list[Event]) -> float:
    """Events a second over a bare socket, parsed and verified by the process at the other end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [sys.executable, "-m", "benchmarks.gossip", "--plain", str(port), "--count", str(len(made))]
        with subprocess.Popen(command):
            connection, _ = server.accept()
            with connection:
                begun = time.perf_counter()
                for event in made:
                    connection.sendall(len(event.wire).to_bytes(4, "big") + event.wire)
                assert connection.recv(1) == DONE, "the other end left early"
                return len(made) / (time.perf_counter() - begun)


def read_plainly(port: int, count: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as wires:
        for _ in range(count):
            events.parse(wires.read(int.from_bytes(wires.read(4), "big")), net=GENESIS.net)
        connection.sendall(DONE)


class Lines:
    """Lines of a process's output."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream, self._rest = stream, b""

    async def next(self) -> str:
        while b"\n" not in self._rest:
            chunk = await self._stream.receive_some()
            assert chunk, "the listener ended early"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


def show(console: Console, numbers: dict[str, Any]) -> None:
    table = Table(title=f"gossip with sync, two processes; target {TARGET} events/s, none missing")
    table.add_column("number")
    table.add_column("value", justify="right")
    for name, value in numbers.items():
        table.add_row(name, f"{value}")
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rate", type=int, default=2_500, help="events offered a second")
    parser.add_argument("--authors", type=int, default=20)
    parser.add_argument("--body", type=int, default=300, help="bytes of each event's body")
    parser.add_argument("--tick-ms", type=int, default=50, help="events are told in bunches so far apart")
    parser.add_argument("--listener", metavar="ADDRESS", help=argparse.SUPPRESS)
    parser.add_argument("--plain", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        read_plainly(options.plain, options.count)
        return 0
    if options.listener:
        trio.run(listen, options.folder, options.listener, options.count)
        return 0
    console = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("teller", "listener"):
            (folder / part).mkdir()
        numbers = trio.run(tell, options, folder, console)
    show(console, numbers)
    print(json.dumps(numbers))
    return int(numbers["missing"] > 0 or numbers["events_per_s"] < TARGET)


if __name__ == "__main__":
    sys.exit(main())
