"""Machines of one person lend together, and tell their owner what each does, why, and what it earned."""

from __future__ import annotations

from pathlib import Path

import pytest

from fog import keys
from fog.exits import Exit
from tests.nodes.cluster import LENDS, Cluster, eventually, set_up
from tests.nodes.jobs import Copying, runs_of, wait_until_done

pytestmark = pytest.mark.slow


def test_two_machines_of_an_account_share_a_job_and_their_owner_sees_both(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        buyer = cluster.found("buyer")
        lends = {**LENDS, "FOG_WORKER_PRICE": str(10**9)}  # so that little work is worth something
        named = {"FOG_DEVICE_NAME": "attic", "FOG_DEVICE_LABELS": "room=attic"}
        home = cluster.place("home", lends | named)
        set_up(home, "join", buyer.ask("invite")["line"])
        account = home.start().status()["account"]
        laptop = cluster.place(
            "laptop", {"FOG_IDENTITY_ACCOUNT": account, **lends, "FOG_DEVICE_NAME": "laptop"}
        )
        set_up(laptop, "join", home.ask("invite")["line"])
        device = keys.load(laptop.home.key).public.hex()
        laptop.start()
        # Nobody knows an account that never held a credit.
        assert buyer.command("wallet", "send", account, "5").exit == Exit.OK
        cluster.settle()
        assert home.command("identity", "delegate", device).exit == Exit.OK
        eventually(lambda: len(buyer.items("/v1/offers")) == 2, "both machines offer")

        copying = Copying(tmp_path / "job", shards=6, turns=20_000)
        job = copying.submit(buyer, checks=0, price=10**9, fuel=10**9)
        assert wait_until_done(buyer, job)["state"] == "done"
        runs = runs_of(buyer, job)
        assert {run["worker"] for run in runs} == {account}
        assert {run["device"] for run in runs} == {account, device}

        cluster.settle()
        fleet = home.command("fleet").json
        here, other = fleet["devices"]
        assert (here["device"], here["name"], here["here"], here["labels"]) == (
            account,
            "attic",
            True,
            {"room": "attic"},
        )
        assert (other["device"], other["name"], other["reachable"]) == (device, "laptop", True)
        assert {one["action"] for one in (here, other)} == {"run"}
        paid = sum(int(run["paid"]) for run in runs)
        assert here["earned"] + other["earned"] == here["earned_day"] + other["earned_day"] == paid > 0
        assert here["runs"] + other["runs"] == 6
        assert len(home.command("fleet", "--label", "room=attic").json["devices"]) == 1
        top = home.command("top", "--once").json
        assert [(one["name"], one["action"]) for one in top["fleet"]] == [("attic", "run"), ("laptop", "run")]
        workers = top["workers"]
        assert sorted((one["account"], one["here"]) for one in workers) == [(account, False), (account, True)]

        assert laptop.command("harvest", "pause").exit == Exit.OK
        eventually(lambda: home.command("fleet").json["devices"][1]["action"] != "run", "the pause is seen")
        assert "pause" in home.command("fleet").json["devices"][1]["why"]
        assert [one["device"] for one in buyer.command("fleet").json["devices"]] == [buyer.account]

        laptop.stop()
        gone = home.command("fleet").json["devices"][1]
        assert (gone["reachable"], gone["earned"]) == (False, other["earned"])
