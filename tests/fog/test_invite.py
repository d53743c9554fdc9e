"""Invites: what one machine prints, another reads, whatever mail programs did to it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fog import invite
from ledger.errors import UsageError
from ledger.genesis import Allocation, Genesis, Validator

ADDRESS = "/ip4/192.0.2.7/tcp/7419/p2p/12D3KooWGjMCwTRAzGLSkXZnMqzMVdYtZNVgR7q7gnTz8bVqB8zR"

names = st.text(alphabet=string.ascii_letters + string.digits + " -", min_size=1, max_size=40)
addresses = st.lists(
    st.text(alphabet=string.ascii_letters + string.digits + "/.-:", min_size=1, max_size=80).map(
        "/{}".format
    ),
    max_size=invite.ADDRESSES_MAX,
)


def network(name: str = "lab", accounts: int = 1) -> Genesis:
    allocations = tuple(Allocation(n.to_bytes(32, "big"), 1_000_000) for n in range(accounts))
    return Genesis(1, name, 1_700_000_000_000, 1, (Validator(bytes(32), 1),), allocations, {})


@given(names, addresses)
def test_what_was_invited_to_is_what_is_joined(name: str, reached: list[str]) -> None:
    """Network, genesis object and addresses come out as they went in."""
    read = invite.read(invite.make(network(name), reached))
    assert read.network() == network(name)
    assert read.net == network(name).net
    assert list(read.addresses) == reached


@given(addresses)
def test_an_invite_is_one_line_of_plain_characters(reached: list[str]) -> None:
    """It survives a chat, a mail and a double click."""
    line = invite.make(network(), reached)
    assert line.startswith("fog1")
    assert line.isascii()
    assert line.isalnum()
    assert len(line) <= invite.LINE_SIZE_MAX


@given(st.data())
def test_white_space_and_capitals_are_forgiven(data: st.DataObject) -> None:
    """Line breaks that a mail program put in do not matter."""
    line = invite.make(network(), [ADDRESS])
    at = data.draw(st.integers(0, len(line)))
    assert invite.read(f"  {line[:at].upper()}\n > ".replace(">", "") + f"{line[at:]}\n") == invite.read(line)


@given(st.data())
def test_a_slip_of_one_character_is_noticed(data: st.DataObject) -> None:
    """Changed, lost or doubled: an error that says to copy the line again, never another network."""
    line = invite.make(network(), [ADDRESS])
    at = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.sampled_from([c for c in string.ascii_lowercase + string.digits if c != line[at]]))
    for broken in (
        line[:at] + other + line[at + 1 :],
        line[:at] + line[at + 1 :],
        line[:at] + line[at:][0] + line[at:],
    ):
        if broken != line:
            with pytest.raises(UsageError) as caught:
                invite.read(broken)
            assert caught.value.code == "bad_invite"


@given(st.one_of(st.text(), st.text(alphabet=string.ascii_lowercase + "234567").map("fog1{}".format)))
def test_garbage_is_a_usage_error_and_nothing_else(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        invite.read(text)
    assert caught.value.code == "bad_invite"


def test_a_large_genesis_stays_out_of_the_line() -> None:
    """The invite then gives the network's id only, which checks the file that must come along."""
    large = network(accounts=100)
    read = invite.read(invite.make(large, [ADDRESS]))
    assert read.network() is None
    assert read.net == large.net


@pytest.mark.parametrize(
    "reached", [["no-slash"], ["/with space"], ["/" + "x" * 300], ["/a"] * 9, ["/a\n"]], ids=str
)
def test_addresses_that_cannot_travel_are_refused_where_the_invite_is_made(reached: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        invite.make(network(), reached)
    assert caught.value.code == "bad_address"
