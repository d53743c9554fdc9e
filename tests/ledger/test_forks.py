"""Fork proofs: convincing on their own, and never about the innocent."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from ledger import forks
from ledger.errors import RemoteError
from ledger.event import Event
from ledger.forks import ForkProof
from tests.ledger.world import Author, make_genesis, pay

GENESIS = make_genesis(alice=1)


@dataclass
class Fork:
    one: Event
    other: Event
    later: Event

    @property
    def proof(self) -> ForkProof:
        return ForkProof.of(self.one, self.other)


@pytest.fixture
def fork() -> Fork:
    alice = Author(GENESIS, "alice")
    alice.says(pay("bob", 1))
    one, other = alice.fork(pay("bob", 2), pay("carol", 2))
    return Fork(one, other, alice.says(pay("bob", 3)))


def code_of(proof: ForkProof, net=GENESIS.net) -> str:
    with pytest.raises(RemoteError) as refused:
        forks.parse(proof.encode(), net=net)
    return refused.value.code


def test_a_proof_convinces_from_its_bytes_alone(fork: Fork):
    proof = forks.parse(fork.proof.encode(), net=GENESIS.net)
    assert proof == fork.proof
    assert set(proof.ids) == {fork.one.id, fork.other.id}
    assert proof.header(GENESIS.net).seq == 1
    assert len(proof.encode()) <= forks.PROOF_SIZE_MAX


def test_the_order_of_discovery_does_not_show(fork: Fork):
    assert ForkProof.of(fork.one, fork.other) == ForkProof.of(fork.other, fork.one)


def test_one_header_with_two_names_is_no_fork(fork: Fork):
    p = fork.proof
    assert code_of(ForkProof(p.h1, p.s1, p.h1, p.s1)) == "bad_proof"


def test_two_places_are_no_fork(fork: Fork):
    a, b = fork.one, fork.later
    assert code_of(ForkProof(a.header_bytes, a.signature, b.header_bytes, b.signature)) == "bad_proof"


def test_another_authors_signature_is_no_proof(fork: Fork):
    """Headers that name a victim, signed by somebody else."""
    assert code_of(msgspec.structs.replace(fork.proof, s1=fork.later.signature)) == "bad_proof"


def test_the_larger_id_first_is_refused(fork: Fork):
    p = fork.proof
    assert code_of(ForkProof(p.h2, p.s2, p.h1, p.s1)) == "bad_proof"


def test_a_fork_of_another_network_is_refused(fork: Fork):
    assert code_of(fork.proof, net=make_genesis(zoe=1).net) == "wrong_network"


def test_two_events_that_are_no_fork_are_a_fault_of_ours(fork: Fork):
    with pytest.raises(AssertionError, match="no fork"):
        ForkProof.of(fork.one, fork.later)
