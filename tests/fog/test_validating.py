"""Between gossip and the votes of a ledger: what is heard of whom, and what is passed on. Over real links."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from domain.rules import FogRules
from domain.rules.execute import VERSION
from fog.exchange import Exchange
from fog.replica_thread import ReplicaThread
from fog.validating import Validating
from ledger.genesis import Allocation, Genesis, Validator
from ledger.replica import Replica
from ledger.signing import SigningKey
from ledger.store import Store
from ledger.votes import Phase, SignedVote, Vote
from network.gossip import decode_votes, encode_votes, topic_names
from network.host import Host, open_host
from network.topic import Topic

NOW = 1_700_000_000_000
US, ONE, TWO, THREE = (SigningKey(bytes([number]) * 32) for number in range(1, 5))
PEER, OTHER = (SigningKey(bytes([number]) * 32) for number in range(11, 13))
DEADLINE_S = 20
SLOT = 3
"""Open, and none in which anybody says anything of its own."""

pytestmark = pytest.mark.trio


def genesis() -> Genesis:
    keys = sorted(key.public for key in (US, ONE, TWO, THREE))
    return Genesis(
        v=1,
        name="words",
        created=NOW,
        rules=VERSION,
        validators=tuple(Validator(key, 1) for key in keys),
        accounts=tuple(Allocation(key, 1_000) for key in keys),
        params={"bond_min": 1},
    )


def word(key: SigningKey, slot: int = SLOT) -> SignedVote:
    return SignedVote.make(key, Vote(genesis().net, 0, slot, Phase.SKIP, None, NOW))


def junk(n: int = 1) -> bytes:
    """What THREE did not sign."""
    vote = Vote(genesis().net, 0, SLOT, Phase.SKIP, None, NOW + n)
    return SignedVote(vote, THREE.public, word(THREE).sig).encode()


def message(*said: bytes, at: int = 1) -> bytes:
    [encoded] = encode_votes(said, at)
    return encoded


@dataclass
class Node:
    """One that only watches, and hears nothing before `start`."""

    host: Host
    replica: Replica
    start: Callable[[], None]

    async def has_heard(self, signed: SignedVote) -> None:
        await until(lambda: self.replica._voting.voter.has_heard(signed))


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await trio.sleep(0.01)


@asynccontextmanager
async def watching() -> AsyncIterator[Node]:
    async with AsyncExitStack() as stack:
        store = Store.create("sqlite://", genesis())
        stack.callback(store.close)
        replica = Replica.open(store, FogRules(), None, validator=False)
        host = await stack.enter_async_context(open_host(US.seed, ["/ip4/127.0.0.1/tcp/0"]))
        nursery = await stack.enter_async_context(trio.open_nursery())
        ledger = ReplicaThread(replica, lambda: NOW)
        exchange = await Exchange.open(host, ledger, flush_ms=5)
        await nursery.start(exchange.run)
        validating = Validating(host, exchange, ledger)
        yield Node(host, replica, lambda: nursery.start_soon(validating.run))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def neighbour(node: Node, key: SigningKey) -> AsyncIterator[tuple[Host, Topic]]:
    """Somebody who speaks gossip and holds nothing."""
    async with open_host(key.seed, []) as host:
        topic = await host.topic(topic_names(genesis().net)[1], relays_at_once=False)
        peer = await host.dial(node.host.addresses()[0])
        await until(lambda: peer in topic.neighbours)
        yield host, topic


async def tell(node: Node, topic: Topic, messages: Sequence[bytes]) -> None:
    """They wait at the node when this returns."""
    come = node.host.counts["gossip.accept"] + len(messages)
    for one in messages:
        await topic.publish(one)
    await until(lambda: node.host.counts["gossip.accept"] == come)


async def test_of_a_peer_that_sends_junk_one_word_is_looked_at_in_a_turn_and_of_others_all() -> None:
    with trio.fail_after(DEADLINE_S):
        async with (
            watching() as node,
            neighbour(node, PEER) as (_, liar),
            neighbour(node, OTHER) as (_, peer),
        ):
            await tell(node, liar, [message(junk(2 * n), junk(2 * n + 1)) for n in range(1, 6)])
            await tell(node, peer, [message(word(ONE).encode())])
            node.start()
            await node.has_heard(word(ONE))
            assert node.host.counts["blame.bad_vote"] == 1
            await tell(node, liar, [message(word(TWO).encode())])  # no turn is its last
            await node.has_heard(word(TWO))


async def test_what_a_banned_peer_sent_before_is_not_heard() -> None:
    with trio.fail_after(DEADLINE_S):
        async with (
            watching() as node,
            neighbour(node, PEER) as (host, liar),
            neighbour(node, OTHER) as (_, peer),
        ):
            await tell(node, liar, [message(word(TWO).encode(), junk())])
            await tell(node, peer, [message(word(ONE).encode())])
            node.host.blame(host.peer_id, "oversize", fatal=True)
            node.start()
            await node.has_heard(word(ONE))
            assert not node.replica._voting.voter.has_heard(word(TWO))
            assert not node.host.counts["blame.bad_vote"]


async def test_a_word_that_was_not_looked_at_is_not_passed_on_but_the_news_beside_it_is() -> None:
    """A vote of the next epoch is of no use here; whoever is there judges it, and blames who told it."""
    with trio.fail_after(DEADLINE_S):
        async with (
            watching() as node,
            neighbour(node, PEER) as (_, peer),
            neighbour(node, OTHER) as (_, next_one),
        ):
            node.start()
            vote = Vote(genesis().net, 1, SLOT, Phase.SKIP, None, NOW)
            unread = SignedVote(vote, THREE.public, bytes(64)).encode()
            await tell(node, peer, [message(word(ONE).encode(), unread)])
            assert decode_votes((await next_one.next())[1]) == [word(ONE).encode()]
            good = message(word(TWO).encode(), word(ONE).encode())
            await tell(node, peer, [good])
            assert (await next_one.next())[1] == good
