"""Evidence of a validator's fault: two votes, signed by one key, that no honest validator signs both.

    two proposals       for different checkpoints in one slot
    two notarizations   of different checkpoints in one slot
    two finalizations   of different checkpoints in one slot
    finalize and skip   in one slot

Two certificates of one slot that contradict each other contain such pairs by more than a third of the stake,
and so do a finality certificate and the skip certificates over which a rival was built, as long as somebody
kept those: that is what makes the vote accountable. Notarizing one checkpoint and finalizing another that a
quorum notarized is no fault: it is what an honest validator does whose leader lied to it first.

Knows votes. Does not know who believes them or what they cost. What must always hold: a fault that `check`
accepts convinces anybody who knows the network's id, alone; one pair of votes has one encoding.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.votes import VOTE_SIZE_MAX, Phase, SignedVote

FAULT_SIZE_MAX: Final = 2 * VOTE_SIZE_MAX + 64  # 64: keys and lengths


class VoteFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two contradictory votes, the one with the smaller encoding first."""

    one: SignedVote
    other: SignedVote

    @classmethod
    def of(cls, one: SignedVote, other: SignedVote) -> VoteFault:
        assert contradict(one, other), f"{one} and {other} are no fault"
        first, second = sorted((one, other), key=SignedVote.encode)
        return cls(first, second)

    def encode(self) -> bytes:
        return canonical.encode(self)

    @property
    def by(self) -> bytes:
        """Who is at fault."""
        return self.one.by

    @property
    def place(self) -> tuple[int, int]:
        """(epoch, slot) of the fault."""
        return self.one.vote.place


def contradict(one: SignedVote, other: SignedVote) -> bool:
    """Whether no honest validator signs both. Signatures are not looked at."""
    if one.by != other.by or (one.vote.net, one.vote.place) != (other.vote.net, other.vote.place):
        return False
    if one.vote.phase == other.vote.phase:
        return one.vote.checkpoint != other.vote.checkpoint
    return {one.vote.phase, other.vote.phase} == {Phase.FINALIZE, Phase.SKIP}


def parse_vote_fault(data: bytes, *, net: Cid) -> VoteFault:
    """Bytes -> a fault that proves. Raises RemoteError with the codes of `canonical`, or `bad_proof`."""
    fault = canonical.decode_as(VoteFault, data, size_max=FAULT_SIZE_MAX)
    check_vote_fault(fault, net=net)
    return fault


def check_vote_fault(fault: VoteFault, *, net: Cid) -> None:
    """Raises RemoteError (`bad_proof`) unless one key of this network signed both, and they contradict."""
    if fault.one.vote.net != net:
        raise RemoteError(f"votes of network {fault.one.vote.net}, this is {net}", code="bad_proof")
    if not contradict(fault.one, fault.other):
        raise RemoteError("the two votes do not contradict each other", code="bad_proof")
    if fault.one.encode() >= fault.other.encode():
        raise RemoteError("the vote with the smaller encoding comes first", code="bad_proof")
    for signed in (fault.one, fault.other):
        if not signed.is_genuine():
            raise RemoteError(f"a vote not signed by {signed.by.hex()}", code="bad_proof")
