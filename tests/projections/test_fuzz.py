"""Whatever a reader asks, the answer is a value or a problem document; never a fault of ours."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.projections import history
from tests.projections.history import ALICE
from tests.projections.node import Node, asking
from tests.projections.world import World

PATHS = (
    "balances/{}",
    "balances/{}/tentative",
    "jobs/{}",
    "jobs/{}/shards",
    "jobs/{}/runs",
    "prices/{}",
    "reputation/{}",
    "events/{}",
    "checkpoints/{}",
    "balances?",
    "transfers?",
    "escrows/{}",
    "escrows?",
    "jobs?",
    "schedule?",
    "offers?",
    "prices?",
    "reputation?",
    "contributions?",
    "earners?",
    "events?",
    "checkpoints?",
    "waiting?",
    "proofs/state?",
    "proofs/inclusion?",
    "proofs/consistency?",
    "checkpoint?",
)
PARAMETERS = (
    "after",
    "limit",
    "account",
    "state",
    "submitter",
    "worker",
    "engine",
    "job",
    "kind",
    "height",
    "shard",
    "proof",
    "table",
    "key",
    "position",
    "size",
    "first",
    "second",
    "cosigned",
)

values = st.one_of(
    st.text(max_size=70),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from([ALICE.hex(), "b" + "a" * 58, "done", "g", "gQE", "gRv__________w", "\x00", "%00"]),
)


@pytest.fixture
def node(any_world: World) -> Node:
    """Only read here, so all examples may share it."""
    history.tell(any_world)
    return Node(any_world)


@pytest.mark.trio
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PATHS), values, st.dictionaries(st.sampled_from(PARAMETERS), values, max_size=3))
async def test_any_question_has_a_documented_answer(
    node: Node, path: str, value: str, parameters: dict[str, str]
) -> None:
    """200, 400 or 404; and 400 and 404 carry a code."""
    async with asking(node) as client:
        asked = path.format(quote(value, safe="")).rstrip("?")
        answer = await client.get(asked, params=parameters)
    assert answer.status_code in (200, 400, 404, 405), answer.text
    if answer.status_code != 200:
        assert answer.json()["code"]
