"""What is known of one slot: who said what, what a quorum said, and who contradicted itself.

Knows words and what they are about. Does not know stake, other slots, or what a quorum is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.cid import Cid
from ledger.evidence import VoteFault, contradict
from ledger.vote_rule import Voted
from ledger.votes import Certificate, Phase, SignedVote


@dataclass(slots=True)
class Slot:
    """`first` holds the first vote of each validator in each phase."""

    voted: Voted = Voted.NOTHING
    proposal: Cid | None = None
    judged: bool = False
    notarized: Cid | None = None  # by us
    first: dict[tuple[bytes, Phase], SignedVote] = field(default_factory=dict)
    certificates: dict[Phase, Certificate] = field(default_factory=dict)
    faulty: set[tuple[bytes, Phase]] = field(default_factory=set)

    def saying(self, phase: Phase, checkpoint: Cid | None) -> list[SignedVote]:
        return [
            signed
            for (_, of), signed in self.first.items()
            if of is phase and signed.vote.checkpoint == checkpoint
        ]

    def faults(self, signed: SignedVote) -> list[VoteFault]:
        """Whether this vote contradicts one that is here: once for each validator and phase."""
        phase = Phase(signed.vote.phase)
        found: list[VoteFault] = []
        for known in self.against(signed):
            if (signed.by, phase) not in self.faulty:
                self.faulty.add((signed.by, phase))
                found.append(VoteFault.of(known, signed))
        return found

    def against(self, signed: SignedVote) -> list[SignedVote]:
        """What its validator said here that it cannot say beside this."""
        known = (self.first.get((signed.by, phase)) for phase in Phase)
        return [one for one in known if one is not None and contradict(one, signed)]
