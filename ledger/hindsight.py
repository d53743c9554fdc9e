"""What comes of words about slots that are over: nothing, unless somebody contradicts itself.

A vote for a slot below the last final one decides nothing any more, but what its validator said there before
may contradict it, and its bond answers for that. So the voter of the epoch before is kept, with the last
slots that it heard votes of, until the next epoch ends or the node does; and of a certificate that comes too
late, or makes final what is not, those lines are looked at that contradict what is known.

Knows the voters of this epoch and the one before. Never lets either of them say or decide anything.
"""

from __future__ import annotations

from ledger import votes
from ledger.simplex import Voter
from ledger.voter_actions import Action
from ledger.votes import Certificate, Message, Proposal, SignedVote


class Hindsight:
    def __init__(self) -> None:
        self._before: Voter | None = None

    def ended(self, voter: Voter) -> None:
        """Its epoch is over, and its last checkpoint settled."""
        self._before = voter

    def look(self, message: Message, present: Voter) -> list[Action]:
        """The faults that a word of a slot that is over brings to light.

        Raises RemoteError (`bad_vote`) for one of these that its validator did not sign.
        """
        word = message.vote if isinstance(message, Proposal) else message
        alone = isinstance(word, SignedVote)
        said = (word,) if isinstance(word, SignedVote) else word.ballots()
        found: list[Action] = []
        for voter in (present, self._before):
            if voter is None or voter.epoch != said[0].vote.epoch:
                continue
            for signed in said:
                if not voter.is_near(signed.vote.slot) or voter.has_answered(signed):
                    continue
                if not (alone or voter.contradicts(signed)):
                    continue
                votes.check_vote(signed, voter.validators)
                found += voter.late(signed)
        return found

    def knows(self, message: Message, present: Voter) -> bool:
        """Whether all of it is here, and good: never of a proposal, whose body is kept no longer."""
        voters = [voter for voter in (present, self._before) if voter is not None]
        match message:
            case SignedVote():
                return any(voter.has_heard(message) for voter in voters)
            case Certificate():
                return any(voter.has_heard_all(message) for voter in voters)
        return False

    def __repr__(self) -> str:
        return f"<Hindsight of {self._before!r}>"
