"""Readers of a snapshot: the manifest, and the parts that are held against it."""

from __future__ import annotations

from functools import cache

from ledger import snapshot
from ledger.genesis import Genesis
from ledger.shelf import Shelf
from ledger.snapshot import Download, Manifest, Part
from tests.fuzz.target import SCHEMA, Target
from tests.ledger.test_snapshot import network

SNAPSHOT = SCHEMA | {"bad_snapshot", "bad_certificate", "bad_frontier", "bad_proof", "wrong_network"}
ROWS: Part = ("rows", 0)
LEAVES: Part = ("leaves", 0)


@cache
def given() -> tuple[Genesis, Manifest, dict[Part, bytes]]:
    """A small network, the manifest of its snapshot and the two parts that this has."""
    node, _, _ = network(3)
    shelf = Shelf(node)
    manifest = shelf.offer(0)
    assert manifest is not None
    parts = {part: shelf.part(manifest.id, part) for part in (ROWS, LEAVES)}
    return node.genesis, manifest, {part: data for part, data in parts.items() if data is not None}


def read_manifest(data: bytes) -> bytes:
    manifest = snapshot.parse_manifest(data)
    Download(given()[0], manifest)
    return manifest.encode()


def read_rows(data: bytes) -> bytes:
    return _only(ROWS, data)


def read_leaves(data: bytes) -> bytes:
    return _only(LEAVES, data)


def _only(part: Part, data: bytes) -> bytes:
    """The one part that is taken: the manifest says what it must hash to."""
    genesis, manifest, parts = given()
    Download(genesis, manifest).take(part, data)
    return parts[part]


TARGETS = (
    Target("snapshot-manifest", read_manifest, SNAPSHOT, share=0.3),
    Target("snapshot-rows", read_rows, SNAPSHOT, share=0.2),
    Target("snapshot-leaves", read_leaves, SNAPSHOT, is_raw=True, share=0.05),
)
