"""What a running node can be asked about identities, beside what is in `fog.methods`, and in the same forms.

    method              parameters         reply
    identity.show       IdentityShow       Identity
    identity.delegate   DeviceName         Recorded
    identity.revoke     DeviceName         Recorded
    identity.guard      IdentityGuard      Recorded
    identity.recover    IdentityRecover    Recorded
    identity.cancel     Nothing            Recorded

All but `show` and `recover` are about the account that the node acts for.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from domain.payloads import GUARDIANS_MAX
from fog.methods import Account, Message, Nothing
from ledger.types import Millis, Uint


class IdentityShow(Message, frozen=True, kw_only=True):
    """null: the account that this node acts for."""

    account: Account | None = None


class Ask(Message, frozen=True, kw_only=True):
    """A guardian would have a device act for the account."""

    guardian: Account
    device: Account


class Recovery(Message, frozen=True, kw_only=True):
    """What guardians ask for. `device` once enough agree on it; it may act after height `height` (0: passed)
    and ledger time `time`, unless the account cancels."""

    asked: list[Ask]
    device: Account | None = None
    height: Uint = 0
    time: Millis = 0


class Identity(Message, frozen=True, kw_only=True):
    """Who acts for `account`: `devices`, and its own key unless it is `retired`.

    device  this node's key;  acts: whether that may act for the account;  height: of the state that says so
    """

    account: Account
    devices: list[Account]
    guardians: list[Account]
    threshold: Uint
    retired: bool
    recovery: Recovery | None
    device: Account
    acts: bool
    height: Uint


class DeviceName(Message, frozen=True, kw_only=True):
    device: Account


class IdentityGuard(Message, frozen=True, kw_only=True):
    """`threshold` of `guardians`, in any order; 0 of none: nobody."""

    guardians: Annotated[list[Account], Meta(max_length=GUARDIANS_MAX)]
    threshold: Annotated[int, Meta(ge=0, le=GUARDIANS_MAX)]


class IdentityRecover(Message, frozen=True, kw_only=True):
    account: Account
    device: Account


PARAMS: Final[dict[str, type[Message]]] = {
    "identity.show": IdentityShow,
    "identity.delegate": DeviceName,
    "identity.revoke": DeviceName,
    "identity.guard": IdentityGuard,
    "identity.recover": IdentityRecover,
    "identity.cancel": Nothing,
}
