"""Answers that prove themselves: what the API says, checked offline with nothing but the genesis object."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.payloads import EscrowOpen, JobSubmit, Offer, StakeBond, Transfer
from domain.rules.records import ACCOUNT
from ledger import merkle, proofs
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.genesis import Genesis
from ledger.proofs import Certified, Proof, Trust
from projections.live import FinalState
from projections.told import mismatches, unproven
from tests.projections.node import Node, asking
from tests.projections.test_real_rules import Network
from tests.projections.world import CREATED, ENGINE, VALIDATOR, account, cid

pytestmark = pytest.mark.trio


class Told:
    """A network with a payment, an offer and a job, and the API of its node."""

    def __init__(self, folder: Path) -> None:
        self.network = network = Network(folder)
        self.payment = network.say("alice", Transfer(account("bob"), 5))
        self.refused = network.say("bob", Transfer(account("carol"), 10**9))
        network.say("alice", StakeBond(1_000))
        network.say("carol", Offer(2, 50, CREATED + 3_600_000, ENGINE))
        self.escrow = network.say("alice", EscrowOpen(account("bob"), 60, 1_000, network.now + 60_000))
        network.finalize()
        submit = JobSubmit(cid("spec"), 2, 10 * 10**9, 100, 60_000, CREATED + 3_000_000, ENGINE, 1)
        self.job = network.say("alice", submit)
        network.finalize()
        network.finalize()
        self.node = Node(self)  # type: ignore[arg-type]

    @property
    def store(self) -> Any:
        return self.network.store

    @property
    def genesis(self) -> Genesis:
        return self.network.store.genesis

    @property
    def final_state(self) -> FinalState:
        assert self.network.replica.last is not None
        checkpoint, certificate = self.network.replica.last
        final = Certified(checkpoint.encode(), certificate.encode())
        return FinalState(checkpoint, final, self.network.replica.state)

    async def get(self, path: str, status: int = 200) -> Any:
        async with asking(self.node) as client:
            answer = await client.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def proven(self, path: str) -> tuple[dict[str, Any], Proof]:
        """The answer without its proof, and the proof, found good."""
        answer = await self.get(path)
        proof = msgspec.convert(answer.pop("proof"), Proof, strict=True)
        checkpoint = Trust(self.genesis).check_final(proof.final)
        assert checkpoint.height == answer["height"]
        for row in proof.rows:
            proofs.check_row(row, checkpoint)
        if proof.receipt is not None:
            proofs.check_receipt(proof.receipt, checkpoint)
        return answer, proof


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    told = Told(tmp_path)
    yield told
    told.store.close()


def paths(told: Told) -> list[str]:
    return [
        f"balances/{account('alice').hex()}",
        f"balances/{account('bob').hex()}",
        f"balances/{'07' * 32}",
        f"reputation/{account('carol').hex()}",
        f"reputation/{'07' * 32}",
        f"jobs/{told.job}",
        f"escrows/{told.escrow}",
        "supply",
        f"validators/{account('alice').hex()}",
        f"validators/{VALIDATOR.public.hex()}",
        f"validators/{'07' * 32}",
    ]


async def test_every_provable_answer_says_what_its_rows_say(told: Told) -> None:
    """With `proof=1` the answer is the same, and each field that a row knows has the row's value."""
    for path in paths(told):
        answer, proof = await told.proven(f"{path}?proof=1")
        assert answer == await told.get(path)
        assert mismatches(answer["item"], proof.rows) == []


async def test_each_offer_of_a_page_has_its_row(told: Told) -> None:
    answer, proof = await told.proven("offers?proof=1")
    assert len(answer["items"]) == len(proof.rows) == 1
    for item, row in zip(answer["items"], proof.rows, strict=True):
        assert mismatches(item, [row]) == []


async def test_an_account_that_holds_nothing_is_proven_absent(told: Told) -> None:
    answer, proof = await told.proven(f"balances/{'07' * 32}?proof=1")
    assert answer["item"]["free"]["value"] == "0"
    assert [row.value for row in proof.rows] == [None]


