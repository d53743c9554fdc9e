"""Phones: second devices of honest people, which speak for their account on a lane of their own.

    bought   the account delegates to it, or names guardians who ask for it in a recovery
    used     once it may act it pays now and then; its owner's node takes that in and passes it on
    dropped  the account revokes it, and it says nothing more; its key may be found by somebody
             (`fog.sim.liars_crowd.Finder`)

What it said and is not final it tells the node again, for nodes crash and lose disks: it keeps its own lane.

What must always hold: a phone says one thing at a place, and nothing once it was dropped. So nobody may be
punished for what it said (I11), and all of it becomes final (I13).
"""

from __future__ import annotations

import random
from functools import partial
from typing import Final

from domain.payloads import (
    IdentityDelegate,
    IdentityGuard,
    IdentityRecover,
    IdentityRevoke,
    Payload,
    Transfer,
)
from domain.rules.acting import acts_in
from fog.sim.ground import EVENTS, Ground
from fog.sim.node import Node
from fog.sim.pen import Pen
from fog.sim.scheduler import Action
from ledger.cid import Cid
from ledger.event import Event
from ledger.signing import SigningKey
from network.gossip import encode_events

PHONES: Final = 2
"""Of a run, each of another account."""

GUARDIANS: Final = 2
"""Who must agree, and as many as there are. A liar may be one of them."""

BOUGHT_MS: Final = 20_000
"""By then each is there."""

USED_MS: Final = 15_000
"""Between two payments, on average; and between two tries to tell what is not final."""

KEPT_MS: Final = 120_000
"""The longest that one is kept."""

PAID_MAX: Final = 2_000
"""Micro-credits of one payment."""


class Phone:
    def __init__(self, ground: Ground, owner: Node, key: SigningKey) -> None:
        self.owner = owner
        self.pen = Pen(key, ground.genesis.net)
        self._ground = ground
        self._revoked: Cid | None = None  # what its owner said to drop it
        self._draw: random.Random = ground.draw("phone", owner.index)
        self._said: list[Event] = []

    @property
    def is_lost(self) -> bool:
        """Whether it is final that it was dropped, and everything that it said before."""
        receipt = None if self._revoked is None else self._ground.observer.receipts.get(self._revoked)
        return receipt is not None and receipt.ok and not self._open()

    def buy(self) -> None:
        """Again and again, until its owner's node can say so."""
        others = self._others()
        known = self._draw.sample(others, min(GUARDIANS, len(others)))
        guardians = known if self._draw.randrange(3) == 0 else []
        names = tuple(sorted(node.key.public for node in guardians))
        payload = IdentityGuard(names, len(names)) if names else IdentityDelegate(self.pen.key.public)
        if self.owner.append(payload) is None:
            self._later(self.buy)
            return
        self._later(partial(self._use, guardians))
        self._ground.scheduler.after(self._draw.randrange(KEPT_MS), self._drop)

    def _use(self, guardians: list[Node]) -> None:
        """Or let them ask for it, as often as it takes."""
        if not self._ground.is_calm and self._revoked is None:
            if self._may_act():
                to = self._draw.choice(self._others()).key.public
                self._say(Transfer(to, self._draw.randrange(1, PAID_MAX)))
            else:
                for guardian in guardians:
                    guardian.append(IdentityRecover(self.owner.key.public, self.pen.key.public))
        if again := self._open():
            self._tell(again)
        self._later(partial(self._use, guardians))

    def _drop(self) -> None:
        """Not in the calm: what people say then is waited for."""
        if self._ground.is_calm:
            return
        said = self.owner.append(IdentityRevoke(self.pen.key.public)) if self._may_act() else None
        if said is None:
            self._ground.scheduler.after(USED_MS, self._drop)
        else:
            self._revoked = said.id

    def _say(self, payload: Payload) -> None:
        event = self.pen.say(payload, self._ground.time, acct=self.owner.key.public)
        self._said.append(event)
        self._ground.observer.appended(self.owner, event)
        self._ground.counts["said_by_phones"] += 1

    def _tell(self, events: list[Event]) -> None:
        """The owner's node takes it in, and passes it on as its own."""
        wires, owner = [event.wire for event in events], self.owner

        def take() -> None:
            owner.ingest(wires, owner.index)
            owner.say(EVENTS, encode_events(wires))

        owner.enter(take)

    def _open(self) -> list[Event]:
        """What it said that is not final, oldest first."""
        self._said = [event for event in self._said if event.id not in self._ground.observer.height_of]
        return self._said

    def _may_act(self) -> bool:
        """As far as its owner's node knows."""
        return acts_in(self.owner.replica.state, self.owner.key.public, self.pen.key.public)

    def _others(self) -> list[Node]:
        return [node for node in self._ground.nodes if node is not self.owner]

    def _later(self, action: Action) -> None:
        self._ground.scheduler.after(1 + self._draw.randrange(2 * USED_MS), action)


def hand_out(ground: Ground) -> list[Phone]:
    """To some honest people, at some moments of the beginning."""
    draw = ground.draw("phones")
    honest = [node for node in ground.nodes if not node.is_liar]
    phones = [
        Phone(ground, owner, SigningKey(ground.draw("phone key", owner.index).randbytes(32)))
        for owner in draw.sample(honest, min(PHONES, len(honest)))
    ]
    for phone in phones:
        ground.scheduler.after(draw.randrange(BOUGHT_MS), phone.buy)
    return phones
