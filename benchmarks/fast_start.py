"""How soon does a new node answer for a network of many accounts, if it begins from a snapshot?

    python -m benchmarks.fast_start [--accounts 100000] [--slice 8000] [--folder FOLDER]

A real node A, whose ledger stands at height HEIGHT with so many accounts and as many events before it; a new
node B that joined it with `--fast`, over loopback, both with real SQLite stores. The state and the leaves of
A are made up (one account a leaf, as if each had been paid once) and signed by its only validator; all that B
does with them is what it would do with others, and ends with a balance out of its HTTP API at that height.
Then A pays somebody, and both have to come to the same state.

Reference, in the same run: a replica with a store that executes `--slice` transfers, really made, from their
signatures to the read models, as a node does that begins with genesis; extrapolated to as many transfers as
there are accounts. Neither a process nor a network is in that, so it is less than such a node takes.

Prints, last, one line of JSON. `cpu_s` is B's own time on the processors, from the start of the process to
the answer, of which other programs take no part; `giver_cpu_s` is A's. Exits with 1 when B takes more than
SERVES_S_MAX (where the machine is busy with other things: both CPU times together), or the states differ.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from domain.rules import FogRules
from domain.rules.records import ACCOUNT, Account
from fog import keys, players
from fog.methods import WalletSend
from fog.paths import DataDir
from fog.players import LOOPBACK, Player, fog
from ledger import event as events
from ledger.checkpoint import VERSION, Checkpoint
from ledger.cid import Cid
from ledger.cut import genesis_state
from ledger.finality import Last
from ledger.genesis import Genesis
from ledger.merkle import Frontier, leaf_hash
from ledger.replica import Replica
from ledger.shelf import Shelf
from ledger.signing import SigningKey
from ledger.snapshot import LEAVES_PER_PART, Snapshot
from ledger.state import State
from ledger.store import Store
from ledger.validators import genesis_set
from ledger.votes import Certificate, Phase, SignedVote, Vote
from projections.runner import Runner

SERVES_S_MAX: Final = 10.0
HEIGHT: Final = 50
EACH: Final = 1_000
"""Micro-credits of each account."""

PATIENCE_S: Final = 600.0
"""On a machine that does a dozen other things at once, a node takes minutes to start."""

QUIET: Final = {"FOG_WORKER_ENABLED": "false", "FOG_LOG_LEVEL": "info"}


def account(number: int) -> bytes:
    return hashlib.sha256(b"account %d" % number).digest()


# -- what A knows


def made_up(genesis: Genesis, key: SigningKey, accounts: int) -> Snapshot:
    """A ledger with so many accounts, final at HEIGHT by the word of its only validator."""
    state = with_accounts(genesis_state(FogRules(), genesis), key.public, accounts).seal()
    hashes = [leaf_hash(b"event %d" % number) for number in range(accounts)]
    frontier = Frontier()
    for one in hashes:
        frontier.append(one)
    parent = Cid.of(b"the checkpoint before")
    shown = certificate(genesis, key, Phase.NOTARIZE, HEIGHT - 1, parent)
    now = time.time_ns() // 1_000_000
    checkpoint = Checkpoint(
        v=VERSION,
        net=genesis.net,
        epoch=0,
        slot=HEIGHT,
        height=HEIGHT,
        parent=parent,
        cert=shown.id,
        tips=(),
        delta=Cid.of(b"what was ordered last"),
        n=accounts,
        eroot=frontier.root(),
        sroot=state.root,
        rroot=bytes(32),
        T=now,
        vnext=genesis_set(genesis).id,
    )
    final = certificate(genesis, key, Phase.FINALIZE, HEIGHT, checkpoint.id)
    leaves = [b"".join(hashes[at : at + LEAVES_PER_PART]) for at in range(0, accounts, LEAVES_PER_PART)]
    return Snapshot(Last(checkpoint, final), shown.encode(), frontier, state, leaves, ())


def with_accounts(state: State, treasurer: bytes, accounts: int) -> State:
    """Each was paid by the one who had all; the total stays."""
    row = state.get(ACCOUNT.name, treasurer)
    assert row is not None
    left = ACCOUNT.decode(row).free - EACH * accounts
    paid = ACCOUNT.encode(Account(EACH, 0))
    rows = [((ACCOUNT.name, account(number)), paid) for number in range(accounts)]
    return state.change([((ACCOUNT.name, treasurer), ACCOUNT.encode(Account(left, 0))), *rows])


def certificate(genesis: Genesis, key: SigningKey, phase: Phase, slot: int, about: Cid) -> Certificate:
    vote = Vote(genesis.net, 0, slot, phase, about, time.time_ns() // 1_000_000)
    return Certificate.of([SignedVote.make(key, vote)])


def founded(home: DataDir) -> tuple[Genesis, SigningKey]:
    fog(home, "init", "--name", "bench")
    return home.read_genesis(), keys.load(home.key, passphrase=None)


def prepare(home: DataDir, accounts: int) -> dict[str, float]:
    """A's store, and what its snapshot comes to."""
    genesis, key = founded(home)
    snapshot = made_up(genesis, key, accounts)
    store = Store.begin(home.store_url, genesis, snapshot)
    Runner(store).catch_up()
    shelf = Shelf(Replica.open(store, FogRules(), key, validator=True, state=snapshot.state))
    begun = time.perf_counter()
    manifest = shelf.offer(0)
    cut_s = time.perf_counter() - begun
    assert manifest is not None
    rows = sum(len(shelf.part(manifest.id, ("rows", at)) or b"") for at in range(len(manifest.cuts)))
    store.close()
    size = rows + 32 * accounts + len(manifest.encode())
    return {"snapshot_mib": size / 2**20, "parts": len(manifest.cuts), "cut_s": cut_s}


