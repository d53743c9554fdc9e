"""Two machines of one person: the second acts for the first one's account, while it may."""

from __future__ import annotations

from pathlib import Path

import pytest

from fog import keys
from fog.exits import Exit
from tests.nodes.cluster import BUYS, CREDIT, LENDS, Cluster, eventually, set_up
from tests.nodes.jobs import Copying, runs_of, state_of, wait_until_done

pytestmark = pytest.mark.slow

SOMEBODY = "11" * 32


def test_a_second_machine_pays_and_vouches_for_the_account_of_the_first(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        home = cluster.found("home")
        laptop = cluster.place("laptop", {"FOG_IDENTITY_ACCOUNT": home.account, **BUYS})
        set_up(laptop, "join", home.ask("invite")["line"])
        device = keys.load(laptop.home.key).public.hex()
        status = laptop.start().status()
        assert (status["account"], status["device"]) == (home.account, device)
        assert laptop.command("identity", "show").json["acts"] is False

        too_early = laptop.command("wallet", "send", SOMEBODY, "5")
        assert (too_early.exit, too_early.error["code"]) == (Exit.REFUSED, "not_delegated")
        assert home.command("identity", "delegate", device).exit == Exit.OK
        eventually(lambda: laptop.command("identity", "show").json["acts"], "the delegation is known there")
        paid = laptop.command("wallet", "send", SOMEBODY, "5").json
        assert laptop.command("wallet", "balance").json["free"] == (1_000_000 - 5) * CREDIT
        opened = laptop.command("escrow", "open", SOMEBODY, "50", "--expires", "99999").json
        cluster.settle()
        item = home.item(f"/v1/events/{paid['event']}")
        assert (item["account"], item["device"], item["code"]) == (home.account, device, "ok")
        escrow = home.item(f"/v1/escrows/{opened['escrow']}")
        assert (escrow["payer"], escrow["key"]) == (home.account, device)
        line = laptop.command("voucher", "write", opened["escrow"], "7").json
        assert laptop.command("voucher", "check", line["voucher"], "--by", escrow["key"]).exit == Exit.OK

        assert home.command("identity", "revoke", device).exit == Exit.OK
        cluster.settle()
        too_late = laptop.command("wallet", "send", SOMEBODY, "5")
        assert (too_late.exit, too_late.error["code"]) == (Exit.REFUSED, "not_delegated")
        assert home.command("wallet", "balance").json["free"] == (1_000_000 - 55) * CREDIT


def test_a_second_machine_lends_and_submits_for_the_account_as_soon_as_it_may(tmp_path: Path) -> None:
    """It waits for the delegation before it offers; then the account lends, on whichever machine."""
    with Cluster(tmp_path) as cluster:
        home = cluster.found("home")
        laptop = cluster.place("laptop", {"FOG_IDENTITY_ACCOUNT": home.account, **LENDS})
        set_up(laptop, "join", home.ask("invite")["line"])
        laptop.start()
        assert home.items("/v1/offers") == []
        device = keys.load(laptop.home.key).public.hex()
        assert home.command("identity", "delegate", device).exit == Exit.OK
        eventually(lambda: home.items("/v1/offers"), "the laptop offers")

        copying = Copying(tmp_path / "job", shards=2, turns=1_000)
        job = copying.submit(laptop, checks=0)
        assert wait_until_done(home, job)["state"] == "done"
        eventually(lambda: copying.is_home, "the results are where they were asked for")
        assert state_of(home, job)["submitter"] == home.account
        assert {run["worker"] for run in runs_of(home, job)} == {home.account}
        kinds = ("offer", "job.submit", "lease.commit", "lease.reveal")
        events = [event for kind in kinds for event in home.items(f"/v1/events?kind={kind}")]
        assert {(event["account"], event["device"], event["code"]) for event in events} == {
            (home.account, device, "ok")
        }
