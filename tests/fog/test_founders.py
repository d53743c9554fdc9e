"""Several founders: what one of them types is one genesis object, and each joins with the key it has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fog import cli, founders, invite
from fog.exits import Exit
from fog.paths import DataDir
from ledger.errors import UsageError
from ledger.genesis import VALIDATORS_MAX, Genesis, parse
from ledger.signing import SigningKey

CREDIT = 1_000_000


def key(number: int) -> bytes:
    return SigningKey(number.to_bytes(32, "big")).public


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    answer: dict[str, object] = json.loads(capsys.readouterr().out)
    return answer


def test_four_friends_found_a_network_and_each_joins_with_the_key_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every step as the README tells it; the same genesis object is in all four directories."""
    homes = [DataDir(tmp_path / str(number)) for number in range(4)]
    keys = []
    for home in homes[1:]:
        assert cli.run(["--data-dir", str(home.root), "--json", "key"]) == Exit.OK
        keys.append(str(said(capsys)["account"]))
    given = [word for name in (*keys[:2], f"{keys[2]}=50000") for word in ("--founder", name)]
    first = ["--data-dir", str(homes[0].root), "--json", "init", "--credits", "1000.000003", *given]
    assert cli.run(first) == Exit.OK
    assert said(capsys)["validators"] == 4
    network = homes[0].read_genesis()
    line = invite.make(network, [])
    for home, account in zip(homes[1:], keys, strict=True):
        assert cli.run(["--data-dir", str(home.root), "--json", "join", line]) == Exit.OK
        assert said(capsys)["account"] == account
        assert home.read_genesis() == network
    stakes = {one.key.hex(): one.stake // CREDIT for one in network.validators}
    assert [stakes[name] for name in keys] == [100_000, 100_000, 50_000]
    amounts = {one.account.hex(): one.amount for one in network.accounts}
    assert [amounts[name] for name in keys] == [250 * CREDIT] * 3
    assert sum(amounts.values()) == 1_000 * CREDIT + 3, "the rest is the first one's"


def test_a_key_that_is_there_is_shown_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--data-dir", str(tmp_path), "--json", "key"]
    assert cli.run(command) == Exit.OK
    first = said(capsys)
    assert cli.run(command) == Exit.OK
    assert said(capsys) == first
    assert DataDir(tmp_path).key.stat().st_mode & 0o777 == 0o600


@given(
    st.integers(1, VALIDATORS_MAX - 1).flatmap(
        lambda count: st.lists(st.integers(1, 10**12), min_size=count, max_size=count)
    ),
    st.integers(0, 10**15),
)
def test_whatever_is_divided_is_a_valid_genesis_and_nothing_is_lost(stakes: list[int], free: int) -> None:
    others = {key(number + 1): stake for number, stake in enumerate(stakes)}
    validators, accounts = founders.divide(key(0), 7, others, free)
    network = Genesis(v=1, name="n", created=1, rules=7, validators=validators, accounts=accounts, params={})
    assert parse(network.encode()) == network
    assert network.stake == 7 + sum(stakes)
    assert sum(one.amount for one in accounts) == free
    parts = [one.amount for one in accounts if one.account != key(0)]
    assert len(set(parts)) == 1


@pytest.mark.parametrize(
    "text",
    ["", "3f1c", "zz" * 32, key(1).hex().upper(), key(1).hex() + "=0", "02" + "00" * 31, " " + key(1).hex()],
)
def test_what_is_no_founder_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        founders.read([text], CREDIT, 0)
    assert refused.value.next_step


def test_nobody_is_a_founder_twice() -> None:
    with pytest.raises(UsageError, match="twice"):
        founders.read([key(1).hex(), f"{key(1).hex()}=5"], CREDIT, 0)
    with pytest.raises(UsageError, match="counted"):
        founders.read([key(1).hex()], 2**62, 1)
    with pytest.raises(UsageError, match="your own"):
        founders.divide(key(1), 1, {key(1): 1}, 0)
    with pytest.raises(UsageError, match="at most"):
        founders.divide(key(0), 1, {key(n + 1): 1 for n in range(VALIDATORS_MAX)}, 0)
