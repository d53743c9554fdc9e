"""Job files on a real network: a sweep, steps that wait for each other, a submitter that is killed twice."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from domain.compute.engine import ENGINE
from domain.payloads import BondedJob
from domain.rules import FogRules
from domain.work import Work
from fog import keys
from fog.exits import Exit
from fog.layout import lay_out, spec_of
from fog.node import now_ms
from fog.replica_thread import ReplicaThread
from ledger.cid import Cid
from ledger.replica import Replica
from ledger.store import Store
from network.blobs import BlockStore
from tests.domain.work.test_workflows import step
from tests.nodes import programs
from tests.nodes.cluster import BUYS, CREDIT, LENDS, Cluster, Node, eventually
from tests.nodes.jobs import assert_conserved, assert_each_shard_was_paid_once, wait_until_done

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
OVER_S_MAX = 240.0
POINTS = 12


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("job-files")) as cluster:
        anchor = cluster.found("anchor", LENDS)
        *_, buyer = cluster.join(first=LENDS, second=LENDS, buyer=BUYS)
        anchor.ask("wallet.send", to=buyer.account, amount=1_000 * CREDIT)
        yield cluster


def submitted(node: Node, file: Path) -> str:
    """The workflow's id, durable at the node when the command has ended."""
    ended = node.command("submit", str(file))
    assert ended.exit == Exit.OK, ended
    id: str = ended.json["workflow"]
    return id


def steps_of(node: Node, id: str) -> dict[str, dict[str, Any]]:
    return {step["step"]: step for step in node.ask("workflow.show", job=id)["steps"]}


def state_of(node: Node, id: str) -> str:
    state: str = node.ask("workflow.show", job=id)["workflow"]["state"]
    return state


def wait_until_over(node: Node, id: str) -> dict[str, dict[str, Any]]:
    eventually(lambda: state_of(node, id) != "running", "the workflow is over", within_s=OVER_S_MAX)
    return steps_of(node, id)


def test_a_sweep_and_its_steps_go_on_after_their_submitter_was_killed_twice(
    cluster: Cluster, tmp_path: Path
) -> None:
    """In the middle of the sweep, and when the step after it has begun: each step is one job, paid once."""
    buyer = cluster["buyer"]
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("node_modules"))
    id = submitted(buyer, tmp_path / "examples" / "pi.yaml")

    def some_are_settled() -> bool:
        return 0 < steps_of(buyer, id)["throw"]["settled"] < POINTS

    eventually(some_are_settled, "a part of the sweep is settled", within_s=OVER_S_MAX)
    results = tmp_path / "examples" / "pi-results"
    eventually(lambda: [*results.glob("throw/*.out")], "a first result is here before the others")
    (tmp_path / "examples" / "pi_add.c").unlink()  # all that is needed was read
    buyer.kill()
    buyer.start()
    eventually(lambda: steps_of(buyer, id)["add"]["jobs"], "the second step has begun", within_s=OVER_S_MAX)
    buyer.kill()
    buyer.start()
    followed = buyer.command("job", "logs", id[-8:], "--follow", as_json=False)
    assert (followed.exit, followed.err.count("==> ")) == (Exit.OK, POINTS + 2), followed
    steps = wait_until_over(buyer, id)

    assert {name: step["state"] for name, step in steps.items()} == dict.fromkeys(
        ("throw", "add", "draw"), "succeeded"
    ), steps
    assert [len(step["jobs"]) for step in steps.values()] == [1, 1, 1]
    assert len(buyer.ask("job.list")["jobs"]) == 3, "no step was submitted twice"
    counts = [
        [int(number) for number in (results / f"throw/{point}.out").read_text().split()]
        for point in range(POINTS)
    ]
    darts = [thrown for _, thrown in counts]
    table = (results / "throw/points.csv").read_text().splitlines()
    assert (table[0], table[6]) == ("point,darts,series", "5,400000,2")
    assert darts == [200_000] * 4 + [400_000] * 4 + [800_000] * 4, "points come in the order of writing"
    # Two that have theirs may hit equally often: of 100 sweeps in one or two.
    assert len({hits / thrown for hits, thrown in counts}) > POINTS - 3, "each run has its own randomness"
    found = re.match(
        r"pi = (\S+) \+- (\S+), from (\d+) darts in (\d+) runs", (results / "add/0.out").read_text()
    )
    assert found is not None
    assert (int(found[3]), int(found[4])) == (sum(darts), POINTS)
    assert float(found[1]) == pytest.approx(4 * sum(hits for hits, _ in counts) / sum(darts), abs=1e-6)
    assert (results / "draw/estimates.csv.out").read_text().count("#") == POINTS
    cluster.settle()
    for name in ("throw", "add"):  # drawing costs less than a micro-credit
        assert_each_shard_was_paid_once(cluster["anchor"], steps[name]["jobs"][0])
    assert_conserved(cluster["anchor"])

    waited = buyer.command("job", "wait", id[-8:], as_json=False)
    assert (waited.exit, "3 of 3 steps done" in waited.out) == (Exit.OK, True), waited
    logs = buyer.command("job", "logs", id[-8:], "--step", "add", as_json=False)
    assert logs.out == (results / "add/0.out").read_text()
    assert "==> add/0" in logs.err
    one = buyer.command("job", "logs", id, "--step", "throw", "--shard", "3")
    assert one.json["out"] == (results / "throw/3.out").read_text()


