"""A node that begins from a snapshot: what `network.snapshot_io` and `fog.fast_start` do, without waiting.

Whoever lost its disk may begin so, with a checkpoint that some honest node had: an invite. It asks one node
after another, liars first as often as not, and believes nothing but what that checkpoint and genesis prove.
When nobody has a snapshot that it can believe it begins from genesis.

What must always hold: who gives what is wrong is blamed, and is never honest.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ledger import light
from ledger.checkpoint import Checkpoint
from ledger.errors import RemoteError
from ledger.light import Anchor
from ledger.shelf import Shelf
from ledger.snapshot import Download, Part, Snapshot, parse_manifest

if TYPE_CHECKING:
    from fog.sim.node import Node


class Shown:
    """The snapshots of one node, as bytes: what it gives to whoever asks. Liars give others."""

    def __init__(self, node: Node) -> None:
        self._shelf = Shelf(node.replica, clock=lambda: node.ground.scheduler.now / 1_000)

    def manifest(self, above: int) -> bytes | None:
        offered = self._shelf.offer(above)
        return None if offered is None else offered.encode()

    def part(self, checkpoint: Checkpoint, part: Part) -> bytes | None:
        return self._shelf.part(checkpoint.id, part)


def invite(node: Node, draw: random.Random) -> Checkpoint | None:
    """The last final checkpoint of some other honest node that is up."""
    others = [one for one in node.ground.nodes if one is not node and one.up and not one.is_liar]
    last = draw.choice(others).replica.last if others else None
    return None if last is None else last.checkpoint


def fetch(node: Node, anchored: Checkpoint, draw: random.Random) -> Snapshot | None:
    """From whoever has one that can be believed."""
    peers = [peer for peer in node.ground.nodes if peer is not node and peer.up and node.asks(peer)]
    draw.shuffle(peers)
    for peer in peers:
        try:
            found = _from(peer.facing(node).shown(node), node, anchored)
        except RemoteError as error:
            node.blame(peer.index, error.code)
            found = None
        if found is not None:
            node.note(f"begins from what {peer.index} has at {found.checkpoint.height}")
            return found
    return None


def _from(shown: Shown, node: Node, anchored: Checkpoint) -> Snapshot | None:
    genesis, anchor = node.ground.genesis, Anchor(anchored.height, anchored.id)
    light.check_anchor(anchor, anchored.encode(), net=genesis.net)
    data = shown.manifest(anchor.height - 1)
    if data is None:
        return None
    download = Download(genesis, parse_manifest(data))
    while not download.is_whole:
        for part in list(download.lacking()):
            given = shown.part(download.checkpoint, part)
            if given is None:
                return None
            download.take(part, given)
    snapshot = download.snapshot()
    light.check_history(anchored, snapshot.checkpoint, snapshot.leaves)
    return snapshot
