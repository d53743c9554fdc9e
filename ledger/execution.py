"""The line between order and meaning: what the ledger asks of the rules that execute events.

The ledger decides which events are effective and in which order; `Rules` (implemented by `domain`) say
what they do. Everything here is a pure function of its arguments, so two nodes that order the same events
reach the same roots, on any machine, in any year.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from ledger import canonical
from ledger.cid import Cid
from ledger.event import Event
from ledger.genesis import Genesis
from ledger.state import State
from ledger.types import Name

OK = "ok"


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of one event (or of the end of a checkpoint, when `event` is null).

    code     `ok`, or the public word for why it had no effect
    effects  canonical encodings of what changed, in order, for the projections (see `domain.effects`)
    """

    event: Cid | None
    code: Name
    effects: tuple[bytes, ...] = ()

    @property
    def ok(self) -> bool:
        return self.code == OK

    def encode(self) -> bytes:
        # What `canonical.encode` does with a struct, for the one that is made for every event.
        return canonical.encode({"event": self.event, "code": self.code, "effects": list(self.effects)})


class Context(msgspec.Struct, frozen=True):
    """What a rule may know beside the state and the event.

    height  of the checkpoint being executed;  time  its ledger time T (unix ms)
    beacon  32 bytes that nobody but a sole voter could predict before the parent checkpoint was final
    """

    net: Cid
    height: int
    time: int
    beacon: bytes


class Rules(Protocol):
    """The meaning of events. Implementations must be pure and must use integers only."""

    def genesis(self, genesis: Genesis) -> State:
        """The state before the first event."""
        ...

    def execute(self, state: State, event: Event, context: Context) -> tuple[State, Receipt]:
        """One effective event. A refusal is a receipt with a code, never an exception."""
        ...

    def close(self, state: State, context: Context) -> tuple[State, Receipt]:
        """The end of a checkpoint: clearing, drawing of checkers, deadlines that have passed."""
        ...

    def due(self, state: State) -> int | None:
        """The earliest ledger time (unix ms) at which `close` would do something with no new event."""
        ...
