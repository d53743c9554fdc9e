"""A disk that fills up: what was acknowledged is kept, what cannot be kept is refused in so many words.

The data directory is a file system of its own of 12 MiB, which takes root to mount.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from fog.exits import Exit
from ledger.cid import Cid
from ledger.errors import FogError
from ledger.store import Store
from tests.nodes.cluster import Cluster, Node, eventually
from tests.nodes.jobs import assert_conserved
from tests.nodes.test_crashes import is_final, pay

pytestmark = pytest.mark.slow

SIZE_MIB: Final = 12
SOMEBODY = "22" * 32


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=700", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def filled(place: Path) -> Iterator[None]:
    """Not a byte is free meanwhile."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    assert os.statvfs(place).f_bavail == 0
    try:
        yield
    finally:
        ballast.unlink()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with small_disk(tmp_path / "node"), Cluster(tmp_path) as cluster:
        yield cluster.found("node")


def pay_until_refused(node: Node) -> tuple[list[str], FogError]:
    """Events acknowledged, and the first refusal: the write-ahead log has some room left of its own."""
    acknowledged = []
    for number in range(10_000):
        try:
            acknowledged.append(pay(node, SOMEBODY, memo=f"{number}" * 50))
        except FogError as error:
            return acknowledged, error
    raise AssertionError("a full disk took ten thousand payments")


def test_a_full_disk_refuses_and_forgets_nothing(node: Node) -> None:
    """Payments are refused with `store_full`; with room again the node goes on, and all it said is there."""
    acknowledged = [pay(node, SOMEBODY) for _ in range(5)]
    with filled(node.home.root):
        more, error = pay_until_refused(node)
        acknowledged += more
        assert error.code == "store_full", error
        assert str(node.home.store) in str(error)
        assert error.next_step
        ended = node.command("wallet", "send", SOMEBODY, "1")
        assert (ended.exit, ended.error["code"]) == (Exit.STORE, "store_full"), ended
        eventually(lambda: node.counter("store_full"), "it is counted")
        eventually(lambda: "no room on the disk" in node.log, "it is in the log")

    for event in acknowledged:
        eventually(partial(is_final, node, event), "with room again it goes on where it was")
    assert node.ask("wallet.send", to=SOMEBODY, amount=1)["code"] == "ok"
    assert_conserved(node)
    assert node.stop() == Exit.OK
    with Store.open(node.home.store_url) as store:
        ids = [Cid.parse(event) for event in acknowledged]
        assert store.wires(ids).keys() == set(ids)


def test_a_node_killed_on_a_full_disk_has_everything_when_there_is_room_again(node: Node) -> None:
    """Started while the disk is full it serves what it knows, or says that it cannot and ends with 7."""
    acknowledged = [pay(node, SOMEBODY) for _ in range(5)]
    with filled(node.home.root):
        more, _ = pay_until_refused(node)
        acknowledged += more
        node.kill()
        node.launch()
        eventually(lambda: is_up_or_says_why_not(node), "it is up, or has ended")
    if node.has_ended:
        node.launch()
    node.wait_until_up()
    for event in acknowledged:
        eventually(partial(is_final, node, event), "everything acknowledged is final")
    assert_conserved(node)


def is_up_or_says_why_not(node: Node) -> bool:
    if node.has_ended:
        assert node.exit_code == Exit.STORE, node.log
        assert "code store_full, exit 7" in node.log
        return True
    return bool(node.status())