async def test_an_answer_that_was_changed_differs_from_its_rows(told: Told) -> None:
    """A credit more, somebody else's account, a job of another price: named by field."""
    answer, proof = await told.proven(f"balances/{account('alice').hex()}?proof=1")
    lie = copy.deepcopy(answer["item"])
    lie["free"]["value"] += "0"
    assert mismatches(lie, proof.rows) == ["free.value"]
    assert mismatches(answer["item"] | {"account": account("bob").hex()}, proof.rows) == ["account"]
    assert mismatches({}, proof.rows) == ["account", "free.value", "escrow.value", "pledged.value"]
    answer, proof = await told.proven(f"jobs/{told.job}?proof=1")
    assert mismatches(answer["item"] | {"price": "1", "settled": 2}, proof.rows) == ["price", "settled"]
    answer, proof = await told.proven(f"escrows/{told.escrow}?proof=1")
    assert mismatches(answer["item"] | {"redeemed": "60"}, proof.rows) == ["redeemed"]


async def test_rows_of_two_jobs_do_not_make_up_a_third(told: Told) -> None:
    """The price of the one and the state of the other, each of them true."""
    answer, proof = await told.proven(f"jobs/{told.job}?proof=1")
    job, tally = proof.rows
    other = cid("another job")
    with pytest.raises(RemoteError) as refused:
        unproven(answer["item"] | {"job": str(other)}, [job, msgspec.structs.replace(tally, key=other)])
    assert refused.value.code == "unproven"
    assert unproven(answer["item"], proof.rows) == ["height", "escrow"]


async def test_an_event_is_proven_with_its_receipt(told: Told) -> None:
    """Whether it had an effect or not; who wants more than final gets a refusal."""
    for id, code in ((told.payment, "ok"), (told.refused, "insufficient_funds")):
        answer, proof = await told.proven(f"events/{id}?proof=1")
        assert proof.receipt is not None
        proven = proofs.check_receipt(proof.receipt, Trust(told.genesis).check_final(proof.final))
        assert (proven.id, proven.receipt.code) == (id, code) == (Cid.parse(answer["item"]["event"]), code)
        assert proven.height == answer["item"]["height"]
    waiting = told.network.say("alice", Transfer(account("bob"), 7))
    assert (await told.get(f"events/{waiting}?proof=1", 404))["code"] == "not_found"


async def test_any_row_of_the_state_can_be_asked_for(told: Told) -> None:
    """By table and key, there or not."""
    key = account("alice")
    _, proof = await told.proven(f"proofs/state?table=account&key={key.hex()}")
    (row,) = proof.rows
    assert (row.table, row.key) == ("account", key)
    assert ACCOUNT.decode(row.value or b"") == ACCOUNT.decode(
        told.network.replica.state.get("account", key) or b""
    )
    _, proof = await told.proven("proofs/state?table=nothing")
    assert [row.value for row in proof.rows] == [None]
    assert (await told.get("proofs/state?table=account%00", 400))["code"] == "bad_parameter"


async def test_leaves_and_prefixes_of_the_event_tree_are_proven(told: Told) -> None:
    """For the tree of the last checkpoint or of any size below, against the roots of checkpoints."""
    made = {
        one["leaves"]: bytes.fromhex(one["event_root"]) for one in (await told.get("checkpoints"))["items"]
    }
    last = max(made)
    for size, root in made.items():
        for position in range(1, size + 1):
            found = await told.get(f"proofs/inclusion?position={position}&size={size}")
            path = [bytes.fromhex(hash) for hash in found["path"]]
            assert bytes.fromhex(found["root"]) == root
            assert merkle.verify_inclusion(bytes.fromhex(found["leaf"]), position - 1, size, path, root)
        found = await told.get(f"proofs/consistency?first={size}")
        path = [bytes.fromhex(hash) for hash in found["path"]]
        assert found["second"] == last
        assert merkle.verify_consistency(size, last, root, made[last], path)


async def test_beyond_the_tree_there_is_nothing_to_prove(told: Told) -> None:
    for path in (
        "proofs/inclusion?position=1000",
        "proofs/inclusion?position=2&size=1",
        "proofs/inclusion?position=1&size=1000",
        "proofs/consistency?first=1000",
        "proofs/consistency?first=2&second=1",
    ):
        assert (await told.get(path, 400))["code"] == "beyond_the_tree"


async def test_a_proof_of_another_network_is_refused(told: Told) -> None:
    _, proof = await told.proven(paths(told)[0] + "?proof=1")
    other = msgspec.structs.replace(told.genesis, name="another")
    with pytest.raises(RemoteError, match="network"):
        Trust(other).check_final(proof.final)
