"""What anyone can ask, and what they are told: as of a named checkpoint, the same on every node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trio

from ledger.cid import Cid
from projections import api
from projections.live import Harvest, HarvestChange, Peer
from tests.projections import history
from tests.projections.conftest import HELD
from tests.projections.history import ALICE, BOB, CAROL, DAVE
from tests.projections.node import Node, asking, waiting
from tests.projections.world import ENGINE, OTHER_ENGINE, World, cid

pytestmark = pytest.mark.trio

NOBODY = "00" * 32

SHARED = [
    "balances",
    f"balances/{ALICE.hex()}",
    f"balances/{NOBODY}",
    "transfers",
    f"transfers?account={BOB.hex()}",
    "escrows",
    "escrows?state=open",
    "jobs",
    "jobs?state=done",
    f"jobs?submitter={ALICE.hex()}",
    "jobs/{job}",
    "jobs/{job}/shards",
    "jobs/{job}/runs",
    "jobs/{job}/runs?shard=1",
    "schedule",
    f"schedule?worker={CAROL.hex()}",
    "offers",
    f"offers?engine={ENGINE.hex()}",
    "prices",
    f"prices/{ENGINE.hex()}",
    "reputation",
    f"reputation/{CAROL.hex()}",
    "contributions",
    "contributions?job={job}",
    "earners",
    f"earners?account={CAROL.hex()}",
    "events",
    "events?kind=offer&limit=2",
    "events?height=1",
    "events/{job}",
    "supply",
    "validators",
    f"validators/{ALICE.hex()}",
    f"validators/{NOBODY}",
    "slashes",
    f"slashes?account={ALICE.hex()}",
    "checkpoints",
    "checkpoints/3",
]


@pytest.fixture
def told(world: World) -> tuple[Node, Cid]:
    job = history.tell(world)
    return Node(world), job


async def get(node: Node, path: str, status: int = 200) -> Any:
    async with asking(node) as client:
        answer = await client.get(path)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


async def test_a_balance_says_its_status_and_the_checkpoint_that_set_it(told: tuple[Node, Cid]) -> None:
    """Amounts are strings of digits; the answer names the height as of which it holds."""
    answer = await get(told[0], f"balances/{ALICE.hex()}")
    assert answer == {
        "height": 7,
        "time": 1_795_000_007_000,
        "item": {
            "account": ALICE.hex(),
            "free": {"value": "810", "status": "final", "height": 7},
            "escrow": {"value": "0", "status": "final", "height": 7},
            "pledged": {"value": "0", "status": "final", "height": 7},
        },
    }


async def test_an_account_that_nobody_named_holds_nothing_since_genesis(told: tuple[Node, Cid]) -> None:
    answer = await get(told[0], f"balances/{NOBODY}")
    assert answer["item"]["free"] == {"value": "0", "status": "final", "height": 0}


async def test_a_tentative_balance_stands_beside_the_final_one(told: tuple[Node, Cid]) -> None:
    """Nothing spends on less than final, so both are shown and told apart."""
    node, _ = told
    path = f"balances/{ALICE.hex()}/tentative"
    assert (await get(node, path))["item"]["tentative"] is None
    node.maybe[ALICE] = (700, 110, 0)
    item = (await get(node, path))["item"]
    assert item["final"]["free"]["status"] == "final"
    assert item["tentative"]["free"] == {"value": "700", "status": "tentative", "height": 7}


async def test_an_event_is_tentative_until_it_has_a_receipt(told: tuple[Node, Cid]) -> None:
    """Before: where it waits. After: its receipt, height and index. Unknown: not found."""
    node, job = told
    unknown = cid("nothing")
    assert (await get(node, f"events/{unknown}", 404))["code"] == "not_found"
    node.unfinished.append(waiting("alice", unknown))
    item = (await get(node, f"events/{unknown}"))["item"]
    assert (item["status"], item["code"], item["height"]) == ("tentative", None, None)
    assert [e["event"] for e in (await get(node, "waiting"))["items"]] == [str(unknown)]
    item = (await get(node, f"events/{job}"))["item"]
    assert (item["status"], item["code"], item["height"], item["index"]) == ("final", "ok", 3, 0)


async def test_a_refused_event_says_why(told: tuple[Node, Cid]) -> None:
    """The code is the public word, the message is for people."""
    refused, paid = (await get(told[0], "events?height=1"))["items"]
    assert (refused["code"], refused["message"]) == ("insufficient_funds", "you hold 100")
    assert (paid["code"], paid["message"]) == ("ok", "")


async def test_transfers_of_an_account_are_those_it_sent_or_received(told: tuple[Node, Cid]) -> None:
    """A payment to oneself is listed once."""
    everyone = (await get(told[0], "transfers"))["items"]
    assert [(t["height"], t["amount"]) for t in everyone] == [(5, "1"), (1, "100")]
    alices = (await get(told[0], f"transfers?account={ALICE.hex()}"))["items"]
    assert alices == everyone
    bobs = (await get(told[0], f"transfers?account={BOB.hex()}"))["items"]
    assert bobs == everyone[1:]


async def test_a_job_shows_its_shards_runs_and_payments(told: tuple[Node, Cid]) -> None:
    node, job = told
    (item,) = (await get(node, "jobs"))["items"]
    assert item["job"] == str(job)
    assert (item["state"], item["settled"], item["failed"], item["spent"]) == ("done", 1, 1, "90")
    assert item["deadline"] == 2**63 - 1
    assert (await get(node, "jobs?state=running"))["items"] == []
    shards = (await get(node, f"jobs/{job}/shards"))["items"]
    assert [(s["shard"], s["state"], s["result"]) for s in shards] == [
        (0, "settled", str(cid("result"))),
        (1, "failed", None),
    ]
    runs = (await get(node, f"jobs/{job}/runs"))["items"]
    assert [(r["shard"], r["attempt"], r["state"], r["paid"]) for r in runs] == [
        (0, 0, "paid", "50"),
        (0, 1, "paid", "40"),
        (1, 0, "expired", "0"),
    ]
    assert (await get(node, f"jobs/{cid('none')}", 404))["detail"].startswith("no job")


async def test_the_schedule_holds_what_is_owed_now(world: World) -> None:
    """The run that is due first is at the top; runs that ended are not there."""
    for n, state in enumerate(("leased", "paid", "committed")):
        world.say("carol", history.run(cid("job"), 2 - n, 0, CAROL, state))
    world.finalize()
    node = Node(world)
    items = (await get(node, f"schedule?worker={CAROL.hex()}"))["items"]
    assert [(r["shard"], r["state"]) for r in items] == [(0, "committed"), (2, "leased")]
    assert (await get(node, f"schedule?worker={DAVE.hex()}"))["items"] == []


async def test_offers_are_cheapest_first_and_leave_when_withdrawn(told: tuple[Node, Cid]) -> None:
    items = (await get(told[0], "offers"))["items"]
    assert [(o["account"], o["price"]) for o in items] == [(DAVE.hex(), "40"), (BOB.hex(), "90")]


async def test_price_history_has_a_row_for_each_checkpoint_in_which_asks_changed(
    told: tuple[Node, Cid],
) -> None:
    """Being busy changes no ask (heights 3 and 4); a lower ask and a withdrawal do."""
    rows = (await get(told[0], f"prices/{ENGINE.hex()}"))["items"]
    assert [(r["height"], r["lowest"], r["median"], r["offers"]) for r in rows] == [
        (6, "40", "40", 1),
        (5, "40", "40", 2),
        (2, "50", "50", 2),
    ]
    current = (await get(told[0], "prices"))["items"]
    assert [(r["engine"], r["lowest"]) for r in current] == [(ENGINE.hex(), "40"), (OTHER_ENGINE.hex(), "90")]


async def test_reputation_counts_and_adds_up(told: tuple[Node, Cid]) -> None:
    item = (await get(told[0], f"reputation/{CAROL.hex()}"))["item"]
    assert (item["agreed"], item["wrong"], item["lost"]) == (1, 0, 1)
    assert (item["runs"], item["fuel"], item["amount"]) == (1, "1000000000", "50")
    nobody = (await get(told[0], f"reputation/{NOBODY}"))["item"]
    assert (nobody["agreed"], nobody["runs"], nobody["height"]) == (0, 0, 0)
    paid = (await get(told[0], "contributions"))["items"]
    assert [(c["account"], c["role"], c["amount"]) for c in paid] == [
        (DAVE.hex(), "check", "40"),
        (CAROL.hex(), "work", "50"),
    ]


async def test_a_checkpoint_shows_the_roots_to_compare(told: tuple[Node, Cid]) -> None:
    node, _ = told
    checkpoint, _ = node.world.store.last()  # type: ignore[misc]
    item = (await get(node, "checkpoints/7"))["item"]
    assert item["id"] == str(checkpoint.id)
    assert item["state_root"] == checkpoint.sroot.hex()
    assert (item["events"], item["refused"], item["leaves"]) == (0, 0, checkpoint.n)
    assert [c["height"] for c in (await get(node, "checkpoints?limit=3"))["items"]] == [7, 6, 5]
    assert "the last final one is 7" in (await get(node, "checkpoints/8", 404))["detail"]


async def test_two_nodes_at_one_height_give_the_same_bytes(
    world: World, postgres_url: Callable[[], str]
) -> None:
    """Another kind of database, a rebuild, other events waiting: shared answers are equal, byte for byte."""
    job = history.tell(world)
    other = World(postgres_url(), **HELD)
    history.tell(other)
    here, there = Node(world), Node(other)
    there.runner.rebuild()
    there.unfinished.append(waiting("bob", cid("only there")))
    async with asking(here) as one, asking(there) as two:
        for path in SHARED:
            path = path.format(job=job)
            ours, theirs = await one.get(path), await two.get(path)
            assert ours.status_code == 200, ours.text
            assert ours.content == theirs.content, path
    other.store.close()


async def test_harvest_tells_why_this_node_works_or_not(told: tuple[Node, Cid]) -> None:
    """With the last changes, as many as were asked for."""
    node, _ = told
    assert (await get(node, "harvest", 404))["code"] == "not_found"
    changes = [HarvestChange(number, "run", "idle", "working") for number in range(3)]
    now = Harvest(
        action="suspend",
        code="user_active",
        sentence="suspended: somebody used this machine 2 s ago",
        remedy="",
        also=("metered",),
        at=5,
        until=None,
        paused=0,
        profile="laptop",
        readings={"on_mains": True, "user_idle_ms": 2_000},
        unknown=("cpu_mc",),
        failures={"logind": "no bus"},
    )
    node.harvests = (now, changes)
    item = (await get(node, "harvest?limit=2"))["item"]
    assert (item["action"], item["code"], item["until"]) == ("suspend", "user_active", None)
    assert item["readings"] == {"on_mains": True, "user_idle_ms": 2_000}
    assert [change["at"] for change in item["changes"]] == [1, 2]


async def test_status_and_peers_tell_of_this_node(told: tuple[Node, Cid]) -> None:
    node, _ = told
    node.neighbours += [Peer(name, "/ip4/127.0.0.1/tcp/1", 1, "in") for name in ("b", "a")]
    status = await get(node, "status")
    assert (status["network"], status["height"], status["folded"], status["peers"]) == ("test", 7, 7, 2)
    assert [peer["id"] for peer in (await get(node, "peers"))["items"]] == ["a", "b"]


async def test_metrics_are_prometheus_text(told: tuple[Node, Cid]) -> None:
    node, _ = told
    node.counted |= {"rejected.bad_schema": 2, "rejected.oversize": 1, "pending.peak": 9, "height": 7}
    async with asking(node) as client:
        answer = await client.get("metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.text == (
        "# TYPE fog_height untyped\nfog_height 7\n"
        '# TYPE fog_pending untyped\nfog_pending{of="peak"} 9\n'
        '# TYPE fog_rejected untyped\nfog_rejected{of="bad_schema"} 2\nfog_rejected{of="oversize"} 1\n'
    )


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("balances?after=zz", 400, "bad_cursor"),
        ("balances?after=gA", 400, "bad_cursor"),
        ("transfers?after=gQE", 400, "bad_cursor"),
        ("balances?limit=0", 400, "bad_parameter"),
        ("balances?limit=201", 400, "bad_parameter"),
        ("balances/xyz", 400, "bad_parameter"),
        ("jobs?state=sleeping", 400, "bad_parameter"),
        ("jobs/b" + "a" * 58, 400, "bad_cid"),
        ("stream?after=1", 400, "bad_cursor"),
        ("stream?after=9-²", 400, "bad_cursor"),
        ("checkpoints/0", 400, "bad_parameter"),
        ("checkpoints/9223372036854775807", 404, "not_found"),
        ("nothing", 404, "no_such_page"),
    ],
)
async def test_what_cannot_be_answered_is_a_problem_document(
    told: tuple[Node, Cid], path: str, status: int, code: str
) -> None:
    """RFC 9457, with the public code and a sentence about what was wrong."""
    problem = await get(told[0], path, status)
    assert problem["code"] == code
    assert problem["type"] == f"urn:fog:problem:{code}"
    assert problem["status"] == status
    assert problem["title"]
    assert len(problem["detail"]) > 10


async def test_the_api_only_reads(told: tuple[Node, Cid]) -> None:
    async with asking(told[0]) as client:
        answer = await client.post("balances", json={})
    assert answer.status_code == 405
    assert answer.json()["code"] == "read_only"


async def test_a_name_that_is_not_ours_is_refused(told: tuple[Node, Cid]) -> None:
    """A web page can point its own name at 127.0.0.1; the browser then sends that name."""
    async with asking(told[0]) as client:
        for host, status in (
            ("evil.example", 403),
            ("localhost:8744", 200),
            ("[::1]:8744", 200),
            ("[::1]", 200),
        ):
            answer = await client.get("status", headers={"host": host})
            assert answer.status_code == status, host


async def test_an_answer_that_takes_too_long_is_given_up(
    told: tuple[Node, Cid], autojump_clock: trio.testing.MockClock
) -> None:
    """The reader gets 504 in time, even while a thread still works."""
    node, _ = told
    app = node.app

    @app.get("/v1/slow")
    async def slow() -> None:
        await trio.sleep_forever()

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=None) as client:
        answer = await client.get("/v1/slow")
    assert answer.status_code == 504
    assert answer.json()["code"] == "too_slow"
    assert trio.current_time() >= api.REQUEST_DEADLINE_S


async def test_a_fault_of_ours_is_a_problem_document_too(told: tuple[Node, Cid]) -> None:
    """No stack trace leaves the node, and the shape of errors has no exception."""
    node, _ = told
    node.counted["x"] = 1

    def broken() -> dict[str, int]:
        raise AssertionError("the story")

    node.counters = broken  # type: ignore[method-assign]
    problem = await get(node, "metrics", 500)
    assert problem["code"] == "fault"
    assert "the story" not in problem["detail"]


async def test_every_endpoint_is_described_with_its_answer(told: tuple[Node, Cid]) -> None:
    """OpenAPI: each operation has a text, a tag, and the problems it may answer with."""
    document = await get(told[0], "openapi.json")
    for path, operations in document["paths"].items():
        assert path.startswith("/v1/")
        assert set(operations) == {"get"}
        operation = operations["get"]
        assert operation["description"], path
        assert operation["tags"], path
        assert {"400", "503", "504"} <= set(operation["responses"]), path
    assert "12400000" in str(document["components"]["schemas"])


async def test_the_dashboard_needs_nothing_from_elsewhere(told: tuple[Node, Cid]) -> None:
    """One page; a policy that allows its own script and connections to this node, nothing else."""
    async with asking(told[0]) as client:
        page = await client.get("http://localhost/")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    addresses = page.text.replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in addresses
    assert "https:" not in addresses
    assert "innerHTML" not in page.text
