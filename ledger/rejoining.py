"""Which slots we leave to others: those where we may have voted, and our disk does not say how.

A validator whose disk was lost or is older than its word must not vote where it may have voted. So with
several validators nobody votes after a start before others have said what they hold of our votes (`rejoin`).
How many, and what follows, depends on our disk:

    it has voted   a quorum, itself included: without one it could decide nothing anyway. The disk is believed
                   unless an answer holds a vote of ours that it does not know
    it never did   more than two thirds of the stake WITHOUT us (if we have a third or more ourselves: all
                   others). We leave every slot that we may have seen
    it never did, and need not have: our first epoch, of which nobody shows a certificate, nor a vote of ours
                   above its first slot, which takes one
                   a quorum, itself included, and no slot is left but for votes of ours in the first

Why that is enough for a lost disk. Say that we had come as far as slot s. Then more than two thirds of the
stake had voted in slot s-1. More than two thirds other than us answer, so they share more than a third with
those: somebody honest, who is not us and has its disk, if those who lie and others who lost theirs are less.
(If we counted ourselves, the two might share us and a liar.) It was in slot s-1 before it answered, so it
shows a certificate of slot s-2 or later, and we leave all slots up to two above the last that is shown. In
the last slot of an epoch it may not know yet that the epoch ended, and we may have known: `_lose_beginning`.
Who has a third of the stake or more is sure only while liars are too few to be a quorum with it alone.

Why slots that are over are left as well. Who answers tells single votes of its present slot and of the one
before, and shows a certificate of that one or of a later slot. So what we said above the last slot that is
shown was told, if it was heard; what we said up to there perhaps not. There nobody waits for a word of ours:
the certificate brings everybody into the next slot, and a checkpoint that lacks only our word to be final
becomes so with the next one. But whoever showed it may be a liar, the only one who has it, and not show it to
others: if we said no more in the slot where they are, and did not tell them that it is over, they might wait
for ever. So we take it up at once. We are above it then, whatever anybody shows us, and bring others along.

Why the first epoch is another matter. A network that begins, of which a third is silent, looks to who has an
empty disk just like one that goes on without it and of which nobody told. It must begin, so the answers of
those who saw no certificate count there as before: who loses its disk before those who answer have seen one
counts among the faulty.

Knows votes of ours that others have, certificates, and what our own disk holds (in `voter`). Does not know
proposals, and says nothing itself.

What must always hold:
    in a slot up to which we abstain nothing of ours is signed anew
    what was learnt here (`left`, and votes in `to_keep`) is on the disk before we vote: after the next start
    nobody may be there who tells it again
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Final

from ledger import validators as sets
from ledger import votes
from ledger.ballot_box import NOWHERE, Ballot, Left
from ledger.candidates import Candidates
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.finality import Last
from ledger.signing import SigningKey
from ledger.simplex import Voter
from ledger.voter_actions import Action
from ledger.votes import Certificate, Message, Proposal, SignedVote

NEVER: Final = (2**63, 0)
"""A place that no epoch reaches: we abstain from everything."""

UNSHOWN: Final = 2
"""Slots above the last certificate of those who answer that we may have voted in (see above)."""


class Rejoining:
    """The part of `ledger.voting.Voting` that knows what we must not say."""

    net: Cid
    candidates: Candidates
    voter: Voter
    last: Last | None
    to_keep: list[Ballot]
    left: Left
    """Slots in which we may have said what our disk does not hold."""
    has_voted: bool
    """A vote was ever cast out of this store, or our operator answers for those that are not in it."""
    was_answered: bool = False
    """A quorum, ourselves included, has said since the start what it holds of our votes."""

    _key: SigningKey | None
    _queue: deque[Action]
    _abstains_through: tuple[int, int]
    """(epoch, slot)"""
    _said_later: list[SignedVote]
    """What we said in epochs that are not known here yet."""
    _shown: Sequence[Certificate] = ()
    """Of the last slot that is over, as others showed us after a start."""

    @property
    def is_validator(self) -> bool:
        """Whether we have a vote in this epoch."""
        return self._key is not None and self.voter.me is not None

    @property
    def is_silent(self) -> bool:
        """Whether we wait for `rejoin` before we vote."""
        return self.is_validator and self._abstains_through == NEVER

    def _notice_own(self, message: Message) -> None:
        """Votes of ours in it that our disk does not know: others know more of us than we do, whatever else
        becomes of the message. Raises RemoteError (`bad_vote`) for one that we did not sign."""
        if not self.is_validator:
            return
        assert self._key is not None
        for signed in _said_by(self._key.public, message):
            if self._is_forgotten(signed):
                votes.check_vote(signed, self.voter.validators)
                self._keep_to([signed])
                epoch, slot = max(signed.vote.place, (self.voter.epoch, self.voter.slot))
                self._lose((epoch, slot + 1))
                if signed.vote.epoch == self.voter.epoch:
                    self._queue += self.voter.hear(signed)

    def rejoin(self, answers: Mapping[bytes, Sequence[bytes]], now: int) -> bool:
        """What each of these nodes (by key) holds of open slots: `ballots` of theirs. True: we vote again.

        An answer's bytes that are wrong say nothing. One answer is not enough, even for a store that has
        voted: it may be an older copy, and whoever answered may not have heard us, or be a liar. Answers of
        an epoch that is not known here cannot be judged yet: they do not count, and while more than a third
        of the stake gives such, we have to follow first. So has a store that never voted while somebody shows
        a vote of ours there, however little stake that is: nobody else can have made it.
        """
        if not self.is_silent:
            return True
        assert self._key is not None
        me = self._key.public
        shown = self.voter.epoch, self.voter.slot - 1
        forgotten: list[SignedVote] = []
        certificates: list[Certificate] = []
        for message in chain.from_iterable(map(self._readable, answers.values())):
            if isinstance(message, Certificate):
                certificates.append(message)
                shown = max(shown, message.place)
            said = message.ballots() if isinstance(message, Certificate) else (message,)
            forgotten += [one for one in said if self._is_forgotten(one)]
        ahead = {key for key, messages in answers.items() if any(map(self._is_ahead, messages))}
        others = [key for key in answers if key not in ahead and key != me]
        members = self.voter.validators
        if not members.is_quorum(members.weight([*others, me])) or 3 * members.weight(ahead) > members.total:
            return False
        if not self.has_voted and any(map(self._shows_us_ahead, answers.values())):
            return False
        self.was_answered = True
        seen = max([shown, *((one.vote.epoch, one.vote.slot - 1) for one in forgotten)])
        is_lost = not self.has_voted and not self._may_begin(seen)
        if forgotten or is_lost:
            self._lose((seen[0], seen[1] + UNSHOWN))
        self._keep_to(forgotten)
        for one in forgotten:
            if one.vote.epoch == self.voter.epoch:
                self._queue += self.voter.hear(one)
        if is_lost and not all(map(partial(self._are_enough, others), {self.voter.epoch, shown[0]})):
            return False
        self._abstains_through = NOWHERE
        self._abstain(max(shown, *self.left))
        self._shown = [one for one in certificates if one.place == shown]
        self._take_up_shown(self.voter)
        return True

    def _may_begin(self, seen: tuple[int, int]) -> bool:
        """Whether this is our first epoch, and nothing was decided in it as far as anybody shows or ever told
        us. `seen`: the last certificate that there must have been.

        Votes of ours in the first slot take none. If nothing else was learnt before an earlier start, UNSHOWN
        slots are left and not more, and what was enough then still is.
        """
        epoch = self.voter.epoch
        assert self._key is not None
        if seen != (epoch, 0) or self.left.lost > (epoch, UNSHOWN):
            return False
        return not epoch or self._key.public not in sets.validators_of(self.candidates.root.state, epoch - 1)

    def _are_enough(self, others: Sequence[bytes], epoch: int) -> bool:
        """Whether, in the set of this epoch, an honest one of these was in whatever slot we had come to."""
        assert self._key is not None
        members = sets.validators_of(self.candidates.root.state, epoch)
        weight = members.weight(others)
        return members.is_quorum(weight) or weight == members.total - members.weight([self._key.public])

    def _keep_to(self, forgotten: Sequence[SignedVote]) -> None:
        """What others heard of us stays said, after the next start too."""
        self.to_keep += [Ballot(*one.vote.place, True, one.encode()) for one in forgotten]
        self._stand_by(forgotten)

    def _stand_by(self, said: Sequence[SignedVote]) -> None:
        """Say nothing that contradicts these."""
        self.voter.restore(one for one in said if one.vote.epoch == self.voter.epoch)
        self._said_later += [one for one in said if one.vote.epoch > self.voter.epoch]

    def _take_up_later(self, voter: Voter) -> None:
        """An epoch begins in which we have spoken already, as others told us."""
        said = [one for one in self._said_later if one.vote.epoch == voter.epoch and voter.me is not None]
        self._said_later = [one for one in self._said_later if one.vote.epoch > voter.epoch]
        voter.restore(said)
        for one in said:
            self._queue += voter.hear(one)
        self._take_up_shown(voter)

    def _take_up_shown(self, voter: Voter) -> None:
        """Enter the slot after the last one that is over, if it is of this epoch."""
        for certificate in self._shown:
            if certificate.epoch == voter.epoch:
                self._queue += voter.certified(certificate)

    def forget(self) -> None:
        """Leave no slot to others any more, though we may have voted there and not know how.

        For a validator without which nothing becomes final. Whoever calls this answers for it that nobody is
        left who holds a vote of ours that those who answered `rejoin` did not have. What they had stays said.
        From here on the disk is believed, after a start too.
        """
        assert self.was_answered or not self.is_silent, "nobody was asked yet"
        self._abstains_through, self.left, self.has_voted = NOWHERE, Left(), True
        self.voter.abstains_through = 0

    def _readable(self, answer: Iterable[bytes]) -> Iterator[Certificate | SignedVote]:
        """Certificates by quorums, and votes of ours; what else is said proves nothing. After one that nobody
        signed the rest of an answer is not looked at: see `Replica.hear_all`."""
        for data in answer:
            try:
                message = votes.parse_message(data, net=self.net)
                if isinstance(message, Certificate) and message.epoch >= self.voter.epoch:
                    known = sets.validators_of(self.candidates.root.state, message.epoch)
                    votes.check_certificate(message, known)
                    yield message
                elif isinstance(message, SignedVote) and self._is_forgotten(message):
                    if not message.is_genuine():
                        return
                    yield message
            except RemoteError as error:
                if error.code == "bad_certificate":
                    return

    def _is_ahead(self, data: bytes) -> bool:
        """Whether this is a certificate of an epoch whose validators are not known here."""
        try:
            message = votes.parse_message(data, net=self.net)
            if isinstance(message, Certificate) and message.epoch > self.voter.epoch:
                sets.validators_of(self.candidates.root.state, message.epoch)
        except RemoteError as error:
            return error.code == "unknown_epoch"
        return False

    def _shows_us_ahead(self, answer: Iterable[bytes]) -> bool:
        """Whether the first certificate of a later epoch than the store's with a line of ours in it, if there
        is one, has a vote of ours there."""
        assert self._key is not None
        for data in answer:
            with contextlib.suppress(RemoteError):
                message = votes.parse_message(data, net=self.net)
                if isinstance(message, Certificate) and message.epoch > self.voter.epoch:
                    ours = _said_by(self._key.public, message)
                    if ours:
                        return ours[0].is_genuine()
        return False

    def _is_forgotten(self, signed: SignedVote) -> bool:
        """Whether this is a vote of ours in an open slot that our own disk does not know."""
        if self._key is None or signed.by != self._key.public:
            return False
        if signed.vote.epoch > self.voter.epoch:
            return signed not in self._said_later
        place = (self.voter.epoch, self.voter.base)
        return signed.vote.place > place and not self.voter.has_heard(signed)

    def _lose(self, through: tuple[int, int]) -> None:
        """Up to here we may have said what our disk does not hold."""
        self.left = self.left._replace(lost=max(self.left.lost, through))
        self._abstain(through)

    def _let_go(self, final: tuple[int, int]) -> None:
        """Up to here all is final, and nothing to be left any more."""
        self.left = Left(*(NOWHERE if one <= final else one for one in self.left))

    def _lose_beginning(self, epoch: int) -> None:
        """An epoch begins. If we may have seen the one before end, with nobody who told us of it, we may have
        come as far as the second slot of this one."""
        last = self.last
        if last is not None and (epoch - 1, last.checkpoint.slot) <= self.left.lost:
            self.left = self.left._replace(beginning=max(self.left.beginning, (epoch, UNSHOWN)))
            self._abstains_through = max(self._abstains_through, self.left.beginning)

    def _abstain(self, through: tuple[int, int]) -> None:
        self._abstains_through = max(self._abstains_through, through)
        self.voter.abstains_through = self._abstains_in(self.voter.epoch)

    def _abstains_in(self, epoch: int) -> int:
        """The last slot of an epoch in which we say nothing; 0: in none."""
        last, slot = self._abstains_through
        return slot if last == epoch else 2**63 if last > epoch else 0


def _said_by(key: bytes, message: Message) -> list[SignedVote]:
    """The votes of this key in a message, genuine or not."""
    if isinstance(message, Certificate):
        is_there = any(one.by == key for one in message.votes)
        said = message.ballots() if is_there else ()
    else:
        said = (message.vote if isinstance(message, Proposal) else message,)
    return [one for one in said if one.by == key]
