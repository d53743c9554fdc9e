"""A node that cannot start says what is wrong, with what, and what to do; and touches nothing.

Each test works on its own copy of the directory of a node that ran and was stopped.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fog.exits import Exit
from ledger.cid import Cid
from ledger.genesis import parse
from ledger.store import Store
from tests.nodes.cluster import CREDIT, Cluster, Ended, Node, set_up
from tests.nodes.test_crashes import pay

pytestmark = pytest.mark.slow

SOMEBODY = "11" * 32


class Stopped:
    """The directory of a node, and what it had acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        node = cluster.found("stopped")
        self.acknowledged = [Cid.parse(pay(node, SOMEBODY, memo=str(number))) for number in range(30)]
        self.acknowledged.append(Cid.parse(node.ask("wallet.send", to=SOMEBODY, amount=CREDIT)["event"]))
        assert node.stop() == Exit.OK
        self.root = node.home.root

    def copy(self, folder: Path) -> Node:
        """To be run, damaged or replaced."""
        cluster = Cluster(folder)
        shutil.copytree(self.root, folder / "copy", ignore=shutil.ignore_patterns("*.sock"))
        return cluster.place("copy")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stopped]:
    with Cluster(tmp_path_factory.mktemp("refusals")) as cluster:
        yield Stopped(cluster)


@pytest.fixture
def copy(stopped: Stopped, tmp_path: Path) -> Iterator[Node]:
    node = stopped.copy(tmp_path)
    yield node
    node.destroy()


@pytest.fixture
def taken() -> Iterator[int]:
    """A TCP port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def refused(node: Node, exit: Exit, code: str) -> Ended:
    """`fog node` ends at once with this exit and code, with a next step and without a traceback."""
    ended = node.command("node")
    assert ended.exit == exit, ended
    assert ended.error["code"] == code
    assert ended.error["next_step"]
    assert "Traceback" not in ended.err
    return ended


def assert_nothing_is_lost(node: Node, stopped: Stopped) -> None:
    with Store.open(node.home.store_url) as store:
        assert store.wires(stopped.acknowledged).keys() == set(stopped.acknowledged)


def test_a_taken_port_for_peers_is_named(copy: Node, stopped: Stopped, taken: int) -> None:
    copy.settings["FOG_NETWORK_LISTEN"] = f"/ip4/127.0.0.1/tcp/{taken}"
    assert str(taken) in refused(copy, Exit.USAGE, "port_taken").error["message"]
    assert_nothing_is_lost(copy, stopped)


def test_a_taken_port_for_the_api_is_named(copy: Node, stopped: Stopped, taken: int) -> None:
    copy.settings["FOG_API_PORT"] = str(taken)
    assert str(taken) in refused(copy, Exit.USAGE, "port_taken").error["message"]
    assert_nothing_is_lost(copy, stopped)


def test_the_store_of_another_network_is_left_alone(copy: Node, stopped: Stopped, tmp_path: Path) -> None:
    """The genesis object says one network, the store another."""
    other = Cluster(tmp_path / "other").place("other")
    set_up(other, "init", "--name", "another")
    copy.home.genesis.write_bytes(other.home.genesis.read_bytes())
    ended = refused(copy, Exit.USAGE, "other_network")
    assert str(parse(other.home.genesis.read_bytes()).net) in ended.error["message"]
    assert_nothing_is_lost(copy, stopped)


def test_a_damaged_genesis_object_is_told_from_another_one(copy: Node) -> None:
    data = bytearray(copy.home.genesis.read_bytes())
    data[-1] ^= 0xFF
    copy.home.genesis.write_bytes(data[:-3])
    refused(copy, Exit.STORE, "store_corrupt")


@pytest.mark.parametrize("part", ["first", "middle"])
def test_a_damaged_database_is_not_worked_on(copy: Node, part: str) -> None:
    """Pages overwritten, as a disk that goes bad does it. The node says so and does not go on from it."""
    size = copy.home.store.stat().st_size
    start, end = {"first": (0, 4096), "middle": (4096, size // 2)}[part]
    with copy.home.store.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * (end - start))
    ended = refused(copy, Exit.STORE, "store_corrupt")
    assert str(copy.home.store) in ended.error["message"]


def test_a_database_cut_short_is_not_worked_on(copy: Node) -> None:
    size = copy.home.store.stat().st_size
    with copy.home.store.open("r+b") as file:
        file.truncate(size // 2 // 4096 * 4096)
    refused(copy, Exit.STORE, "store_corrupt")


def test_what_was_stopped_in_order_goes_on_and_shares_its_directory_with_nobody(
    copy: Node, stopped: Stopped
) -> None:
    """The copies above were good but for what was done to them; a second node does not disturb a first."""
    copy.start()
    for event in stopped.acknowledged:
        assert copy.item(f"/v1/events/{event}")["code"] == "ok"
    refused(copy, Exit.USAGE, "already_running")
    assert copy.ask("wallet.send", to=SOMEBODY, amount=1)["code"] == "ok"
    assert copy.stop() == Exit.OK
