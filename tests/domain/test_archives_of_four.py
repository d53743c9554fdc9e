"""Four validators that vote, under the real rules, through changes of stake: what they export is true.

In one process and without a network: each replica's messages are handed to the others by hand.
"""

from __future__ import annotations

import io
from collections import deque
from pathlib import Path

import pytest

from domain.payloads import Payload, StakeBond, Transfer, kind_of
from domain.rules import FogRules
from ledger import archive, proving
from ledger.audit import audit
from ledger.genesis import Allocation, Genesis, Validator
from ledger.proofs import Trust
from ledger.reactions import Reaction
from ledger.replica import Replica
from ledger.store import Store
from tests.interop import javascript
from tests.ledger.histories import CREATED, key
from tests.ledger.test_doctored import VERIFIER

NAMES = ("north", "east", "south", "west")
STAKE = 1_000_000
EPOCH = 4
HEIGHTS = 14
ROUNDS_MAX = 400
"""Of a second each, until a height must be final; it takes a few."""


class Four:
    def __init__(self) -> None:
        keys = sorted((key(name) for name in NAMES), key=lambda one: one.public)
        self.genesis = Genesis(
            v=1,
            name="four",
            created=CREATED,
            rules=7,
            validators=tuple(Validator(one.public, STAKE) for one in keys),
            accounts=tuple(Allocation(one.public, 10 * STAKE) for one in keys),
            params={"epoch_checkpoints": EPOCH, "bond_min": 1},
        )
        self.now = CREATED
        self.nodes = {
            name: Replica.open(Store.create("sqlite://", self.genesis), FogRules(), key(name), validator=True)
            for name in NAMES
        }
        held = {key(name).public: node.ballots(0, 1) for name, node in self.nodes.items()}
        for name, node in self.nodes.items():
            others = {by: ballots for by, ballots in held.items() if by != key(name).public}
            assert node.rejoin(others, now=self.now)

    def say(self, name: str, payload: Payload) -> None:
        kind, version = kind_of(payload)
        event = self.nodes[name].append(kind, version, payload, now=self.now)
        for node in self.nodes.values():
            node.ingest([event.wire], peer=name, now=self.now)

    def reach(self, height: int) -> None:
        """Let time pass until every node has this height."""
        for _ in range(ROUNDS_MAX):
            if all(node.height >= height for node in self.nodes.values()):
                return
            self.now += 1_000
            waiting: deque[tuple[str, bytes]] = deque()
            for name, node in self.nodes.items():
                self._tell(waiting, name, node.step(self.now))
            while waiting:
                sender, message = waiting.popleft()
                for name, node in self.nodes.items():
                    if name != sender:
                        self._tell(waiting, name, node.hear(message, now=self.now))
        raise AssertionError(f"not at height {height}: {self.nodes}")

    @staticmethod
    def _tell(waiting: deque[tuple[str, bytes]], name: str, came: Reaction) -> None:
        waiting.extend((name, message) for message in came.send)


@pytest.fixture(scope="module")
def four() -> Four:
    """One pays at each height; one bonds more in the first epoch, another in the second."""
    four = Four()
    for height in range(1, HEIGHTS + 1):
        four.say(NAMES[height % 4], Transfer(key("somebody").public, height))
        if height in (2, 6):
            four.say(NAMES[height // 4], StakeBond(STAKE // 4))
        four.reach(height)
    return four


def exported(node: Replica) -> bytes:
    out = io.BytesIO()
    archive.write(node.store, out)
    return out.getvalue()


def test_what_each_of_four_validators_exports_is_true(four: Four) -> None:
    """Every node's file passes; up to the last certificate they are the same."""
    files = [exported(node) for node in four.nodes.values()]
    for data in files:
        report = audit(data, FogRules(), net=four.genesis.net)
        assert report.problem is None
        assert report.height >= HEIGHTS
    kinds = [entry.kind for entry in archive.read(io.BytesIO(files[0]))[1]]
    assert kinds.count("validators") == 2, "the two bonds changed the stakes of two epochs"
    blocks = [[entry.block.data for entry in archive.read(io.BytesIO(data))[1]][:-1] for data in files]
    assert all(one == blocks[0] for one in blocks)


@pytest.mark.slow
def test_a_stranger_says_so_too(four: Four, tmp_path: Path) -> None:
    for name, node in four.nodes.items():
        (tmp_path / f"{name}.car").write_bytes(exported(node))
    done = javascript.run_file(VERIFIER, tmp_path, *(f"{name}.car" for name in NAMES))
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(f": true, network {four.genesis.net} up to height") == 4


def test_who_knows_only_genesis_believes_the_last_of_them(four: Four) -> None:
    for node in four.nodes.values():
        last = node.last
        assert last is not None
        final = proving.certified(node.store, last)
        assert last.checkpoint.epoch >= 3
        assert len(final.steps) == 1, "those of genesis still have enough of the stake"
        assert Trust(four.genesis).check_final(final) == last.checkpoint
