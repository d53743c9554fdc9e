"""A real node that begins with the state of now: it answers, follows, speaks, and gives the same on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import FogError
from tests.nodes.cluster import BUYS, Cluster, Node, eventually, set_up

pytestmark = pytest.mark.slow

SOMEBODY = "22" * 32
LIGHT = BUYS | {"FOG_LEDGER_MODE": "light"}


def begin(cluster: Cluster, name: str, of: Node, settings: dict[str, str] = BUYS) -> Node:
    node = cluster.place(name, settings)
    set_up(node, "join", of.ask("invite")["line"], "--fast")
    return node.start()


def free(node: Node, account: str) -> str:
    value: str = node.item(f"/v1/balances/{account}")["free"]["value"]
    return value


def test_a_node_begins_from_a_snapshot_and_is_one_like_the_others(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        anchor = cluster.found("anchor")
        for _ in range(3):
            anchor.ask("wallet.send", to=SOMEBODY, amount=7)
        height = cluster.settle()

        late = begin(cluster, "late", anchor, LIGHT)
        assert "begun at height" in late.log
        assert not late.home.start.exists()
        status = late.status()
        assert (status["since"], status["mode"]) == (height, "light")
        assert (anchor.status()["since"], anchor.status()["mode"]) == (0, "archive")
        assert free(late, SOMEBODY) == "21"
        assert late.item("/v1/supply") == anchor.item("/v1/supply")

        anchor.ask("wallet.send", to=late.account, amount=1_000)
        cluster.settle()
        late.ask("wallet.send", to=SOMEBODY, amount=4)
        cluster.settle()
        assert free(late, SOMEBODY) == free(anchor, SOMEBODY) == "25"

        with pytest.raises(FogError) as refused:
            late.ask("export", path=str(tmp_path / "log.car"))
        assert refused.value.code == "pruned"

        later = begin(cluster, "later", late)
        assert free(later, SOMEBODY) == "25"
        late.kill()
        late.start()
        anchor.ask("wallet.send", to=SOMEBODY, amount=1)
        cluster.settle()
        for node in cluster:
            assert free(node, SOMEBODY) == "26"
            assert node.status()["height"] == anchor.height
            assert node.exit_code is None, node.log[-2000:]


def test_nothing_begins_on_a_checkpoint_that_nobody_has(tmp_path: Path) -> None:
    """The node ends and says so, and leaves no store behind."""
    with Cluster(tmp_path) as cluster:
        anchor = cluster.found("anchor")
        anchor.ask("wallet.send", to=SOMEBODY, amount=7)
        invite, other = anchor.ask("invite"), f"1:{anchor.ask('status')['net']}"
        late = cluster.place("late", BUYS | {"FOG_NETWORK_SNAPSHOT_PATIENCE_MS": "10000"})
        set_up(late, "join", invite["line"], "--checkpoint", other)
        late.launch()
        assert eventually(lambda: late.exit_code, "it ended", within_s=180) != 0
        assert "nobody gave a snapshot" in late.log
        assert late.home.start.exists()
        assert not late.home.store.exists()
