"""Stock js-libp2p meets one of our nodes: noise, yamux, ping, identify, sync, gossip, over TCP and WebSocket.

The JavaScript side (`tests/interop/peer.mjs`) uses published packages only and checks every event it gets.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from ledger.event import parse
from network.gossip import topic_names
from network.gossip_io import Announcer
from network.sync_io import Sync
from network.sync_messages import PROTOCOL
from tests.interop import javascript
from tests.network.conftest import LOOPBACK, tcp_host
from tests.network.ledgers import NET, Author, MemoryLedger


async def steps(process: trio.Process) -> AsyncIterator[dict[str, Any]]:
    """What the JavaScript node tells, line by line."""
    assert process.stdout is not None
    rest = b""
    async for chunk in process.stdout:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)


@pytest.mark.slow
@pytest.mark.parametrize("listen", [LOOPBACK, LOOPBACK + "/ws"])
async def test_a_javascript_node_pings_identifies_syncs_and_gossips_with_ours(listen: str):
    """Every event that reached JavaScript had its id and signature checked there; its own stands here."""
    authors = [Author(1), Author(2)]
    ledger = MemoryLedger()
    ledger.add(*authors[0].lane(40), *authors[1].lane(2, 70))
    gossiped = authors[1].lane(300)
    told: dict[str, dict[str, Any]] = {}
    async with tcp_host(1, listen) as host, trio.open_nursery() as nursery:
        await nursery.start(Sync(host, ledger, ledger.take_events, ledger.take_checkpoints).run)
        announcer = await Announcer.join(host, NET)
        nursery.start_soon(announcer.run)
        task = {
            "address": host.addresses()[0],
            "net": str(NET),
            "topic": topic_names(NET)[0],
            "expect": len(gossiped),
        }
        node = await trio.lowlevel.open_process(
            javascript.command("peer.mjs", json.dumps(task)),
            cwd=javascript.NODE_FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            with trio.fail_after(50):
                async for step in steps(node):
                    told[step.pop("step")] = step
                    if "subscribed" in told and "gossip" not in told:
                        while not announcer.neighbours:  # it knows of us before we know of it
                            await trio.sleep(0.01)
                        await announcer.announce([event.wire for event in gossiped])
                    if "published" in told:
                        break
                assert "published" in told, f"JavaScript ended after {list(told)}; see its error above"
                batch = await anext(announcer.events)
        finally:
            node.kill()
            await node.wait()
        nursery.cancel_scope.cancel()

    assert told["dial"] == {"encryption": "/noise", "muxer": "/yamux/1.0.0"}
    assert told["ping"]["ms"] >= 0
    assert {PROTOCOL, "/meshsub/1.1.0", "/ipfs/ping/1.0.0"} <= set(told["identify"]["protocols"])
    assert told["sync"]["hello"] == "hello"
    assert told["sync"]["lanes"] == 2
    assert _checked(told["sync"]) == {str(cid) for cid in ledger.events}
    assert _checked(told["gossip"]) == {str(event.id) for event in gossiped}
    [event] = [parse(wire, net=NET) for wire in batch.wires]
    assert event.header.k == "note"


def _checked(step: dict[str, Any]) -> set[str]:
    assert all(event["ok"] for event in step["checked"])
    return {event["id"] for event in step["checked"]}
