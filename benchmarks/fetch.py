"""A blob from four peers, one sends garbage and one is killed half way: is it whole, and what did it cost?

    python -m benchmarks.fetch [--mib 1024] [--garbage-after 32] [--alone]

Six processes on this machine: this one, the peers, each a libp2p host with a block store, and the one that
fetches. One peer gives 32 blocks and after that random bytes; another one is killed (SIGKILL, by its pid)
when half of the blob is there. The fetch must end with a blob whose SHA-256 is that of the source, no block
taken twice, and a peak of memory less than RSS_MIB_MAX above what the process had, connected and idle.

References, in the same run: the same bytes from one process to another over a bare TCP connection, hashed and
written to one file there; and a quarter of them fetched from one honest peer. (Not with `--alone`.)

The peers read one and the same folder, so the disk holds the source once. Prints a table and, last, one line
of JSON. Exits with 1 when something of that does not hold.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import trio
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from rich.console import Console
from rich.table import Table

from ledger.blob import BLOCK_SIZE_MAX
from ledger.cid import CID_SIZE, Cid
from network.blobs import BlockStore
from network.blobs_io import Blobs
from network.blobs_serve import PROTOCOL
from network.host import open_host
from network.stream import Stream

RSS_MIB_MAX = 64
LISTEN = ["/ip4/127.0.0.1/tcp/0"]
MIB = 1 << 20
LOOK_S = 0.02
DEADLINE_S = 3_600.0
PARTS_BLOCKS = 256  # for measuring what the parts cost alone


# -- a peer


async def serve(folder: Path, number: int, garbage_after: int | None) -> None:
    """Until standard input ends."""
    async with open_host(number.to_bytes(32, "big"), LISTEN) as host:
        store = BlockStore(folder)
        if garbage_after is None:
            Blobs(host, store)
        else:
            left = garbage_after

            async def lie(stream: Stream, peer: str) -> None:
                nonlocal left
                while True:
                    cid = Cid.checked(await stream.read_frame(size_max=CID_SIZE, timeout_s=DEADLINE_S))
                    block = await trio.to_thread.run_sync(store.get, cid)
                    left -= 1
                    await stream.write_frame(os.urandom(BLOCK_SIZE_MAX) if left < 0 else block or b"")

            host.handle(PROTOCOL, lie)
        print(host.addresses()[0], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


# -- the one that fetches


async def fetch(folder: Path, cid: Cid, addresses: list[str]) -> None:
    """Print `half` when half of it is here, and at the end the numbers."""
    async with open_host(secrets.token_bytes(32), LISTEN) as host, trio.open_nursery() as nursery:
        blobs = Blobs(host, BlockStore(folder))
        nursery.start_soon(blobs.run)
        peers = [await host.dial(address) for address in addresses]
        gc.collect()
        await trio.to_thread.run_sync(gc.collect)  # a thread has its own memory: one that idles has it too
        Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from here
        idle, cpu_s, begun = memory_mib("VmRSS"), time.process_time(), time.perf_counter()
        nursery.start_soon(tell_half, blobs, cid)
        await blobs.fetch(cid, peers)
        whole_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu_s
        peak = memory_mib("VmHWM")
        digest, size = hashlib.sha256(), 0
        for chunk in blobs.store.chunks(cid):
            digest.update(chunk)
            size += len(chunk)
        numbers = {
            "sha256": digest.hexdigest(),
            "size": size,
            "s": whole_s,
            "cpu_s": cpu_s,
            "rss_idle_mib": idle,
            "rss_above_idle_mib": peak - idle,
            "counts": {k: v for k, v in sorted(host.counts.items()) if k.startswith(("blob", "blame"))},
        }
        print(json.dumps(numbers), flush=True)
        nursery.cancel_scope.cancel()


async def tell_half(blobs: Blobs, cid: Cid) -> None:
    while (manifest := blobs.store.manifest(cid)) is None:
        await trio.sleep(LOOK_S)
    while blobs.counts["blob.fetched"] * 2 < len(manifest.chunks):
        await trio.sleep(LOOK_S)
    print("half", flush=True)


def memory_mib(which: str) -> float:
    """`VmRSS` now, or the peak `VmHWM`, of this process."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which)]
    return int(line.split()[1]) / 1024


