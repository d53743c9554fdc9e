"""A short life of a network, told as effects: payments, offers, two jobs, a dispute, a refusal."""

from __future__ import annotations

from domain.effects import (
    Balance,
    Contribution,
    JobIs,
    OfferStands,
    Refusal,
    Reputation,
    RunIs,
    ShardIs,
    Transferred,
)
from ledger.cid import Cid
from tests.projections.world import CREATED, ENGINE, OTHER_ENGINE, World, account, cid

ALICE, BOB, CAROL, DAVE = map(account, ("alice", "bob", "carol", "dave"))
FAR = 2**63 - 1


def held(who: bytes, free: int, escrow: int = 0) -> Balance:
    return Balance(who, free, escrow)


def offer(who: bytes, price: int, *, slots: int = 2, busy: int = 0, engine: bytes = ENGINE) -> OfferStands:
    return OfferStands(who, who, slots, busy, price, FAR, engine)


def job(id: Cid, state: str, *, settled: int = 0, failed: int = 0, spent: int = 0) -> JobIs:
    return JobIs(
        job=id,
        submitter=ALICE,
        state=state,  # type: ignore[arg-type]
        spec=cid("spec"),
        shards=2,
        settled=settled,
        failed=failed,
        escrow=600,
        spent=spent,
        price=100,
        fuel=10**9,
        submitted=CREATED,
        deadline=FAR,
        checks=1,
    )


def run(id: Cid, shard: int, attempt: int, who: bytes, state: str, *, paid: int = 0) -> RunIs:
    return RunIs(
        job=id,
        shard=shard,
        attempt=attempt,
        worker=who,
        device=who,
        role="check" if attempt else "work",
        state=state,  # type: ignore[arg-type]
        leased=CREATED + 3_000,
        until=CREATED + 60_000 + 1_000 * shard,
        result=cid("result") if state in ("revealed", "paid") else None,
        fuel=10**9 if paid else 0,
        paid=paid,
    )


def tell(world: World) -> Cid:
    """Seven checkpoints; the id of the job in them."""
    world.say("alice", Transferred(ALICE, BOB, 100), held(ALICE, 900), held(BOB, 100))
    world.say("bob", Refusal("insufficient_funds", "you hold 100"), code="insufficient_funds")
    world.finalize()  # 1
    world.say("carol", offer(CAROL, 50), kind="offer")
    world.say("dave", offer(DAVE, 70), kind="offer")
    world.say("bob", offer(BOB, 90, engine=OTHER_ENGINE), kind="offer")
    world.finalize()  # 2
    name = world.say("alice", held(ALICE, 300, 600), kind="job.submit")
    # The effect must name the event, whose id depends on its body; the rules know it, a told event cannot.
    world.finalize(
        job(name, "running"),
        *(ShardIs(name, n, "leased") for n in (0, 1)),
        *(run(name, n, 0, CAROL, "leased") for n in (0, 1)),
        offer(CAROL, 50, busy=2),
    )  # 3
    world.say("carol", run(name, 0, 0, CAROL, "committed"), kind="lease.commit")
    world.finalize(
        ShardIs(name, 0, "checking"), run(name, 0, 1, DAVE, "leased"), offer(DAVE, 70, busy=1)
    )  # 4
    world.say("dave", offer(DAVE, 40, busy=1), kind="offer")
    world.say("alice", Transferred(ALICE, ALICE, 1), held(ALICE, 300, 600))
    world.finalize()  # 5
    world.say(
        "dave",
        run(name, 0, 0, CAROL, "paid", paid=50),
        run(name, 0, 1, DAVE, "paid", paid=40),
        ShardIs(name, 0, "settled", cid("result"), 10**9),
        job(name, "running", settled=1, spent=90),
        Contribution(CAROL, CAROL, name, 0, 0, "work", 10**9, 50, CREATED + 6_000),
        Contribution(DAVE, DAVE, name, 0, 1, "check", 10**9, 40, CREATED + 6_000),
        Reputation(CAROL, 1, 0, 0),
        Reputation(DAVE, 1, 0, 0),
        held(ALICE, 300, 510),
        held(CAROL, 50),
        held(DAVE, 40),
        kind="lease.reveal",
    )
    world.say("carol", offer(CAROL, 50, slots=0), kind="offer")
    world.finalize()  # 6
    world.finalize(
        run(name, 1, 0, CAROL, "expired"),
        Reputation(CAROL, 1, 0, 1),
        ShardIs(name, 1, "failed"),
        job(name, "done", settled=1, failed=1, spent=90),
        held(ALICE, 810),
    )  # 7
    return name
