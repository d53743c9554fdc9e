"""Who may finalise, with how much stake: one set of validators for each epoch, and who leads which slot.

An epoch is a fixed number of heights (`epoch_checkpoints`, a parameter of genesis). The set of an epoch is
a row of the state, written by the rules at the end of the epoch two before it, so it is final long before
anybody needs it. Epochs 0 and 1 have the validators of genesis.

    validators   epoch (8 bytes, big endian)   DAG-CBOR list of {key, stake}, sorted by key

Knows keys, stakes and heights. Does not know where stake comes from (`domain` does) or how a vote runs.

What must always hold: the set of an epoch never changes once that epoch's predecessor has begun; a quorum is
more than two thirds of the whole set's stake, whoever is silent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import asdict

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.genesis import VALIDATORS_MAX, Genesis, Validator
from ledger.state import State

TABLE: Final = "validators"
"""State table: key = epoch as 8 bytes; value = the list of that epoch's validators."""

EPOCH_CHECKPOINTS: Final = "epoch_checkpoints"
"""Name of the parameter in genesis: heights in an epoch."""

EPOCH_CHECKPOINTS_DEFAULT: Final = 600
SET_SIZE_MAX: Final = 16 * 1024
TURNS_PER_VALIDATOR: Final = 4
"""Length of the leaders' cycle, in turns for each validator: the smaller, the coarser small stakes."""

SETS_MAX: Final = 16
"""Sets kept parsed: those of the epochs that votes, checkpoints and proofs are of just now."""

_LEADERS: Final = b"fogledger/v1/leaders\n"

Members = Annotated[tuple[Validator, ...], Meta(min_length=1, max_length=VALIDATORS_MAX)]


def is_quorum(weight: int, total: int) -> bool:
    """More than two thirds of the stake, without fractions."""
    return 3 * weight > 2 * total


@dataclass(frozen=True)
class ValidatorSet:
    """`stakes`: key -> stake, in order of the keys."""

    stakes: Mapping[bytes, int]

    @classmethod
    def of(cls, members: Iterable[Validator]) -> ValidatorSet:
        return cls({one.key: one.stake for one in sorted(members, key=lambda one: one.key)})

    @cached_property
    def total(self) -> int:
        return sum(self.stakes.values())

    def weight(self, keys: Iterable[bytes]) -> int:
        """Stake of those of `keys` that are validators; each key counts once."""
        return sum(self.stakes.get(key, 0) for key in set(keys))

    def is_quorum(self, weight: int) -> bool:
        return is_quorum(weight, self.total)

    def encode(self) -> bytes:
        return canonical.encode([asdict(Validator(key, stake)) for key, stake in self.stakes.items()])

    @cached_property
    def id(self) -> Cid:
        """What a checkpoint's `vnext` names."""
        return Cid.of(self.encode())

    def __contains__(self, key: object) -> bool:
        return key in self.stakes

    def __repr__(self) -> str:
        return f"<ValidatorSet of {len(self.stakes)}, stake={self.total}>"


@lru_cache(maxsize=SETS_MAX)
def parse_set(data: bytes) -> ValidatorSet:
    """Bytes -> ValidatorSet. Raises RemoteError (`oversize`, `non_canonical`, `bad_schema`)."""
    members: Members = canonical.decode_as(Members, data, size_max=SET_SIZE_MAX)
    found = ValidatorSet.of(members)
    if found.encode() != data:
        raise RemoteError("validators must be sorted by key and without repeats", code="bad_schema")
    return found


# -- epochs -------------------------------------------------------------------------------------------------


def epoch_length(genesis: Genesis) -> int:
    """Heights in an epoch of this network, at least 1."""
    return max(1, genesis.params.get(EPOCH_CHECKPOINTS, EPOCH_CHECKPOINTS_DEFAULT))


def epoch_of(height: int, length: int) -> int:
    """The epoch of a height (from 1)."""
    return (height - 1) // length


def is_last_of_epoch(height: int, length: int) -> bool:
    return height % length == 0


def row_key(epoch: int) -> bytes:
    return epoch.to_bytes(8, "big")


def validators_of(state: State, epoch: int) -> ValidatorSet:
    """The set of an epoch that the state knows: the one before, the present one and the next two at most.

    Raises RemoteError (`unknown_epoch`) for another.
    """
    row = state.get(TABLE, row_key(epoch)) if epoch < 2**63 else None
    if row is None:
        raise RemoteError(f"the validators of epoch {epoch} are not known here", code="unknown_epoch")
    return parse_set(row)


def genesis_set(genesis: Genesis) -> ValidatorSet:
    return ValidatorSet.of(genesis.validators)


def with_genesis_sets(state: State, genesis: Genesis) -> State:
    """The rows of epochs 0 and 1."""
    row = genesis_set(genesis).encode()
    return state.put(TABLE, row_key(0), row).put(TABLE, row_key(1), row)


def with_next_set(state: State, height: int, length: int) -> State:
    """At the end of an epoch: rules that have no say in it leave the validators as they are."""
    epoch = epoch_of(height, length)
    if not is_last_of_epoch(height, length) or state.get(TABLE, row_key(epoch + 2)) is not None:
        return state
    return state.put(TABLE, row_key(epoch + 2), validators_of(state, epoch + 1).encode())


# -- leaders ------------------------------------------------------------------------------------------------


class Schedule:
    """Who leads each slot of an epoch: in turns, as often as their stake says.

    Smooth weighted round robin: in every turn each validator gains its stake, and who has most leads and pays
    the whole stake. Equal ones are told apart by a hash of network, epoch and key, which gives every epoch
    another order. A cycle repeats.
    """

    def __init__(self, net: Cid, epoch: int, validators: ValidatorSet) -> None:
        def luck(key: bytes) -> bytes:
            return hashlib.sha256(_LEADERS + net + row_key(epoch) + key).digest()

        order = sorted(validators.stakes, key=luck)
        credit = dict.fromkeys(order, 0)
        turns: list[bytes] = []
        for _ in range(TURNS_PER_VALIDATOR * len(order)):
            for key in order:
                credit[key] += validators.stakes[key]
            leader = max(order, key=credit.__getitem__)
            credit[leader] -= validators.total
            turns.append(leader)
        self._turns = turns

    def leader(self, slot: int) -> bytes:
        """The key of who may propose in this slot (from 1)."""
        return self._turns[(slot - 1) % len(self._turns)]
