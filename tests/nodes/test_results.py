"""A result is at the nodes that ran it: any of them is enough to have it. Without them it is lost, which ends
the job, and can be mended when one of them is back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from domain.work import Work
from fog import control
from fog.exits import Exit
from ledger.store import Store
from network.blobs import BlockStore
from tests.nodes.cluster import BUYS, CREDIT, LENDS, Cluster, Node, eventually
from tests.nodes.jobs import Copying, runs_of, wait_until_done

pytestmark = pytest.mark.slow


def statuses_of(node: Node, job: str) -> list[str]:
    """How the runs of its only shard ended; that is read from the result, so it must be had."""
    statuses: list[str] = node.ask("job.show", job=job)["shards"][0]["statuses"]
    return statuses


def test_a_result_is_fetched_from_whoever_is_left_of_those_who_ran_it(tmp_path: Path) -> None:
    """The submitter lets go of it; the worker is killed, and the checker gives it. Then nobody is left."""
    with Cluster(tmp_path) as cluster:
        anchor = cluster.found("anchor", BUYS)
        one, other, buyer = cluster.join(one=LENDS, other=LENDS, buyer=BUYS)
        anchor.ask("wallet.send", to=buyer.account, amount=1_000 * CREDIT)
        copying = Copying(tmp_path / "job", 1, turns=1_000)
        job = copying.submit(buyer)
        wait_until_done(buyer, job)
        eventually(lambda: copying.is_home, "the output is there")
        eventually(lambda: buyer.ask("blob.gc", unused_ms=0)["used"] == 0, "the submitter holds nothing")
        one.kill()
        assert statuses_of(buyer, job) == ["ok"]
        assert buyer.ask("blob.gc", unused_ms=0)["freed"] > 0
        other.kill()
        assert statuses_of(buyer, job) == []


@contextmanager
def bought(folder: Path, **settings: str) -> Iterator[tuple[Node, Node, Copying, str]]:
    """A job of two shards, run by one node each, of which the buyer heard nothing: it was away, and then one
    of the two left with its result. Gives the buyer, who is back, and that one."""
    with Cluster(folder) as cluster:
        anchor = cluster.found("anchor", BUYS)
        one, other, buyer = cluster.join(one=LENDS, other=LENDS, buyer=BUYS | settings)
        anchor.ask("wallet.send", to=buyer.account, amount=1_000 * CREDIT)
        copying = Copying(folder / "job", 2, turns=200_000_000)
        job = copying.submit(buyer, checks=0, fuel=100_000_000_000, lease_ms=60_000)

        def are_running() -> bool:
            return all(
                any("running" in line for line in node.status()["worker"]["doing"]) for node in (one, other)
            )

        eventually(are_running, "both run a shard, so their inputs have been fetched")
        buyer.kill()
        assert wait_until_done(anchor, job)["state"] == "done"
        one.kill()
        yield buyer.start(), one, copying, job


def shard_of(buyer: Node, one: Node, job: str) -> int:
    (run,) = [run for run in runs_of(buyer, job) if run["worker"] == one.account]
    shard: int = run["shard"]
    return shard


def collected(buyer: Node, job: str) -> dict[int, str]:
    """What an executor is told of each shard at last."""
    ends: dict[int, str] = {}

    def piece(update: dict[str, Any]) -> None:
        if update["state"] is not None:
            ends[update["shard"]] = update["state"]

    control.call(buyer.home.control, "job.collect", {"job": job}, piece)
    return ends


def test_a_result_that_nobody_has_ends_its_job_without_it_and_comes_when_asked_for_again(
    tmp_path: Path,
) -> None:
    """The other shard is home; the lost one is named, with its blob, of whom it was asked and what to do."""
    with bought(tmp_path, FOG_BLOBS_RESULT_PATIENCE_MS="3000") as (buyer, one, copying, job):
        ended = buyer.command("job", "wait", job[-8:])
        assert (ended.exit, ended.error["code"]) == (Exit.JOB_UNFINISHED, "result_lost"), ended
        lost = shard_of(buyer, one, job)
        shown = buyer.ask("job.show", job=job)
        assert shown["job"]["lost"] == 1
        shards = {line["shard"]: line for line in shown["shards"]}
        assert shards[1 - lost]["statuses"] == ["ok"]
        assert shards[lost]["statuses"] == ["result_lost"]
        (why,) = shards[lost]["details"]
        assert shards[lost]["result"] in why
        assert one.account[:16] in why
        assert collected(buyer, job) == {lost: "result_lost", 1 - lost: "settled"}
        assert not copying.is_home
        assert buyer.command("job", "fetch", job[-8:]).exit == Exit.JOB_UNFINISHED
        one.start()
        eventually(lambda: buyer.command("job", "fetch", job[-8:]).exit == Exit.OK, "it is fetched after all")
        assert copying.is_home
        assert buyer.ask("job.show", job=job)["job"]["lost"] == 0


def test_cancelling_a_job_that_waits_for_a_lost_result_ends_it_at_once(tmp_path: Path) -> None:
    """Long before its patience does."""
    with bought(tmp_path) as (buyer, one, _, job):
        eventually(lambda: "is not here yet" in buyer.log, "it was asked for and not had")
        said = buyer.command("job", "cancel", job[-8:])
        assert (said.exit, said.json["code"]) == (Exit.OK, "given_up"), said
        ended = buyer.command("job", "wait", job[-8:])
        assert (ended.exit, ended.error["code"]) == (Exit.JOB_UNFINISHED, "result_lost"), ended
        shards = buyer.ask("job.show", job=job)["shards"]
        assert shards[shard_of(buyer, one, job)]["statuses"] == ["given_up"]


def test_a_job_that_was_written_down_and_never_signed_holds_no_blobs(tmp_path: Path) -> None:
    """As when whoever submitted it was cut off in between. One that was signed is found on our own lane."""
    with Cluster(tmp_path) as cluster:
        node = cluster.found("node")
        node.stop()
        with Store.open(node.home.store_url) as store:
            blobs = BlockStore(node.home.blobs)
            spec = blobs.add(b"a spec of which no event was signed")
            record = Work(store.recorder("work")).begin_job(spec, name="never", output=None, inputs=[[]])
        node.start()
        eventually(lambda: node.ask("blob.gc", unused_ms=0)["used"] == 0, "nothing holds it")
        assert "never was never submitted" in node.log
        node.stop()
        with Store.open(node.home.store_url) as store:
            assert Work(store.recorder("work")).record_of_job(record.id).ended
