"""Identities, domains, and the one rule behind the quick check."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import signing, zip215
from ledger.signing import Domain, SigningKey
from tests.ledger import make_signature_vectors as vectors

ALICE = SigningKey(b"a" * 32)


def test_rfc_8032_first_test_vector():
    """Section 7.1, TEST 1: the empty message, through our own signing key and the rule without a domain."""
    key = SigningKey(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert signing.verify_raw(key.public, b"", signature)


@pytest.mark.parametrize("domain", list(Domain))
def test_a_signature_is_valid_in_its_own_domain_only(domain: Domain):
    """A vote cannot be shown as an event, nor a hello as a voucher."""
    signature = ALICE.sign(domain, b"hello")
    assert [d for d in Domain if signing.verify(d, ALICE.public, b"hello", signature)] == [domain]


def test_no_domain_prefix_begins_another():
    """Otherwise a message could move from one domain to the other by its first bytes."""
    assert not any(a.value.startswith(b.value) for a, b in itertools.permutations(Domain, 2))


@given(st.binary(max_size=300), st.sampled_from(list(Domain)))
def test_signing_is_deterministic_and_verifies(message: bytes, domain: Domain):
    """The same key and message give the same 64 bytes, for ever."""
    signature = ALICE.sign(domain, message)
    assert len(signature) == 64
    assert signature == ALICE.sign(domain, message)
    assert signing.verify(domain, ALICE.public, message, signature)


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=80))
@settings(max_examples=50)
def test_bytes_of_any_length_are_judged_without_an_error(public: bytes, message: bytes, signature: bytes):
    """Keys and signatures of the wrong length are a plain no."""
    assert not signing.verify(Domain.EVENT, public, message, signature)


def test_the_rule_is_zip215_on_every_frozen_case():
    """Whatever libsodium thinks of them: 12 edge cases, 196 small-order pairs, 500 torsion variants."""
    wrong = [
        case.name
        for case, valid in vectors.read()
        if signing.verify_raw(case.public, case.message, case.signature) != valid
    ]
    assert wrong == []


def test_an_honest_signature_never_needs_the_slow_check(monkeypatch: pytest.MonkeyPatch):
    """3 ms instead of 0.07 would be a gift to whoever wants to keep a node busy."""

    def refuse(*_: object) -> bool:
        raise AssertionError("the slow check was asked")

    monkeypatch.setattr(zip215, "verify", refuse)
    assert signing.verify(Domain.VOTE, ALICE.public, b"vote", ALICE.sign(Domain.VOTE, b"vote"))


def test_repr_shows_the_public_half_only():
    """A key may end in a log; its seed must not."""
    assert repr(ALICE) == f"<SigningKey {ALICE.public.hex()[:16]}>"
    assert ALICE.seed.hex()[:8] not in repr(ALICE)


def test_a_seed_of_another_length_is_our_own_mistake():
    """Key files are checked before they come here."""
    with pytest.raises(AssertionError, match="32 bytes"):
        SigningKey(b"short")
