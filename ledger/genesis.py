"""The genesis object: everything that must be agreed before the first event. Its Cid is the network.

    name         for people
    created      unix milliseconds; the ledger's clock starts here
    rules        version of the execution rules
    validators   who may finalise, with their stake in micro-credits; a quorum is more than two thirds of it
    accounts     the first balances in micro-credits; beside the stakes, nothing else is ever minted
    params       named integers that the rules read (see `domain.rules.params`)

A network with one validator is *solo*. A network where one validator holds more than two thirds is
*anchored*: everybody can detect that it cheats, nobody can prevent it.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.types import INT63_MAX, Key, Micro, Millis, Name, Positive, Uint

GENESIS_SIZE_MAX = 256 * 1024
VALIDATORS_MAX = 100


class Validator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: Key
    stake: Positive


class Allocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    account: Key
    amount: Micro


class Genesis(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    v: Annotated[int, Meta(ge=1, le=1)]
    name: Name
    created: Millis
    rules: Annotated[int, Meta(ge=1, le=2**31)]
    validators: Annotated[tuple[Validator, ...], Meta(min_length=1, max_length=VALIDATORS_MAX)]
    accounts: tuple[Allocation, ...]
    params: dict[Name, Uint]

    def encode(self) -> bytes:
        return canonical.encode(self)

    @cached_property
    def net(self) -> Cid:
        """The network's id."""
        return Cid.of(self.encode())

    @property
    def stake(self) -> int:
        return sum(validator.stake for validator in self.validators)


def parse(data: bytes) -> Genesis:
    """Bytes -> Genesis. Raises RemoteError (`oversize`, `non_canonical`, `bad_schema`)."""
    genesis = canonical.decode_as(Genesis, data, size_max=GENESIS_SIZE_MAX)
    for what, keys in (
        ("validators", [validator.key for validator in genesis.validators]),
        ("accounts", [allocation.account for allocation in genesis.accounts]),
    ):
        if any(a >= b for a, b in pairwise(keys)):
            raise RemoteError(f"{what} must be sorted by key and without repeats", code="bad_schema")
    if sum(a.amount for a in genesis.accounts) + genesis.stake > INT63_MAX:
        raise RemoteError("amounts and stakes add up to more than 2^63-1", code="bad_schema")
    return genesis
