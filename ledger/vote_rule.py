"""The vote rule of Simplex, as a table: what a validator says in a slot, given what it has said there.

Knows one slot and the words of one validator. Does not know checkpoints, other validators or slots, nor what
makes a quorum: `ledger.simplex` tells it what is seen, and asks the table.

Never, by any path through the table (tests walk them all):
    I1  two notarize votes in a slot
    I2  finalize and skip in one slot
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, TypeAlias

from ledger.votes import Phase


class Voted(enum.Enum):
    """What we have said in a slot: what a restart reads back from the disk."""

    NOTHING = "nothing"
    NOTARIZE = "notarize"
    SKIP = "skip"
    BOTH = "notarize and skip"
    LEFT = "left"


class Seen(enum.Enum):
    """What happens in a slot."""

    PROPOSAL = "proposal"
    TIMEOUT = "timeout"
    NOTARIZE_Q = "notarize Q"
    SKIP_Q = "skip Q"


Transitions: TypeAlias = Mapping[tuple[Voted, Seen], tuple[Voted, Phase | None]]

TRANSITIONS: Final[Transitions] = {  # (voted so far, seen): (voted now, vote to persist and then send)
    (Voted.NOTHING, Seen.PROPOSAL): (Voted.NOTARIZE, Phase.NOTARIZE),
    (Voted.SKIP, Seen.PROPOSAL): (Voted.BOTH, Phase.NOTARIZE),  # late, but it still counts
    (Voted.NOTHING, Seen.TIMEOUT): (Voted.SKIP, Phase.SKIP),
    (Voted.NOTARIZE, Seen.TIMEOUT): (Voted.BOTH, Phase.SKIP),
    (Voted.NOTHING, Seen.NOTARIZE_Q): (Voted.LEFT, Phase.FINALIZE),
    (Voted.NOTARIZE, Seen.NOTARIZE_Q): (Voted.LEFT, Phase.FINALIZE),
    (Voted.SKIP, Seen.NOTARIZE_Q): (Voted.LEFT, None),  # I2
    (Voted.BOTH, Seen.NOTARIZE_Q): (Voted.LEFT, None),  # I2
    (Voted.NOTHING, Seen.SKIP_Q): (Voted.LEFT, None),
    (Voted.NOTARIZE, Seen.SKIP_Q): (Voted.LEFT, None),
    (Voted.SKIP, Seen.SKIP_Q): (Voted.LEFT, None),
    (Voted.BOTH, Seen.SKIP_Q): (Voted.LEFT, None),
}
"""What is absent has no effect."""


def restored(voted: Voted, phase: Phase) -> Voted:
    """What a slot is after reading one more vote of ours back."""
    if phase is Phase.FINALIZE or voted is Voted.LEFT:
        return Voted.LEFT
    if phase is Phase.PROPOSE:
        return voted
    said = Voted.NOTARIZE if phase is Phase.NOTARIZE else Voted.SKIP
    return said if voted in (Voted.NOTHING, said) else Voted.BOTH
