"""Vouchers between real nodes: set aside online, paid while the payer's node is down, redeemed afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from fog.exits import Exit
from tests.nodes.cluster import BUYS, CREDIT, Cluster

pytestmark = pytest.mark.slow


def test_a_payer_whose_node_is_down_can_pay(tmp_path: Path) -> None:
    """The payer is the only validator too, so while it is away nothing at all becomes final."""
    with Cluster(tmp_path) as cluster:
        payer = cluster.found("payer")
        [payee] = cluster.join(payee=BUYS)
        opened = payer.command("escrow", "open", payee.account, "50", "--expires", "100000").json
        escrow = opened["escrow"]
        cluster.settle()
        [seen] = payee.command("escrow", "list").json["escrows"]
        assert (seen["escrow"], seen["key"], seen["amount"]) == (escrow, payer.account, 50 * CREDIT)
        assert payer.stop() == Exit.OK

        first, second = (payer.command("voucher", "write", escrow, total).json for total in ("12.5", "20"))
        expected = ("--by", seen["key"], "--escrow", escrow)
        assert payee.command("voucher", "check", second["voucher"], *expected).json["total"] == 20 * CREDIT
        late = payee.command("escrow", "redeem", first["voucher"], "--no-wait").json
        assert late["standing"] == "pending"

        payer.start()
        paid = payee.command("escrow", "redeem", second["voucher"])
        assert paid.exit == Exit.OK, paid
        again = payee.command("escrow", "redeem", first["voucher"])
        assert (again.exit, again.error["code"]) == (Exit.REFUSED, "nothing_new")
        assert payer.command("escrow", "close", escrow).error["code"] == "not_yours"
        assert payee.command("escrow", "close", escrow).exit == Exit.OK
        cluster.settle()
        assert payee.command("wallet", "balance").json["free"] == 20 * CREDIT
        held = payer.command("wallet", "balance").json
        assert (held["free"], held["escrow"]) == ((1_000_000 - 20) * CREDIT, 0)
        for node in (payer, payee):
            item = node.item(f"/v1/escrows/{escrow}")
            assert (item["state"], item["redeemed"]) == ("closed", str(20 * CREDIT))
        log = tmp_path / "log.car"
        payee.export(log)
        assert payee.command("audit", str(log)).json["ok"] is True
