"""A stranger sends a real node events that break rules: refused, counted, blamed; what is good stays.

The stranger is a libp2p host in the test, the node the anchor of the market, which works on for the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from domain.rules.codes import in_credits
from fog.exits import Exit
from ledger import canonical
from ledger.cid import Cid
from ledger.event import Event, make
from ledger.signing import SigningKey
from ledger.store import Store
from network.gossip import encode_events
from tests.nodes.cluster import CREDIT, eventually
from tests.nodes.conftest import Market
from tests.nodes.jobs import assert_conserved
from tests.nodes.stranger import Author, tell

pytestmark = pytest.mark.slow

NOTE = {"text": "a kind that nobody knows"}


def author(market: Market, name: str) -> Author:
    """Somebody nobody has seen before."""
    return Author(hashlib.sha256(name.encode()).digest(), market.anchor.home.read_genesis().net)


def resealed(event: Event, **parts: bytes) -> bytes:
    """The wire of an event with its header (h), signature (s) or body (b) replaced."""
    assert event.body is not None
    return canonical.encode({"h": event.header_bytes, "s": event.signature, "b": event.body} | parts)


def large_body(one: Author) -> bytes:
    """More than a lane for money may carry. (`make` refuses it, so the header tells another length.)"""
    event = one.write("note", NOTE)
    header = canonical.decode(event.header_bytes, size_max=4096)
    return resealed(event, h=canonical.encode(header | {"bl": 20_000}))


BAD: dict[str, Callable[[Author], bytes]] = {
    "non_canonical": lambda one: b"\xbf" + one.write("note", NOTE).wire[1:] + b"\xff",
    "bad_schema": lambda one: canonical.encode({"h": b"", "s": b"", "b": b"", "x": 1}),
    "wrong_network": lambda one: one.write("note", NOTE, net=Cid.of(b"another network")).wire,
    "oversize": large_body,
    "bad_body": lambda one: resealed(one.write("note", NOTE), b=canonical.encode({"text": "another"})),
    "bad_signature": lambda one: resealed(one.write("note", NOTE), s=bytes(64)),
}


@pytest.mark.parametrize("code", BAD)
def test_an_event_that_breaks_a_rule_is_counted_and_blamed_and_the_node_lives(
    market: Market, code: str
) -> None:
    """The code is the same word in the counter, the blame, the metrics and the documents."""
    anchor = market.anchor
    one = author(market, code)
    refused, blamed = anchor.counter(f"rejected.{code}"), anchor.counter(f"net.blame.{code}")
    tell(
        anchor,
        one.seed,
        [encode_events([BAD[code](one)])],
        lambda: anchor.counter(f"rejected.{code}") > refused and anchor.counter(f"net.blame.{code}") > blamed,
        f"{code} is counted",
    )
    assert f'fog_rejected{{of="{code}"}}' in anchor.get("/v1/metrics").decode()
    assert_the_node_works(market)


def test_bytes_that_are_no_batch_are_refused_before_they_are_read(market: Market) -> None:
    """Not even a list of events: held against who sent it."""
    anchor = market.anchor
    before = anchor.counter("net.gossip.reject")
    tell(
        anchor,
        author(market, "garbage").seed,
        [b"\xff" * 100, canonical.encode({"no": "list"})],
        lambda: anchor.counter("net.gossip.reject") >= before + 2,
        "garbage is counted",
    )
    assert_the_node_works(market)


def test_who_goes_on_sending_garbage_is_sent_away(market: Market) -> None:
    anchor = market.anchor
    one = author(market, "insistent")
    peers = anchor.status()["peers"]
    garbage = [encode_events([bytes([number]) * 40]) for number in range(20)]
    tell(anchor, one.seed, garbage, lambda: anchor.counter("net.banned") > 0, "the stranger is banned")
    eventually(lambda: anchor.status()["peers"] <= peers, "it is gone")
    assert_the_node_works(market)


def test_good_events_in_a_message_with_bad_ones_stand(market: Market) -> None:
    """Nothing is lost because somebody packed it together with garbage."""
    anchor = market.anchor
    one = author(market, "mixed")
    good = one.write("note", NOTE)
    bad = BAD["wrong_network"](author(market, "mixed too"))
    tell(
        anchor,
        one.seed,
        [encode_events([bad, good.wire])],
        lambda: anchor.item(f"/v1/events/{good.id}")["status"] == "final",
        "the good event is final",
    )


def test_a_kind_that_nobody_knows_is_final_without_effect(market: Market) -> None:
    """It has its place in the log of everybody, and the receipt `unknown_kind`."""
    one = author(market, "inventor")
    event = one.write("moonshot", {"to": "the moon"})
    tell(
        market.anchor,
        one.seed,
        [encode_events([event.wire])],
        lambda: are_final(market, [event]),
        "the event is final everywhere",
    )
    for node in market.cluster:
        seen = node.item(f"/v1/events/{event.id}")
        assert (seen["code"], seen["kind"], seen["account"]) == ("unknown_kind", "moonshot", one.account)


def test_a_forked_lane_is_proven_and_void_and_the_node_lives(market: Market) -> None:
    """Two events at one place, and one after each: the proof is kept by whoever saw both."""
    anchor = market.anchor
    one = author(market, "twofaced")
    root = one.write("note", {"text": "root"})
    left = one.write("note", {"text": "left"})
    right = one.write("note", {"text": "right"}, after=root)
    after_right = one.write("note", {"text": "after right"}, after=right)
    after_left = one.write("note", {"text": "after left"}, after=left)
    forked = anchor.counter("forked_lanes")
    tell(
        anchor,
        one.seed,
        [encode_events([event.wire for event in one.events])],
        lambda: are_final(market, one.events),
        "all of them are final everywhere",
    )
    eventually(lambda: anchor.counter("forked_lanes") == forked + 1, "the fork is counted")
    codes = {event.id: market.buyer.item(f"/v1/events/{event.id}")["code"] for event in one.events}
    assert codes[root.id] == "unknown_kind"
    assert sorted(codes[event.id] for event in (left, right)) == ["fork_void", "unknown_kind"]
    assert "fork_void" in {codes[event.id] for event in (after_left, after_right)}
    with Store.open(anchor.home.store_url) as store:
        assert {left.id, right.id} in [set(proof.ids) for proof in store.fork_proofs()]
    assert_the_node_works(market)


def bonded(market: Market, one: Author) -> Event:
    """Give a stranger credits, of which it bonds 1500; its event, final everywhere."""
    market.anchor.ask("wallet.send", to=one.account, amount=2_000 * CREDIT)
    bond = one.write("stake.bond", {"amount": 1_500 * CREDIT})
    tell(
        market.anchor,
        one.seed,
        [encode_events([bond.wire])],
        lambda: are_final(market, [bond]),
        "the bond is final everywhere",
    )
    assert market.buyer.item(f"/v1/events/{bond.id}")["code"] == "ok"
    return bond


def test_who_forks_with_a_bond_is_accused_by_whoever_sees_it_and_loses_by_it(market: Market) -> None:
    """Whoever finds the fork says so in an event of its own, and the rules do the rest on every node."""
    anchor = market.anchor
    one = author(market, "wealthy")
    bond = bonded(market, one)
    left = one.write("note", {"text": "left"})
    right = one.write("note", {"text": "right"}, after=bond)
    tell(
        anchor,
        one.seed,
        [encode_events([event.wire]) for event in (left, right)],
        lambda: market.buyer.items(f"/v1/slashes?account={one.account}"),
        "the fork is punished everywhere",
    )
    [slash] = market.buyer.items(f"/v1/slashes?account={one.account}")
    assert slash["offence"] == "fork"
    assert slash["reporter"] in [node.account for node in market.cluster]
    held = market.buyer.item(f"/v1/validators/{one.account}")
    assert int(held["bonded"]) == 1_500 * CREDIT - int(slash["amount"])
    assert held["jailed"] > 0
    assert sum(node.counter("accused.said") for node in market.cluster) >= 1
    after = one.write("transfer", {"to": bytes.fromhex(anchor.account), "amount": CREDIT}, after=left)
    tell(
        anchor,
        one.seed,
        [encode_events([after.wire])],
        lambda: are_final(market, [after]),
        "what it says next is final",
    )
    assert anchor.item(f"/v1/events/{after.id}")["code"] == "fork_void"
    assert_the_node_works(market)


def test_who_lies_about_a_place_with_a_bond_loses_by_it(market: Market) -> None:
    """The event itself is refused at every door; the warrant of whoever refused it is final everywhere."""
    anchor = market.anchor
    one = author(market, "careless")
    bond = bonded(market, one)
    lie = make(
        SigningKey(one.seed),
        net=one.net,
        lane=0,
        seq=1,
        prev=bond.id,
        parents=(),
        lc=77,
        ts=bond.header.ts,
        kind="note",
        body={"text": "from nowhere"},
    )
    tell(
        anchor,
        one.seed,
        [encode_events([lie.wire])],
        lambda: market.buyer.items(f"/v1/slashes?account={one.account}"),
        "the lie is punished everywhere",
    )
    [slash] = market.buyer.items(f"/v1/slashes?account={one.account}")
    assert slash["offence"] == "warrant"
    assert market.buyer.item(f"/v1/validators/{one.account}")["jailed"] == 0
    assert_the_node_works(market)


def test_spending_more_than_there_is_is_refused_and_costs_nothing(market: Market) -> None:
    """What, how much, what next; the attempt is in the log, the balance as before."""
    buyer = market.buyer
    held = buyer.ask("wallet.balance")["free"]
    ended = buyer.command("wallet", "send", market.anchor.account, str(held // CREDIT + 1))
    assert ended.exit == Exit.REFUSED
    assert ended.error["code"] == "insufficient_funds"
    assert ended.error["next_step"] == "fog wallet balance"
    assert f"holds {in_credits(held)} free" in ended.error["message"], ended
    assert buyer.ask("wallet.balance")["free"] == held
    [attempt, *_] = market.anchor.items(f"/v1/events?account={buyer.account}")
    assert (attempt["kind"], attempt["code"]) == ("transfer", "insufficient_funds")


def are_final(market: Market, events: list[Event]) -> bool:
    """On every node."""
    return all(
        node.item(f"/v1/events/{event.id}")["status"] == "final"
        for node in market.cluster
        for event in events
    )


def assert_the_node_works(market: Market) -> None:
    """A payment becomes final, and the other nodes hear of it."""
    paid = market.anchor.ask("wallet.send", to=market.buyer.account, amount=1)
    eventually(lambda: market.buyer.height >= paid["height"], "the buyer has heard of it")
    assert_conserved(market.buyer)