@pytest.mark.parametrize("is_signed", [False, True])
def test_a_crash_between_an_attempt_and_its_event_submits_it_once(
    cluster: Cluster, tmp_path: Path, is_signed: bool
) -> None:
    """The record is there, and the event was signed or was not; the record does not tell. The lane does."""
    buyer = cluster["buyer"]
    buyer.stop()
    key = leave_an_attempt(
        buyer, programs.write(tmp_path, "copies", programs.copies(10**6)), is_signed=is_signed
    )
    buyer.start()
    steps = wait_until_over(buyer, str(key))
    assert steps["only"]["state"] == "succeeded", steps
    jobs = [job for job in buyer.ask("job.list")["jobs"] if job["name"] == f"left-{is_signed}"]
    assert [job["job"] for job in jobs] == steps["only"]["jobs"]
    assert_each_shard_was_paid_once(cluster["anchor"], steps["only"]["jobs"][0])


def leave_an_attempt(node: Node, program: Path, *, is_signed: bool) -> Cid:
    """On a node that is down: what a crash leaves between `begin_job` and `job_submitted`."""
    wasm = program.read_bytes()
    signing = keys.load(node.home.key)
    planned = step(
        "only",
        program=Cid.of_raw(wasm),
        points=[[]],
        swept=False,
        inputs=[],
        price=2_000,
        fuel=10**9,
        memory=1 << 20,
        output_max=1 << 20,
        lease_ms=6_000,
        output=None,
        seed=os.urandom(32),  # what tells one spec from all others
    )
    blobs = BlockStore(node.home.blobs)
    assert blobs.add(wasm) == planned.program
    spec = spec_of(planned, lay_out(planned, []), [0])
    with Store.open(node.home.store_url) as store:
        work = Work(store.recorder("work"))
        now = now_ms()
        name = f"left-{is_signed}"
        flow = work.begin_workflow(
            Cid.of(name.encode()), name=name, submitted=now, deadline=now + 600_000, plan=[planned]
        )
        attempt = (flow, "only", [0])
        work.begin_job(blobs.add(spec), name=name, output=None, inputs=[[]], stems=["0"], step=attempt)
        if is_signed:
            replica = Replica.open(store, FogRules(), signing, validator=True, interval_ms=50)
            ledger = ReplicaThread(replica, now_ms, device=signing.public, account=signing.public)
            order = BondedJob(
                spec=blobs.add(spec),
                shards=1,
                fuel=planned.fuel,
                price=planned.price,
                lease=planned.lease_ms,
                deadline=flow.deadline,
                engine=ENGINE,
                checks=planned.checks,
                bond=0,
            )
            trio.run(ledger.append, order)
        return flow.key


def test_what_fails_is_told_and_nothing_after_it_begins(cluster: Cluster, tmp_path: Path) -> None:
    """A program that ends ill would end ill again, so it is not retried."""
    buyer = cluster["buyer"]
    programs.write(tmp_path, "trap", programs.TRAP)
    programs.write(tmp_path, "copies", programs.copies(1))
    file = tmp_path / "bad.yaml"
    file.write_text(
        "limits: {memory: 1MiB, fuel: 1}\nretries: 3\nsteps:\n"
        "  bad: {program: trap.wasm}\n"
        "  after: {program: copies.wasm, needs: [bad], inputs: [{from: bad}]}\n"
    )
    ended = buyer.command("submit", "--wait", str(file))
    assert ended.exit == Exit.PROGRAM_FAILED, ended
    assert "bad failed program: 1 of 1 shards (0): trap" in ended.error["message"]
    assert "--step bad" in ended.error["next_step"]
    steps = {step["step"]: step for step in ended.json["steps"]}
    assert (steps["after"]["state"], steps["after"]["reason"]) == ("skipped", "bad failed")
    assert (len(steps["bad"]["jobs"]), steps["after"]["jobs"]) == (1, [])


def test_a_refused_job_fails_its_step_with_the_code_of_the_rules(cluster: Cluster, tmp_path: Path) -> None:
    buyer = cluster["buyer"]
    programs.write(tmp_path, "copies", programs.copies(1))
    file = tmp_path / "dear.yaml"
    file.write_text("program: copies.wasm\nprice: 1000000\nlimits: {memory: 1MiB}\n")
    ended = buyer.command("submit", "--wait", str(file))
    assert ended.exit == Exit.JOB_UNFINISHED, ended
    assert "refused: insufficient_funds" in ended.error["message"]


