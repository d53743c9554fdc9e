"""Real nodes that set bonds aside: checked until they have a history, trusted after that, and doubted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nodes.cluster import BUYS, CREDIT, LENDS, Cluster, eventually
from tests.nodes.jobs import Copying, runs_of, wait_until_done

pytestmark = pytest.mark.slow

BOND = 2 * CREDIT
BONDED = LENDS | {"FOG_WORKER_BOND": str(BOND)}


def test_workers_with_a_history_are_trusted_and_can_be_doubted(tmp_path: Path) -> None:
    """Twenty shards that are all compared, with bonds, make three histories; of as many more few are. Then a
    result is doubted: two strangers get the same, and all bonds come back."""
    with Cluster(tmp_path) as cluster:
        anchor = cluster.found("anchor", BONDED)
        *workers, buyer = cluster.join(one=BONDED, two=BONDED, buyer=BUYS)
        for node in (*workers, buyer):
            anchor.ask("wallet.send", to=node.account, amount=100 * CREDIT, memo="", wait=True)
        cluster.settle()
        first = Copying(tmp_path / "first", 20, turns=0).submit(buyer, checks=1, bond=BOND, lease_ms=60_000)
        assert wait_until_done(buyer, first)["settled"] == 20
        streaks = [anchor.item(f"/v1/reputation/{node.account}")["streak"] for node in (anchor, *workers)]
        assert sum(streaks) == 40

        second = Copying(tmp_path / "second", 20, turns=0).submit(buyer, checks=2, bond=BOND, lease_ms=60_000)
        assert wait_until_done(buyer, second)["settled"] == 20
        runs = runs_of(buyer, second)
        checks = [run for run in runs if run["role"] == "check"]
        assert len(checks) < 20, "nothing was taken on trust"
        assert all(run["state"] == "paid" for run in runs)

        trusted = next(run for run in runs if sum(run["shard"] == one["shard"] for one in runs) == 1)
        appealed = buyer.command("job", "appeal", second[-12:], "--shard", str(trusted["shard"]))
        assert appealed.exit == 0, appealed.err
        appeal = appealed.json["event"]
        assert wait_until_done(buyer, appeal)["settled"] == 1
        jury = runs_of(buyer, appeal)
        assert len(jury) == 2
        assert {run["role"] for run in jury} == {"check"}
        assert trusted["worker"] not in {run["worker"] for run in jury}
        assert buyer.items("/v1/forfeits") == []

        def pledged() -> int:
            rows = buyer.items("/v1/balances")
            return sum(int(row["pledged"]["value"]) for row in rows)

        held = 40 + sum(run["role"] == "work" for run in runs) - 1 + len(checks)
        eventually(lambda: pledged() == held * BOND, "what cannot be appealed any more is free")
