"""A real node and a real witness: notes that both signed, also after the witness died; and proofs."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fog.exits import Exit
from ledger import notes
from ledger.notes import Note, VerifierKey
from tests.nodes.cluster import BUYS, CREDIT, Cluster, Node, eventually, set_up

pytestmark = pytest.mark.slow

BOB = "0b" * 32


class Witness:
    """One `fog witness` process after another on the same directory and port."""

    def __init__(self, folder: Path, *trust: str) -> None:
        self.folder, self.trust, self.listen = folder, trust, "127.0.0.1:0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> dict[str, Any]:
        words = ["witness", "--listen", self.listen, "--name", "example.org/w", *self.trust]
        with (self.folder / "witness.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fog", "--data-dir", str(self.folder), "--json", *words],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.listen = said["url"].removeprefix("http://")
        return said

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate()


@contextmanager
def witnessed(folder: Path) -> Iterator[tuple[Node, Witness, VerifierKey, VerifierKey]]:
    """A validator with a witness; their keys."""
    with Cluster(folder) as cluster:
        node = cluster.place("anchor", BUYS)
        set_up(node, "init", "--name", "test")
        genesis = node.home.read_genesis()
        (validator,) = genesis.validators
        (folder / "w").mkdir()
        witness = Witness(folder / "w", "--genesis", str(node.home.genesis))
        said = witness.start()
        try:
            node.settings["FOG_FINALITY_WITNESSES"] = f"{said['key']} {said['url']}"
            node.settings["FOG_FINALITY_WITNESS_INTERVAL_MS"] = "100"
            node.start()
            yield (
                node,
                witness,
                notes.validator_key(genesis.net, validator.key),
                VerifierKey.parse(said["key"]),
            )
        finally:
            witness.kill()


def cosigned(node: Node, size: int) -> Note | None:
    """The newest cosigned note that the node serves, if it is of `size` leaves or more."""
    try:
        note = notes.parse(node.get("/v1/checkpoint?cosigned=1"))
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise AssertionError("the node cannot say whether there is a note") from error
        return None
    return note if note.head().size >= size else None


def pay(node: Node) -> int:
    """Something to make final; the size of the tree after it."""
    done = node.ask("wallet.send", to=BOB, amount=CREDIT, memo="", wait=True)
    leaves: int = node.item(f"/v1/checkpoints/{done['height']}")["leaves"]
    return leaves


def test_a_node_serves_notes_that_validator_and_witness_signed(tmp_path: Path) -> None:
    """The witness is killed and comes back: it knows what it cosigned, and goes on from there."""
    with witnessed(tmp_path) as (node, witness, validator, cosigner):
        size = pay(node)
        first = eventually(lambda: cosigned(node, size), "the payment is in a cosigned note")
        witness.kill()
        size = pay(node)
        own = notes.parse(node.get("/v1/checkpoint"))
        assert list(notes.signers(own, [validator, cosigner])) == [validator]
        assert own.head().size >= size
        assert witness.start()["key"] == str(cosigner)
        size = pay(node)
        second = eventually(lambda: cosigned(node, size), "the witness goes on")
        for note in (first, second):
            assert set(notes.signers(note, [validator, cosigner])) == {validator, cosigner}
        assert second.head().size > first.head().size
        roots = {one["leaves"]: one["event_root"] for one in node.items("/v1/checkpoints")}
        for note in (first, second):
            assert note.head().root.hex() == roots[note.head().size]


def test_what_a_node_says_of_a_balance_is_checked_without_it(tmp_path: Path) -> None:
    """The answer in a file, the genesis object beside it, and the node stopped."""
    with Cluster(tmp_path) as cluster:
        node = cluster.found("anchor")
        pay(node)
        file = tmp_path / "answer.json"
        file.write_bytes(node.get(f"/v1/balances/{BOB}?proof=1"))
        assert node.stop() == 0
        stranger = cluster.place("stranger")
        words = ("proof", "check", str(file), "--genesis", str(node.home.genesis))
        done = stranger.command(*words)
        assert done.exit == Exit.OK, done.err
        assert done.json["rows"][0]["says"]["free"] == {"value": str(CREDIT)}
        file.write_bytes(file.read_bytes().replace(b'"1000000"', b'"9000000"'))
        assert stranger.command(*words).exit == Exit.AUDIT_FAILED
