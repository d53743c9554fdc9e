"""What a running node can be asked about the machines of its account, in the forms of `fog.methods`.

method       parameters   reply
fleet.show   Nothing      FleetState
"""

from __future__ import annotations

from typing import Final

import msgspec

from fog.methods import Account, Message, Nothing
from ledger.types import Micro, Millis, Uint


class DeviceLine(Message, frozen=True, kw_only=True):
    """One device that acts, or acted, for the account.

    here       it is the node that answers
    acts       it may act for the account now
    reachable  it told this node the fields from `name` to `started` just now; else they are empty
    slots, busy, price, until   of its offer, as the ledger has it; 0 without one
    earned, runs                micro-credits for the account and the runs they were for, ever; `earned_day`
                                those of the last 24 hours; `paid`: ledger time of the last one, 0 for never
    """

    device: Account
    here: bool
    acts: bool
    reachable: bool
    name: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    version: str = ""
    system: str = ""
    cores: Uint = 0
    memory: Uint = 0
    profile: str = ""
    action: str = ""
    why: str = ""
    doing: list[str] = msgspec.field(default_factory=list)
    started: Millis = 0
    slots: Uint = 0
    busy: Uint = 0
    price: Micro = 0
    until: Millis = 0
    earned: Micro = 0
    earned_day: Micro = 0
    runs: Uint = 0
    paid: Millis = 0


class FleetState(Message, frozen=True, kw_only=True):
    """All devices of the account: this one first, then by key."""

    account: Account
    devices: list[DeviceLine]
    time: Millis


PARAMS: Final[dict[str, type[Message]]] = {"fleet.show": Nothing}
