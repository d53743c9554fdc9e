"""Who acts for an account, as its row says: its own key until that is retired, and its devices.

Only reads: `domain.rules.identity` changes it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from domain.rules.draft import Draft
from domain.rules.records import DELEGATION, flat
from ledger.state import State


class Identity(msgspec.Struct, frozen=True):
    """`devices` and `guardians`: keys, 32 bytes each, sorted. `retired`: 1 once the own key may not act."""

    devices: bytes = b""
    guardians: bytes = b""
    threshold: int = 0
    retired: int = 0


IDENTITY: Final = flat("identity", Identity)

NOBODY: Final = Identity()


def identity_of(draft: Draft, account: bytes) -> Identity:
    return draft.get(IDENTITY, account) or NOBODY


def identity_in(state: State, account: bytes) -> Identity:
    """The same, for whoever looks from outside."""
    row = state.get(IDENTITY.name, account)
    return NOBODY if row is None else IDENTITY.decode(row)


def acts(draft: Draft, account: bytes, device: bytes) -> bool:
    """Whether the account acts through the device, or by its own key."""
    if device == account:
        return not identity_of(draft, account).retired
    return draft.get(DELEGATION, account + device) is not None


def acts_in(state: State, account: bytes, device: bytes) -> bool:
    """The same, for whoever looks from outside; a closed lane is another matter."""
    if device == account:
        return not identity_in(state, account).retired
    return state.get(DELEGATION.name, account + device) is not None