# -- what the parts cost alone


def parts(folder: Path) -> dict[str, float]:
    """CPU and wall seconds a GiB of what has to be done to every block, one after the other."""
    blocks = [os.urandom(BLOCK_SIZE_MAX) for _ in range(16)]
    gib = PARTS_BLOCKS * BLOCK_SIZE_MAX / 2**30
    cipher, nonce = ChaCha20Poly1305(bytes(32)), bytes(12)
    sealed = [cipher.encrypt(nonce, block[: MIB // 16], None) for block in blocks]
    begun = time.process_time()
    for n in range(PARTS_BLOCKS * 4):
        cipher.decrypt(nonce, sealed[n % 16], None)
    decrypt_s = time.process_time() - begun
    begun = time.process_time()
    for n in range(PARTS_BLOCKS):
        hashlib.sha256(blocks[n % 16]).digest()
    hash_s = time.process_time() - begun
    store = BlockStore(folder)
    fresh = [os.urandom(BLOCK_SIZE_MAX) for _ in range(PARTS_BLOCKS)]
    named = [(Cid.of_raw(block), block) for block in fresh]
    wall, begun = time.perf_counter(), time.process_time()
    for block_cid, block in named:
        store.put(block_cid, block, durable=False)
    return {
        "decrypt_cpu_s_per_gib": decrypt_s / gib,
        "sha256_cpu_s_per_gib": hash_s / gib,
        "store_cpu_s_per_gib": (time.process_time() - begun) / gib,
        "store_one_after_the_other_s_per_gib": (time.perf_counter() - wall) / gib,
    }


# -- the reference: one bare TCP connection


def send_plainly(port: int, folder: Path, cid: Cid) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for chunk in BlockStore(folder).chunks(cid):
            connection.sendall(chunk)


def plain(source: Path, cid: Cid, into: Path) -> tuple[str, float, float]:
    """The digest of what came, wall and CPU seconds of the one that receives."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-m", "benchmarks.fetch", "--plain", str(server.getsockname()[1])]
        with subprocess.Popen([*command, "--folder", str(source), "--cid", str(cid)]):
            connection, _ = server.accept()
            wall, cpu, digest = time.perf_counter(), time.process_time(), hashlib.sha256()
            with connection, connection.makefile("rb") as stream, into.open("wb") as target:
                while chunk := stream.read(BLOCK_SIZE_MAX):
                    digest.update(chunk)
                    target.write(chunk)
                target.flush()
                os.fsync(target.fileno())
            numbers = digest.hexdigest(), time.perf_counter() - wall, time.process_time() - cpu
    into.unlink()
    return numbers


# -- all of them


class Source:
    """Random bytes as a stream, hashed on their way."""

    def __init__(self, size: int) -> None:
        self.left, self.digest = size, hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = os.urandom(min(size, self.left))
        self.left -= len(data)
        self.digest.update(data)
        return data


@contextmanager
def peer(folder: Path, number: int, *more: str) -> Iterator[tuple[str, int]]:
    """A serving process: its address and pid."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.fetch",
        "--serve",
        str(number),
        "--folder",
        str(folder),
        *more,
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process.pid
        finally:
            assert process.stdin is not None
            process.stdin.close()


def fetched(folder: Path, cid: Cid, addresses: list[str], kill: int | None = None) -> dict[str, Any]:
    """The numbers of a process that fetches; `kill` is the pid of a peer that dies when half is there."""
    command = [sys.executable, "-m", "benchmarks.fetch", "--fetch", *addresses, "--cid", str(cid)]
    with subprocess.Popen([*command, "--folder", str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "half":
                if kill is not None:
                    os.kill(kill, signal.SIGKILL)
            else:
                numbers: dict[str, Any] = json.loads(line)
                return numbers
    raise AssertionError("the fetching process ended without a word")


def measure(mib: int, garbage_after: int, folder: Path, *, alone: bool) -> dict[str, Any]:
    source = Source(mib * MIB)
    stored: BinaryIO = source  # type: ignore[assignment]  # only `read` is used
    wall = time.perf_counter()
    cid = BlockStore(folder / "source").add(stored)
    add_s = time.perf_counter() - wall
    with ExitStack() as stack:
        honest = [stack.enter_context(peer(folder / "source", n))[0] for n in (1, 2)]
        mortal, pid = stack.enter_context(peer(folder / "source", 3))
        liar, _ = stack.enter_context(peer(folder / "source", 4, "--garbage-after", str(garbage_after)))
        load = os.getloadavg()[0]
        numbers = fetched(folder / "target", cid, [*honest, mortal, liar], kill=pid)
    counts = numbers["counts"]
    chunks = -(-mib * MIB // BLOCK_SIZE_MAX)
    return {
        "mib": mib,
        "whole_and_verified": numbers["sha256"] == source.digest.hexdigest() and numbers["size"] == mib * MIB,
        "blocks": chunks + 1,
        "blocks_fetched": counts["blob.fetched"],
        "discarded_bytes": counts.get("blob.discarded_bytes", 0),
        "read_beyond_blob_mib": counts["blob.read_bytes"] / MIB - mib,
        "garbage_blamed": counts.get("blame.bad_block", 0),
        "peers_lost": sum(n for key, n in counts.items() if key.startswith("blob.failed.stream")),
        "rss_idle_mib": numbers["rss_idle_mib"],
        "rss_above_idle_mib": numbers["rss_above_idle_mib"],
        "s": numbers["s"],
        "mib_per_s": mib / numbers["s"],
        "cpu_s_per_gib": numbers["cpu_s"] * 1024 / mib,
        "add_mib_per_s": mib / add_s,
        "load_before": load,
        **({} if alone else references(mib, folder, cid)),
    }


def references(mib: int, folder: Path, cid: Cid) -> dict[str, float]:
    quarter: BinaryIO = Source(mib * MIB // 4)  # type: ignore[assignment]  # only `read` is used
    small = BlockStore(folder / "small").add(quarter)
    with peer(folder / "small", 5) as (address, _):
        one = fetched(folder / "one", small, [address])
    _, plain_s, plain_cpu_s = plain(folder / "source", cid, folder / "plain")
    return {
        "one_peer_mib_per_s": mib / 4 / one["s"],
        "one_peer_cpu_s_per_gib": one["cpu_s"] * 4096 / mib,
        "bare_tcp_mib_per_s": mib / plain_s,
        "bare_tcp_cpu_s_per_gib": plain_cpu_s * 1024 / mib,
        **parts(folder / "parts"),
    }


def holds(numbers: dict[str, Any]) -> bool:
    return bool(
        numbers["whole_and_verified"]
        and numbers["blocks_fetched"] == numbers["blocks"]
        and not numbers["discarded_bytes"]
        and numbers["garbage_blamed"]
        and numbers["rss_above_idle_mib"] < RSS_MIB_MAX
    )


def show(console: Console, numbers: dict[str, Any]) -> None:
    table = Table(title=f"a blob from four peers; memory at most {RSS_MIB_MAX} MiB above idle")
    table.add_column("number")
    table.add_column("value", justify="right")
    for name, value in numbers.items():
        table.add_row(name, f"{value:.2f}" if isinstance(value, float) else f"{value}")
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--garbage-after", type=int, metavar="BLOCKS")
    parser.add_argument("--alone", action="store_true", help="without the references")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--fetch", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--plain", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cid", type=Cid.parse, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        trio.run(serve, options.folder, options.serve, options.garbage_after)
        return 0
    if options.fetch:
        trio.run(fetch, options.folder, options.cid, options.fetch)
        return 0
    if options.plain:
        send_plainly(options.plain, options.folder, options.cid)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        numbers = measure(options.mib, options.garbage_after or 32, Path(folder), alone=options.alone)
    show(Console(stderr=True, highlight=False), numbers)
    print(json.dumps(numbers))
    return int(not holds(numbers))


if __name__ == "__main__":
    sys.exit(main())