def test_shards_that_the_network_lost_are_submitted_again_under_their_numbers(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Nobody lends at this price, so the first job passes its deadline; then somebody does."""
    anchor, buyer = cluster["anchor"], cluster["buyer"]
    programs.write(tmp_path, "copies", programs.copies(1))
    (tmp_path / "text").write_text("some text\n")
    file = tmp_path / "late.yaml"
    file.write_text(
        "output: out\nprice: 0.0005\nlimits: {memory: 1MiB, fuel: 1}\nretries: 10\nsteps:\n"
        "  only: {program: copies.wasm, inputs: [text], deadline: 4s, lease: 2s}\n"
    )
    id = submitted(buyer, file)

    def is_submitted_again() -> bool:
        return len(steps_of(buyer, id)["only"]["jobs"]) > 1

    eventually(is_submitted_again, "its shard is submitted again", within_s=OVER_S_MAX)
    job = steps_of(buyer, id)["only"]["jobs"][0]
    assert anchor.item(f"/v1/jobs/{job}")["state"] == "expired"
    buyer.command("job", "cancel", id)
    steps = wait_until_over(buyer, id)
    assert steps["only"]["state"] == "cancelled", steps
    assert state_of(buyer, id) == "cancelled"
    assert_conserved(anchor)


def test_a_workflow_is_cancelled_whole(cluster: Cluster, tmp_path: Path) -> None:
    """Its running job is, and what waits does not begin; cancelled again it says that it is over."""
    buyer = cluster["buyer"]
    programs.write(tmp_path, "endless", programs.ENDLESS)
    file = tmp_path / "long.yaml"
    file.write_text(
        "limits: {memory: 1MiB, fuel: 5000}\nprice: 0.001\nsteps:\n"
        "  long: {program: endless.wasm}\n"
        "  after: {program: endless.wasm, needs: [long]}\n"
    )
    id = submitted(buyer, file)
    eventually(lambda: steps_of(buyer, id)["long"]["jobs"], "it runs")
    seen = buyer.command("top").json
    assert id in [flow["workflow"]["workflow"] for flow in seen["workflows"]]
    assert {worker["account"] for worker in seen["workers"]} >= {cluster["anchor"].account}
    ended, drawn = buyer.screen("top", until=cluster["anchor"].account[:16])
    assert (ended, id[-8:] in drawn, "waits for long" in drawn) == (Exit.INTERRUPTED, True, True), drawn
    assert buyer.command("job", "cancel", id[-8:]).exit == Exit.OK
    steps = wait_until_over(buyer, id)
    assert {name: step["state"] for name, step in steps.items()} == {
        "long": "cancelled",
        "after": "cancelled",
    }
    again = buyer.command("job", "cancel", id[-8:])
    assert again.error["code"] == "workflow_over"
    assert id not in [flow["workflow"]["workflow"] for flow in buyer.command("top").json["workflows"]]


def test_a_shard_whose_result_nobody_has_any_more_is_submitted_again(tmp_path: Path) -> None:
    """Its submitter was away when it was settled, and who ran it has left since. Another runs it again."""
    (tmp_path / "text").write_text("some text\n")
    programs.write(tmp_path, "copies", programs.copies(200_000_000))
    file = tmp_path / "lost.yaml"
    file.write_text(
        "output: out\nprice: 0.002\ncheck: never\nlimits: {memory: 1MiB, fuel: 100}\n"
        "program: copies.wasm\ninputs: [text]\n"
    )
    with Cluster(tmp_path / "nodes") as cluster:
        anchor = cluster.found("anchor")
        leaves, buyer = cluster.join(leaves=LENDS, buyer=BUYS | {"FOG_BLOBS_RESULT_PATIENCE_MS": "2000"})
        anchor.ask("wallet.send", to=buyer.account, amount=1_000 * CREDIT)
        id = submitted(buyer, file)

        def is_running() -> bool:
            return any("running" in line for line in leaves.status()["worker"]["doing"])

        eventually(is_running, "it runs, so its input has been fetched", within_s=OVER_S_MAX)
        [job] = steps_of(buyer, id)["lost"]["jobs"]
        buyer.kill()
        wait_until_done(anchor, job)
        leaves.kill()
        cluster.join(stays=LENDS | {"FOG_WORKER_PRICE": "500"})  # so that it is asked before who has left
        buyer.start()
        steps = wait_until_over(buyer, id)
        assert (steps["lost"]["state"], len(steps["lost"]["jobs"])) == ("succeeded", 2), steps
        assert (tmp_path / "out" / "text.out").read_text() == "some text\n"
