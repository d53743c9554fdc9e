"""Two nodes at one height hold the same, and say the same, byte for byte."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.nodes.cluster import Node, eventually
from tests.nodes.conftest import Market

pytestmark = pytest.mark.slow

ASKED = {
    "/v1/proofs/state": "?table=supply",
    "/v1/proofs/inclusion": "?position=2&size=5",
    "/v1/proofs/consistency": "?first=2&second=5",
}
"""What endpoints want to know that have no answer without a question."""

STREAMED = 20_000  # bytes of the stream compared: the whole of a small history is more


def shared_paths(node: Node) -> list[str]:
    """Every path that the API itself calls the network's and not this node's."""
    documented = json.loads(node.get("/v1/openapi.json"))["paths"]
    return sorted(
        path for path, operations in documented.items() if "this node" not in operations["get"]["tags"]
    )


def test_at_every_height_the_roots_are_equal(market: Market) -> None:
    """Event root, state root and receipt root of every checkpoint there is."""
    height = market.cluster.settle()
    first, *others = [node.items("/v1/checkpoints") for node in market.cluster]
    assert max(checkpoint["height"] for checkpoint in first) >= height > 3
    assert len({checkpoint["state_root"] for checkpoint in first}) > 3
    common = {checkpoint["height"]: checkpoint for checkpoint in first}
    for other in others:
        assert {one["height"]: one for one in other if one["height"] in common} == common


def test_at_one_height_every_shared_endpoint_answers_with_the_same_bytes(market: Market) -> None:
    """Whatever the API's own description calls shared is asked of all three nodes, page by page."""
    anchor = market.anchor
    opened = market.buyer.command("escrow", "open", market.lender.account, "1", "--expires", "100000")
    escrow = opened.json["escrow"]
    market.cluster.settle()
    assert market.lender.command("escrow", "close", escrow).exit == 0
    market.cluster.settle()
    known = {
        "escrow": escrow,
        "job": market.job,
        "account": market.buyer.account,
        "height": "3",
        "engine": anchor.items("/v1/offers")[0]["engine"],
    }
    compared = []
    for template in shared_paths(anchor):
        if template == "/v1/stream":
            continue
        path = re.sub(r"\{(\w+)\}", lambda found: known[found[1]], template) + ASKED.get(template, "")
        answers = eventually(partial(answers_at_one_height, market, path), f"one height at {path}")
        assert len(set(answers)) == 1, f"{path}: {answers}"
        compared.append(template)
    for word in (
        "balances",
        "transfers",
        "jobs",
        "shards",
        "runs",
        "offers",
        "prices",
        "reputation",
        "contributions",
        "events",
        "checkpoints",
    ):
        assert any(word in path for path in compared), f"no endpoint tells of {word}"


def answers_at_one_height(market: Market, path: str) -> list[bytes] | None:
    """What each node answers; None when they were not all at one height meanwhile."""
    answers = [whole(node, path) for node in market.cluster]
    heights = {page.get("height") for answer in answers for page in map(json.loads, answer.splitlines())}
    return answers if len(heights) == 1 else None


def whole(node: Node, path: str) -> bytes:
    """All pages of a list, or the one answer."""
    first = node.get(path)
    return b"\n".join(node.pages(path)) if "items" in json.loads(first) else first


def test_the_stream_of_all_history_is_the_same_from_every_node(market: Market) -> None:
    """Read from the beginning, event by event."""
    market.cluster.settle()
    anchor, *others = [b"".join(stream(node)) for node in market.cluster]
    assert b"event: checkpoint" in anchor
    assert all(other == anchor for other in others)


def stream(node: Node) -> Iterator[bytes]:
    """The first lines of the stream, without comments (which are for keeping a line open)."""
    size = 0
    with urllib.request.urlopen(f"{node.api}/v1/stream?after=0-0", timeout=20) as lines:
        for line in lines:
            if not line.startswith(b":"):
                size += len(line)
                yield line
            if size > STREAMED:
                return


def test_every_node_exports_the_same_archive(market: Market, tmp_path: Path) -> None:
    """Not only the same facts: the same file."""
    market.cluster.settle()

    def alike() -> bool:
        for file in tmp_path.iterdir():
            file.unlink()
        return len({node.export(tmp_path / f"{node.name}.car") for node in market.cluster}) == 1

    assert eventually(alike, "one archive")