def pay_many(home: DataDir, count: int) -> int:
    """D's store: so many transfers, really made. The height that they take."""
    genesis, key = founded(home)
    store = Store.create(home.store_url, genesis)
    replica = Replica.open(store, FogRules(), key, validator=True)
    before: events.Event | None = None
    now = time.time_ns() // 1_000_000
    for first in range(0, count, 2_000):
        wires = []
        for number in range(first, min(first + 2_000, count)):
            before = events.make(
                key,
                net=genesis.net,
                lane=0,
                seq=number,
                prev=None if before is None else before.id,
                parents=(),
                lc=number + 1,
                ts=now,
                kind="transfer",
                body={"to": account(number), "amount": EACH, "memo": ""},
            )
            wires.append(before.wire)
        taken = replica.ingest(wires, peer="bench", now=now)
        assert not taken.rejected, taken.rejected[:1]
        replica.step(now + first)
    while replica.unordered():
        replica.step(time.time_ns() // 1_000_000)
    height = replica.height
    Runner(store).catch_up()
    store.close()
    return height


# -- nodes


@contextlib.contextmanager
def running(home: DataDir) -> Iterator[Player]:
    with players.node(home, QUIET) as player:
        yield player


@contextlib.contextmanager
def process(home: DataDir, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A node that nobody waits for."""
    command = [sys.executable, "-m", "fog", "--data-dir", str(home.root), "node"]
    with (home.root / "node.log").open("ab") as log:
        settings = {**os.environ, **LOOPBACK, **QUIET, "FOG_API_PORT": str(port)}
        node = subprocess.Popen(command, stdout=log, stderr=log, env=settings)
    try:
        yield node
    finally:
        node.terminate()
        node.wait(30)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def ask(port: int, path: str) -> Any:
    """GET; None while there is nobody."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError:
        raise
    except OSError:
        return None


def cpu_s(pid: int) -> float:
    """User and system time of a process so far (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def until(found: Any, node: subprocess.Popen[bytes], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and node.poll() is None:
        answer = found()
        if answer:
            return answer
        time.sleep(0.02)
    raise SystemExit(f"{what} did not happen; the node {'runs' if node.poll() is None else 'ended'}")


def fast(folder: Path, a: Player, accounts: int) -> dict[str, Any]:
    home = DataDir(folder / "b")
    fog(home, "join", a.ask("invite")["line"], "--fast")
    port = free_port()
    path = f"/v1/balances/{account(accounts // 2).hex()}"
    begun, before = time.perf_counter(), cpu_s(a.process.pid)
    with process(home, port) as node:
        answer = until(lambda: ask(port, path), node, "an answer of B")
        serves_s, used_s = time.perf_counter() - begun, cpu_s(node.pid)
        giver_s = cpu_s(a.process.pid) - before
        assert answer["height"] >= HEIGHT, answer
        assert answer["item"]["free"]["value"] == str(EACH), answer
        paid = a.ask("wallet.send", WalletSend(to=account(1).hex(), amount=5))["height"]
        theirs = until(lambda: checkpoint_of(port, paid), node, "the tail in B")
        ours = a.read(f"/v1/checkpoints/{paid}")["item"]
        tail = ask(port, f"/v1/balances/{account(1).hex()}")
    same = ours == theirs and tail["item"]["free"]["value"] == str(EACH + 5)
    numbers = {"serves_s": serves_s, "cpu_s": used_s, "giver_cpu_s": giver_s}
    return numbers | {"same_state_after_the_tail": same}


def checkpoint_of(port: int, height: int) -> Any:
    try:
        answer = ask(port, f"/v1/checkpoints/{height}")
    except urllib.error.HTTPError:
        return None
    return None if answer is None else answer["item"]


def replayed(folder: Path, count: int, accounts: int) -> dict[str, Any]:
    """What a node without a snapshot does, without the network between: signatures, execution, its tables."""
    source = DataDir(folder / "d")
    height = pay_many(source, count)
    genesis = source.read_genesis()
    given, store = Store.open(source.store_url), Store.create(f"sqlite:///{folder}/c.db", genesis)
    replica, runner = Replica.open(store, FogRules(), None, validator=False), Runner(store)
    now = time.time_ns() // 1_000_000 + 60_000
    begun, used = time.perf_counter(), time.process_time()
    while replica.height < height:
        links, final = given.run(replica.height + 1, 1)
        taken = replica.ingest(list(given.wires(given.order(replica.height + 1)).values()), peer="d", now=now)
        assert not taken.rejected, taken.rejected[:1]
        replica.apply(links, final, now)
        runner.catch_up()
    took, used = time.perf_counter() - begun, time.process_time() - used
    given.close()
    store.close()
    return {
        "transfers_measured": count,
        "replay_us_each": 1e6 * took / count,
        "replay_s_extrapolated": took * accounts / count,
        "replay_cpu_s_extrapolated": used * accounts / count,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--slice", type=int, default=8_000)
    parser.add_argument("--folder", type=Path, help="where to put the stores (default: a temporary folder)")
    given = parser.parse_args()
    players.START_S_MAX = PATIENCE_S  # type: ignore[misc]
    console = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        console.print(f"a ledger of {given.accounts:,} accounts …")
        numbers: dict[str, Any] = {
            "accounts": given.accounts,
            **prepare(DataDir(folder / "a"), given.accounts),
        }
        console.print("a node that begins from its snapshot …")
        with running(DataDir(folder / "a")) as a:
            numbers |= fast(folder, a, given.accounts)
        console.print(numbers)
        console.print(f"executing {given.slice:,} transfers …")
        numbers |= replayed(folder, given.slice, given.accounts)
    numbers["load"] = os.getloadavg()[0]
    rounded = {key: round(value, 2) if isinstance(value, float) else value for key, value in numbers.items()}
    console.print(rounded)
    print(json.dumps(rounded))
    is_busy = numbers["load"] > (os.cpu_count() or 1)
    needs_s = numbers["cpu_s"] + numbers["giver_cpu_s"] if is_busy else numbers["serves_s"]
    return int(needs_s > SERVES_S_MAX or not numbers["same_state_after_the_tail"])


if __name__ == "__main__":
    sys.exit(main())
