"""Real messages, files and lines for the corpus: by target, (label, bytes)."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import wasmtime

from domain.compute.spec import Input, JobSpec, Output, OutputFile, Run, ShardResult
from fog import invite
from ledger import archive, canonical, car, reconcile
from ledger.cid import Cid
from ledger.genesis import Allocation, Genesis, Validator
from ledger.item_set import ItemSet
from ledger.reconcile_frames import encode_frame
from ledger.store import Store
from network import fleet, gossip, sync_messages
from projections import pages
from tests.fuzz.cast import NET, SIGNERS
from tests.fuzz.real_events import MOMENT, VECTORS, Real, an_event
from tests.fuzz.targets_finality import make_vote
from tests.fuzz.targets_network import HELD, WIDTH
from tests.ledger.histories import History, talk
from tests.nodes import programs

PEER = "12D3KooWGjMCwTRAzGLSkXZnMqzMVdYtZNVgR7q7gnTz8bVqB8zR"
ADDRESSES = [
    f"/ip4/192.0.2.7/tcp/7419/p2p/{PEER}",
    f"/ip6/2001:db8::7/tcp/7419/ws/p2p/{PEER}",
    f"/ip4/127.0.0.1/tcp/1/p2p/{PEER}",
    f"/dns4/node.example/tcp/443/wss/p2p/{PEER}",
    "/memory/fog",
]


def words(*names: str) -> Callable[[], Real]:
    """Those of the pinned words of sync whose label has one of these in it."""

    def given() -> Real:
        for label, text in json.loads((VECTORS / "sync_words.json").read_text()).items():
            if any(name in label for name in names):
                yield label, bytes.fromhex(text)

    return given


def questions() -> Real:
    yield from words("get", "range", "id", "bye")()
    yield "snapshot", sync_messages.encode(sync_messages.GetSnapshot(7))
    yield "part", sync_messages.encode(sync_messages.GetPart(NET, "rows", 3))


def answers() -> Real:
    yield from words("heads", "events", "checkpoints", "differences", "votes", "bye")()
    for data in (None, b"bytes"):
        yield f"offered {data is None}", sync_messages.encode(sync_messages.Offered(data))
        yield f"part {data is None}", sync_messages.encode(sync_messages.PartOf(data))


def batches() -> Real:
    for count in (1, 2, 8):
        yield f"{count}", gossip.encode_events([an_event(number).wire for number in range(count)])
    yield "512 empty ones", gossip.encode_events([b""] * 512)


def said_votes() -> Real:
    vote = make_vote(7, NET)
    for count in (1, 3):
        (message,) = gossip.encode_votes([vote.encode()] * count, MOMENT)
        yield f"{count}", message


def frames() -> Real:
    """What two sets that differ a little, much and not at all ask and answer."""
    items = list(HELD)
    others = {
        "equal": items,
        "less": items[::2],
        "more": [*items, *(bytes([n]) * WIDTH for n in range(1, 30))],
        "none": [],
        "other": [bytes([n]) * WIDTH for n in range(40)],
    }
    for name, held in others.items():
        theirs = ItemSet.of(sorted(set(held)), width=WIDTH)
        for direct in (False, True):
            asking = reconcile.Initiator(theirs, direct=direct, salt=b"a grain." if direct else b"")
            for turn in range(3):
                question = asking.question()
                if question is None:
                    break
                yield f"{name} {direct} question {turn}", question
                if asking.is_listing:
                    break
                answer = reconcile.answer(HELD, question, reconcile.FRAME_MAX)
                yield f"{name} {direct} answer {turn}", answer
                asking.receive(answer)
    yield "shortest", encode_frame([], width=WIDTH) or b"\x04"


def peers() -> Real:
    yield "none", canonical.encode([])
    yield "some", canonical.encode(ADDRESSES)
    yield "many", canonical.encode([f"/ip4/10.0.0.{n}/tcp/7419/p2p/{PEER}" for n in range(33)])


def reports() -> Real:
    labels = (("room", "attic"), ("owner", "zoë"))
    doing = ("qm3f2a7x/0.0: running, 3 of 16 done",)
    fields = ("fog 0.1", "Linux x86_64", 8, 16 << 30, "laptop", 2, "suspend", "suspended: on battery")
    yield "nothing", canonical.encode(None)
    yield "laptop", canonical.encode(fleet.Report("attic", labels, *fields, doing, 1_764_000_000_000))
    yield "bare", canonical.encode(fleet.Report("", (), "", "", 1, 0, "", 0, "off", "", (), 0))


def addresses() -> Real:
    for number, text in enumerate((*ADDRESSES, "/ip4/1.2.3.4", "/p2p/x", "//", "/ip6/fe80::1%25eth0/tcp/1")):
        yield f"{number}", text.encode()


def archives() -> Real:
    yield "talk", _archive(talk())
    yield "genesis only", _archive(History())
    small = History()
    small.say("alice")
    small.finalize()
    yield "one event", _archive(small)


def _archive(history: History) -> bytes:
    out = io.BytesIO()
    archive.write(history.write_to(Store.create("sqlite://", history.genesis)), out)
    return out.getvalue()


def cars() -> Real:
    yield "no block", car.header([])
    yield "two blocks", car.header([Cid.of(b"\xa0")]) + car.block(b"\xa0") + car.block(b"\x80")
    raw = Cid.of_raw(b"raw") + b"raw"
    yield "raw block", car.header([NET, NET]) + bytes((len(raw),)) + raw
    yield "one event", dict(archives())["one event"]


def invites() -> Real:
    keys = sorted(key.public for key in SIGNERS)
    small = Genesis(1, "lab", MOMENT, 1, (Validator(keys[0], 1),), (Allocation(keys[0], 10**12),), {})
    large = Genesis(
        1,
        "lab",
        MOMENT,
        1,
        (Validator(keys[0], 1),),
        tuple(Allocation(bytes([n]) * 32, 1) for n in range(40)),
        {},
    )
    yield "small", invite.make(small, ADDRESSES[:2]).encode()
    yield "no address", invite.make(small, []).encode()
    yield "without genesis", invite.make(large, ADDRESSES[:1]).encode()
    yield (
        "in capitals, broken over lines",
        f" {invite.make(small, [])[:30]}\n{invite.make(small, [])[30:].upper()}".encode(),
    )


def specs() -> Real:
    inputs = (Input("a.txt", Cid.of_raw(b"a"), 1), Input("b.txt", Cid.of_raw(b"b"), 2))
    digest = bytes(range(32))
    yield (
        "wasm",
        JobSpec(
            "wasm",
            Cid.of_raw(b"program"),
            "hello",
            1 << 24,
            10**9,
            1 << 20,
            digest,
            MOMENT,
            digest,
            (inputs, ()),
        ).encode(),
    )
    yield (
        "a part of a sweep, together",
        JobSpec(
            "wasm",
            Cid.of_raw(b"program"),
            "merge",
            1 << 24,
            10**9,
            1 << 20,
            digest,
            MOMENT,
            digest,
            (inputs, inputs),
            points=(("-n", "7"), ("-n", "3")),
            numbers=(7, 3),
            of=9,
            together=True,
        ).encode(),
    )
    yield (
        "python",
        JobSpec(
            "python",
            Cid.of_raw(b"program"),
            "hello.py",
            1 << 26,
            10**9,
            0,
            digest,
            0,
            digest,
            (inputs[:1],) * 3,
            ("-x", "Ada"),
            {"LANG": "C", "TZ": "UTC"},
            Cid.of_raw(b"runtime"),
        ).encode(),
    )


def results() -> Real:
    small, large = Output(2, b"hi"), Output(5_000, None, Cid.of_raw(b"large"))
    files = (OutputFile("a/b.txt", small), OutputFile("c", large))
    engine = bytes(range(32))
    yield "ok", ShardResult(engine, (Run("a.txt", "ok", 1_000, small, Output(0, b"")),)).encode()
    runs = (
        Run("a", "exit", 5, large, small, files, 3),
        Run("b", "trap", 0, small, small, (), 0, "unreachable"),
        Run("", "not_run", 0, Output(0, b""), Output(0, b"")),
    )
    yield "many", ShardResult(engine, runs).encode()


def cursors() -> Real:
    yield "one", pages.encode((5, 7)).encode()
    yield "far", pages.encode((2**63 - 1, 0)).encode()
    yield "short", pages.encode((5,)).encode()


def requests() -> Real:
    yield "status", b'{"id": 1, "method": "status"}'
    yield (
        "submit",
        '{"id": 7, "method": "job.submit", "params": {"name": "é", "shards": [[], [1.5, null]]}}'.encode(),
    )
    yield "deep", b'{"id":1,"method":"x","params":{"a":' + b"[" * 3_000 + b"]" * 3_000 + b"}}"
    yield "no text", b'{"id":1,"method":"\xff"}'


def job_files() -> Real:
    yield "example", (Path(__file__).parents[2] / "examples" / "pi.yaml").read_bytes()
    yield "aliases", b"a: &a [1, 0.5, ~]\nb: {c: *a, d: *a}\n? e\n: |\n  text\n  more\n"
    yield "odd", 'program: "\\e[31m\\0"\nargs: !!python/name:os {}\n"\\u202e": [é, \'\']\n'.encode()


def modules() -> Real:
    yield "copies", bytes(wasmtime.wat2wasm(programs.copies(1)))
    foreign = '(import "\\1b[31m" "\\e2\\80\\ae" (func (param i64 f32) (result v128)))'
    yield "foreign", bytes(wasmtime.wat2wasm(f'(module {foreign} (memory (export "memory") 1 2))'))


MESSAGES: dict[str, Callable[[], Real]] = {
    "job-file": job_files,
    "program": modules,
    "sync-hello": words("hello", "bye"),
    "sync-welcome": words("hello", "same", "bye"),
    "sync-question": questions,
    "sync-answer": answers,
    "reconcile-frame": frames,
    "reconcile-answer": frames,
    "gossip-events": batches,
    "gossip-votes": said_votes,
    "peers": peers,
    "fleet": reports,
    "address": addresses,
    "car": cars,
    "archive": archives,
    "archive-lines": archives,
    "audit": archives,
    "invite": invites,
    "job-spec": specs,
    "shard-result": results,
    "cursor": cursors,
    "request": requests,
}
