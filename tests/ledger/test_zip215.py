"""ZIP215, judged against frozen verdicts of another implementation and against libsodium."""

from __future__ import annotations

import nacl.bindings
import nacl.exceptions
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import zip215
from ledger.zip215 import L, P
from tests.ledger import make_signature_vectors as vectors
from tests.ledger.make_signature_vectors import Case

FROZEN = vectors.read()

SPECCHECK_VERDICTS = [
    True,  # 0   A and R of small order
    True,  # 1   A of small order, R mixed
    True,  # 2   A mixed, R of small order
    True,  # 3   A and R mixed, passes without the cofactor too
    True,  # 4   A and R mixed, passes with the cofactor only
    True,  # 5   as 4, where multiplying k by 8 before reducing matters
    False,  # 6  S >= L
    False,  # 7  S far beyond L
    False,  # 8  non-canonical R, respelled before hashing
    True,  # 9   non-canonical R, hashed as it came
    True,  # 10  non-canonical A of small order: how it was hashed is killed by the cofactor
    True,  # 11  non-canonical A, hashed as it came
]


def verify(case: Case) -> bool:
    return zip215.verify(case.public, case.message, case.signature)


def libsodium_accepts(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        nacl.bindings.crypto_sign_open(signature + message, public)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def test_every_case_of_speccheck_gets_its_published_verdict():
    """The 12 edge cases of "Taming the many EdDSAs", with what ZIP215 says of each."""
    assert [verify(case) for case in vectors.speccheck()] == SPECCHECK_VERDICTS


def test_every_pair_of_small_order_points_verifies():
    """14 spellings for A times 14 for R, S = 0: ZIP215 accepts them all, whatever the message."""
    cases = list(vectors.small_order_pairs())
    assert len(vectors.SMALL_ORDER) == 14
    assert len(cases) == 196
    assert all(verify(case) for case in cases)


def test_the_frozen_cases_are_the_ones_we_build():
    """The file in tests/vectors holds the 12, the 196 and the 500, and nothing else."""
    assert [case for case, _ in FROZEN] == vectors.all_cases()
    assert len(FROZEN) == 12 + 196 + 500


def test_every_frozen_case_gets_the_verdict_of_noble():
    """Another implementation, in another language, agrees on each odd signature, one by one."""
    assert [case.name for case, valid in FROZEN if verify(case) != valid] == []


def test_what_libsodium_accepts_is_accepted():
    """The quick path of `signing.verify` may say yes, because its yes is always ours."""
    accepted = [case for case, _ in FROZEN if libsodium_accepts(case.public, case.message, case.signature)]
    assert len(accepted) > 10
    assert all(verify(case) for case in accepted)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
@settings(max_examples=25)
def test_an_honest_signature_verifies(seed: bytes, message: bytes):
    """RFC 8032 signatures by libsodium pass the slow check as well."""
    public, secret = nacl.bindings.crypto_sign_seed_keypair(seed)
    signature = nacl.bindings.crypto_sign(message, secret)[:64]
    assert zip215.verify(public, message, signature)


@given(st.data())
@settings(max_examples=40)
def test_one_changed_bit_is_noticed(data: st.DataObject):
    """In the key, in the signature or in the message."""
    public, secret = nacl.bindings.crypto_sign_seed_keypair(bytes(32))
    parts = [
        bytearray(public),
        bytearray(b"pay bob 25"),
        bytearray(nacl.bindings.crypto_sign(b"pay bob 25", secret)[:64]),
    ]
    part = data.draw(st.sampled_from(parts))
    bit = data.draw(st.integers(0, 8 * len(part) - 1))
    part[bit // 8] ^= 1 << bit % 8
    assert not zip215.verify(*map(bytes, parts))


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=130))
@settings(max_examples=50)
def test_garbage_is_a_no_and_never_an_error(public: bytes, message: bytes, signature: bytes):
    """The function is a predicate on any bytes of any length."""
    assert zip215.verify(public, message, signature) is False


def test_a_y_beyond_p_is_the_same_point_as_the_reduced_one():
    """All 19 values of y that have a second spelling decompress to the same point, or both to none."""
    for y in range(19):
        low, high = y.to_bytes(32, "little"), (y + P).to_bytes(32, "little")
        assert zip215.decompress(low) == zip215.decompress(high)


def test_minus_zero_is_zero():
    """x = 0 with the sign bit set is accepted, which RFC 8032 would refuse."""
    one = (1).to_bytes(32, "little")
    minus_zero = (1 | 1 << 255).to_bytes(32, "little")
    assert zip215.decompress(minus_zero) == zip215.decompress(one) == zip215.IDENTITY


def test_half_of_all_ys_are_on_no_point():
    """Decompression refuses a y that the curve does not have, and only that."""
    found = sum(
        zip215.decompress(vectors.scalar("y", n).to_bytes(32, "little")) is not None for n in range(200)
    )
    assert 60 < found < 140


@pytest.mark.parametrize("n", [0, 1, 2, L - 1, vectors.scalar("n")])
def test_the_curve_arithmetic_is_that_of_libsodium(n: int):
    """[n]B by our double-and-add equals [n]B by libsodium."""
    ours = zip215._combination(n, zip215.BASE, 0, zip215.IDENTITY)
    assert vectors.compress(ours) == vectors.compress(vectors.times_base(n))
