"""Which slots we leave to others: those where we may have voted, and our disk does not say how.

A validator whose disk was lost or is older than its word must not vote where it may have voted. So with
several validators nobody votes after a start before a quorum, itself included, has said what it holds of our
votes (`rejoin`); without one it could decide nothing anyway. A store that did vote is believed unless
an answer holds a vote of ours that it does not know. Otherwise the slots that we may have seen are left to
others.

Knows votes of ours that others have, certificates, and what our own disk holds (in `voter`). Does not know
proposals, and says nothing itself.

What must always hold: in a slot up to which we abstain nothing of ours is signed anew.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from ledger import validators as sets
from ledger import votes
from ledger.candidates import Candidates
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.signing import SigningKey
from ledger.simplex import Voter
from ledger.voter_actions import Action
from ledger.votes import Certificate, Phase, SignedVote

NEVER: Final = (2**63, 0)
"""A place that no epoch reaches: we abstain from everything."""


class Rejoining:
    """The part of `ledger.voting.Voting` that knows what we must not say."""

    net: Cid
    candidates: Candidates
    voter: Voter
    has_voted: bool
    """This store has ever kept a vote of ours."""

    _key: SigningKey | None
    _queue: deque[Action]
    _abstains_through: tuple[int, int]
    """(epoch, slot)"""

    @property
    def is_validator(self) -> bool:
        """Whether we have a vote in this epoch."""
        return self._key is not None and self.voter.me is not None

    @property
    def is_silent(self) -> bool:
        """Whether we wait for `rejoin` before we vote."""
        return self.is_validator and self._abstains_through == NEVER

    def _notice_own(self, signed: SignedVote) -> None:
        """A vote of ours that our disk does not know: others know more of us than we do."""
        if self.is_validator and self._is_forgotten(signed):
            self.voter.restore([signed])
            self._abstain((self.voter.epoch, max(self.voter.slot, signed.vote.slot) + 1))

    def rejoin(self, answers: Mapping[bytes, Sequence[bytes]], now: int) -> bool:
        """What each of these nodes (by key) holds of open slots: `ballots` of theirs. True: we vote again.

        An answer's bytes that are wrong say nothing. One answer is not enough, even for a store that has
        voted: it may be an older copy, and whoever answered may not have heard us, or be a liar. Answers of
        an epoch that is not known here cannot be judged yet: they do not count, and while more than a third
        of the stake gives such, we have to follow first.
        """
        if not self.is_validator or self._abstains_through != NEVER:
            return True
        assert self._key is not None
        open_slot, final = (self.voter.epoch, 1), (self.voter.epoch, self.voter.base)
        forgotten: list[SignedVote] = []
        for message in self._readable(data for messages in answers.values() for data in messages):
            if isinstance(message, Certificate):
                open_slot = max(open_slot, (message.epoch, message.slot + 1))
                if message.phase == Phase.FINALIZE:
                    final = max(final, message.place)
            said = message.ballots() if isinstance(message, Certificate) else (message,)
            forgotten += [one for one in said if self._is_forgotten(one)]
        members = self.voter.validators
        ahead = {key for key, messages in answers.items() if any(map(self._is_ahead, messages))}
        asked = members.weight([*(key for key in answers if key not in ahead), self._key.public])
        if not members.is_quorum(asked) or 3 * members.weight(ahead) > members.total:
            return False
        self._abstains_through = (-1, 0)
        if forgotten or (not self.has_voted and open_slot[1] > 1):
            epoch, slot = max([open_slot, *(one.vote.place for one in forgotten)])
            self._abstain((epoch, slot + 1))
        self._abstain(final)
        here = [one for one in forgotten if one.vote.epoch == self.voter.epoch]
        self.voter.restore(here)
        for one in here:
            self._queue += self.voter.hear(one)
        return True

    def forget(self) -> None:
        """Leave no slot to others any more, though we may have voted there and not know how.

        For a validator without which nothing becomes final. Whoever calls this answers for it that nobody is
        left who holds a vote of ours that those who answered `rejoin` did not have. What they had stays said.
        """
        assert self._abstains_through != NEVER, "nobody was asked yet"
        self._abstains_through = (-1, 0)
        self.voter.abstains_through = 0

    def _readable(self, answers: Iterable[bytes]) -> Iterator[Certificate | SignedVote]:
        """Certificates by quorums, and votes of ours; what else is said proves nothing."""
        for data in answers:
            with contextlib.suppress(RemoteError):
                message = votes.parse_message(data, net=self.net)
                if isinstance(message, Certificate) and message.epoch >= self.voter.epoch:
                    known = sets.validators_of(self.candidates.root.state, message.epoch)
                    votes.check_certificate(message, known)
                    yield message
                elif isinstance(message, SignedVote) and self._is_forgotten(message) and message.is_genuine():
                    yield message

    def _is_ahead(self, data: bytes) -> bool:
        """Whether this is a certificate of an epoch whose validators are not known here."""
        try:
            message = votes.parse_message(data, net=self.net)
            if isinstance(message, Certificate) and message.epoch > self.voter.epoch:
                sets.validators_of(self.candidates.root.state, message.epoch)
        except RemoteError as error:
            return error.code == "unknown_epoch"
        return False

    def _is_forgotten(self, signed: SignedVote) -> bool:
        """Whether this is a vote of ours in an open slot that our own disk does not know."""
        if self._key is None or signed.by != self._key.public:
            return False
        place = (self.voter.epoch, self.voter.base)
        return signed.vote.place > place and not self.voter.has_heard(signed)

    def _abstain(self, through: tuple[int, int]) -> None:
        self._abstains_through = max(self._abstains_through, through)
        self.voter.abstains_through = self._abstains_in(self.voter.epoch)

    def _abstains_in(self, epoch: int) -> int:
        """The last slot of an epoch in which we say nothing; 0: in none."""
        last, slot = self._abstains_through
        return slot if last == epoch else 2**63 if last > epoch else 0
