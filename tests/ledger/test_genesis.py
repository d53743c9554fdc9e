"""The genesis object: what a network is, agreed to the byte."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import canonical, genesis
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.genesis import GENESIS_SIZE_MAX, VALIDATORS_MAX, Genesis
from tests.ledger import samples
from tests.ledger.samples import Draw

ALICE, BOB = bytes(31) + b"\x01", bytes(31) + b"\x02"

FIELDS: dict[str, Any] = {
    "v": 1,
    "name": "street",
    "created": 1_700_000_000_000,
    "rules": 1,
    "validators": [{"key": ALICE, "stake": 10}, {"key": BOB, "stake": 5}],
    "accounts": [{"account": ALICE, "amount": 0}, {"account": BOB, "amount": 25_000_000}],
    "params": {"attempts_max": 10},
}


def parse(**changes: Any) -> Genesis:
    fields = {**FIELDS, **changes}
    return genesis.parse(canonical.encode({key: value for key, value in fields.items() if value is not ...}))


def test_the_network_is_the_hash_of_its_genesis():
    """Change anything, and it is another network."""
    assert parse().net == Cid.of(canonical.encode(FIELDS))
    assert parse(name="another street").net != parse().net
    assert parse(params={"attempts_max": 11}).net != parse().net


@pytest.mark.parametrize("number", range(20))
def test_a_genesis_survives_its_encoding(number: int):
    """Parsed, it is equal and has the same id."""
    made = samples.genesis(Draw("genesis", number))
    assert genesis.parse(made.encode()) == made
    assert genesis.parse(made.encode()).net == made.net


def test_stake_is_the_sum_over_the_validators():
    """What a quorum is measured against."""
    assert parse().stake == 15


@pytest.mark.parametrize(
    ("damage", "changes"),
    [
        ("another version", {"v": 2}),
        ("no name", {"name": ""}),
        ("rules version 0", {"rules": 0}),
        ("nobody who finalises", {"validators": []}),
        ("a validator without stake", {"validators": [{"key": ALICE, "stake": 0}]}),
        ("a key of 31 bytes", {"validators": [{"key": bytes(31), "stake": 1}]}),
        ("validators not sorted", {"validators": FIELDS["validators"][::-1]}),
        ("a validator twice", {"validators": FIELDS["validators"][:1] * 2}),
        ("accounts not sorted", {"accounts": FIELDS["accounts"][::-1]}),
        ("an account twice", {"accounts": FIELDS["accounts"][:1] * 2}),
        ("an account field that does not exist", {"accounts": [{"account": ALICE, "amount": 1, "x": 1}]}),
        ("a parameter that is text", {"params": {"attempts_max": "10"}}),
        ("a parameter without a name", {"params": {"": 1}}),
        ("a field missing", {"created": ...}),
        ("a field that does not exist", {"x": 1}),
        ("a hundred and one validators", {
            "validators": [{"key": n.to_bytes(32, "big"), "stake": 1} for n in range(VALIDATORS_MAX + 1)]
        }),
        ("more money than a number can hold", {
            "accounts": [{"account": ALICE, "amount": 2**62}, {"account": BOB, "amount": 2**62}]
        }),
        ("more stake than a number can hold", {
            "validators": [{"key": ALICE, "stake": 2**62}, {"key": BOB, "stake": 2**62}]
        }),
    ],
)  # fmt: skip
def test_a_genesis_out_of_shape_is_refused(damage: str, changes: dict[str, Any]):
    """A network that nobody could run, or that could be written in two ways."""
    with pytest.raises(RemoteError) as refused:
        parse(**changes)
    assert refused.value.code == "bad_schema", damage


def test_the_limits_themselves_are_allowed():
    """A hundred validators, and with their stakes exactly 2^63 - 1 of money."""
    validators = [{"key": n.to_bytes(32, "big"), "stake": 1} for n in range(VALIDATORS_MAX)]
    free = 2**63 - 1 - VALIDATORS_MAX
    accounts = [{"account": ALICE, "amount": free - 1}, {"account": BOB, "amount": 1}]
    assert parse(validators=validators, accounts=accounts).stake == VALIDATORS_MAX


def test_a_genesis_over_its_limit_is_refused_unread():
    """Garbage of one byte too many is `oversize`."""
    with pytest.raises(RemoteError) as refused:
        genesis.parse(b"\xff" * (GENESIS_SIZE_MAX + 1))
    assert refused.value.code == "oversize"


@given(st.sampled_from(sorted(FIELDS)), st.none() | st.integers(0, 2**63 - 1) | st.text("ab", max_size=3))
def test_a_field_of_any_type_is_a_genesis_or_refused(field: str, value: Any):
    """A value, or RemoteError, never anything else."""
    with contextlib.suppress(RemoteError):
        assert getattr(parse(**{field: value}), field) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_genesis_or_refused(data: bytes):
    """A value, or RemoteError, never anything else."""
    with contextlib.suppress(RemoteError):
        assert genesis.parse(data).encode() == data
