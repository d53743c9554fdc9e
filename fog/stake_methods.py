"""What a running node can be asked about stake, beside what is in `fog.methods`, and in the same forms.

method          parameters       reply
stake.show      StakeShow        StakeState
stake.bond      StakeMove        Recorded
stake.unbond    StakeMove        Recorded
stake.unjail    Wait             Recorded
stake.forget    Nothing          Nothing
"""

from __future__ import annotations

from typing import Final

from fog.methods import Account, Message, Nothing
from ledger.types import Micro, Millis, Positive, Uint


class Wait(Message, frozen=True, kw_only=True):
    """`wait`: until it is final."""

    wait: bool = True


class StakeMove(Wait, frozen=True, kw_only=True):
    """`amount` in micro-credits, into one's own bond or out of it."""

    amount: Positive


class StakeShow(Message, frozen=True, kw_only=True):
    """null: this node's own account."""

    account: Account | None = None


class Leaving(Message, frozen=True, kw_only=True):
    """A part of a bond that is free at ledger time `time`."""

    time: Millis
    amount: Micro


class StakeState(Message, frozen=True, kw_only=True):
    """A bond, and the stake with which its owner votes in the present `epoch` and the next (0: not at all).

    jailed  ledger time until which it is in jail; 0: it is not
    """

    account: Account
    bonded: Micro
    leaving: list[Leaving]
    jailed: Millis
    epoch: Uint
    votes: Micro
    votes_next: Micro
    height: Uint


PARAMS: Final[dict[str, type[Message]]] = {
    "stake.show": StakeShow,
    "stake.bond": StakeMove,
    "stake.unbond": StakeMove,
    "stake.unjail": Wait,
    "stake.forget": Nothing,
}
