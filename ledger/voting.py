"""Voting: one node's part in finality, from the messages it hears to the votes it sends.

Puts the pure parts together: `simplex.Voter` says what to do, `judging` executes proposals, `occasion` says
when one is wanted; this file signs, remembers what is to be kept, and says when a run of checkpoints is ready
to be committed. A node that is no validator runs the same code and casts nothing: it learns what is final
from the votes of others.

    hear     a vote, a certificate or a proposal
    drive    let everything happen that now can; time is an argument
    rejoin   what others know of our votes, before we cast the first after a start (`ledger.rejoining`)

Knows votes, candidates and keys. Does not write to the store (`ledger.replica` does, between `drive` and
sending).

What must always hold: what is in `to_send` is sent only after what is in `to_keep` is on the disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ledger import retelling, simplex, votes
from ledger import validators as sets
from ledger.admission import Admission
from ledger.ballot_box import NOWHERE, Ballot, Left
from ledger.candidates import DEPTH_MAX, Candidate, Candidates, Root
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.evidence import VoteFault
from ledger.execution import Rules
from ledger.finality import Diverged, Last
from ledger.genesis import Genesis
from ledger.hindsight import Hindsight
from ledger.judging import Judging
from ledger.occasion import Occasion, Standstill
from ledger.pace import Pace
from ledger.proposals import Proposals, checked
from ledger.rejoining import NEVER, Rejoining
from ledger.signing import SigningKey
from ledger.simplex import Voter, vote_of
from ledger.voter_actions import Action, Cast, Decision, Fault, Judge, Keep, Lacking, Propose, Repeat
from ledger.votes import Certificate, Phase, Proposal, SignedVote

Commit = Callable[[Sequence[Candidate], Certificate], None]


class Voting(Rejoining):
    def __init__(
        self,
        genesis: Genesis,
        rules: Rules,
        admission: Admission,
        root: Root,
        last: Last | None,
        key: SigningKey | None,
        *,
        interval_ms: int,
        ballots: Iterable[Ballot],
        left: Left,
        has_voted: bool,
        voter: Callable[..., Voter] = Voter,
    ) -> None:
        """`left`, `has_voted`: what the store says of it. `voter` makes a Voter, or for tests a liar."""
        self.genesis = genesis
        self.net = genesis.net
        self.last = last
        self.candidates = Candidates(genesis, rules, admission, root)
        self.to_send: list[bytes] = []
        self.to_keep: list[Ballot] = []
        self.faults: list[VoteFault] = []
        self.asks: tuple[int, int] | None = None
        self.is_behind = False
        self._key = key
        self._make = voter
        self._length = sets.epoch_length(genesis)
        self._pace = Pace()
        self._proposals = Proposals()
        self._hindsight = Hindsight()
        self.judging = Judging(self.candidates, admission, self._proposals, genesis.net, self._length)
        self._occasion = Occasion(rules, self.candidates, self._pace, interval_ms)
        self._clock = 0
        self.has_voted = has_voted
        self.left = left
        self._said_later = []
        self._abstains_through = NOWHERE
        self._queue: deque[Action] = deque()
        self.voter = self._new_voter()
        self._abstain(max(self.left) if self._is_alone else NEVER)
        self._recall(ballots)

    # -- what comes in --------------------------------------------------------------------------------------

    def hear(self, data: bytes, now: int, *, is_live: bool = True) -> bool | None:
        """One message of another node; whether it is news. False: all of it is here, and good. None: it was
        not looked at whole, so whoever passes it on may be blamed for it by somebody who does look. Raises
        RemoteError when it is wrong. Not `is_live`: an answer to a question of ours, which says nothing of
        who is there now.
        """
        if not is_live:
            lately = dict(self._occasion.heard)
            try:
                return self.hear(data, now)
            finally:
                self._occasion.heard = lately
        message = votes.parse_message(data, net=self.net)
        self._notice_own(message)
        said = message.vote if isinstance(message, Proposal) else message
        epoch, slot = (said.vote if isinstance(said, SignedVote) else said).place
        oldest = (
            self.voter.slot - simplex.BEHIND_MAX if isinstance(message, SignedVote) else self.voter.base + 1
        )
        if (epoch, slot) < (self.voter.epoch, oldest):
            found = self._hindsight.look(message, self.voter)
            self._queue += found
            if found and isinstance(message, SignedVote):  # more than a vote was not looked at whole
                return True
            return False if self._hindsight.knows(message, self.voter) else None
        if epoch > self.voter.epoch:
            self.is_behind = True
            return None
        if slot > self.voter.slot + simplex.AHEAD_MAX:
            if isinstance(said, SignedVote):
                votes.check_vote(said, self.voter.validators)  # or anybody could have us ask
            self.asks = (self.voter.epoch, self.voter.gap or self.voter.slot)
            if not isinstance(message, Certificate):
                return None
        match message:
            case Certificate():
                return self._hear_certificate(message)
            case SignedVote():
                return self._hear_vote(message, now)
        return self._hear_proposal(message, now)

    def _hear_certificate(self, certificate: Certificate) -> bool | None:
        if self.voter.knows(certificate):
            return False if self.voter.has_heard_all(certificate) else None
        votes.check_certificate(certificate, self.voter.validators)
        self._queue += self.voter.certified(certificate)
        return True

    def _hear_vote(self, signed: SignedVote, now: int) -> bool | None:
        if self.voter.has_heard(signed):
            self._occasion.heard[signed.by] = now
            return False
        if self.voter.has_answered(signed):
            return None  # the same again at another time, or more of somebody who is proven to lie
        votes.check_vote(signed, self.voter.validators)
        self._occasion.heard[signed.by] = now
        self._queue += self.voter.hear(signed)
        return True

    def _hear_proposal(self, proposal: Proposal, now: int) -> bool | None:
        signed = proposal.vote
        slot, id = signed.vote.slot, Cid.of(proposal.checkpoint)
        if (slot, id) in self._proposals:
            return False if self._proposals[slot, id] == proposal else None
        checkpoint = checked(proposal, self.voter.schedule.leader(slot), self.voter.epoch, self.net)
        votes.check_vote(signed, self.voter.validators)  # though it said so before: this one is kept and told
        self._hear_vote(signed, now)
        if self._proposals.is_full(slot) and not self.voter.is_notarized(slot, id):
            return None
        if proposal.parent and checkpoint.slot == slot:
            parent = votes.parse_certificate_shape(proposal.parent, net=self.net)
            if parent.epoch == self.voter.epoch and self._hear_certificate(parent) is None:
                votes.check_certificate(parent, self.voter.validators)  # it is told on, as the rest of this
        self._proposals.hear(slot, id, proposal)
        self.to_keep.append(Ballot(self.voter.epoch, slot, False, proposal.encode()))
        self._occasion.proposed(now)
        self._queue += self.voter.proposed(slot, id)
        return True

    def ask_on(self) -> None:
        """An answer brought something. If it was not all that is missing, ask for what follows it."""
        if self.voter.gap is not None:
            self.asks = (self.voter.epoch, self.voter.gap)

    # -- letting things happen ------------------------------------------------------------------------------

    def drive(self, now: int, commit: Commit) -> None:
        """Let everything happen that now can. `commit` makes a run durable and moves the replica on."""
        while True:
            self._settle(now, commit)
            wanted = self._occasion.look(self.voter, self.last, now)
            before = self.voter, self.voter.slot
            self._queue += self.voter.tick(now, wanted=wanted, ready=self._occasion.is_ready(now))
            if not self._settle(now, commit) and before == (self.voter, self.voter.slot):
                break
        self._tidy()

    def _tidy(self) -> None:
        """Forget what was not notarized in slots that are over; should it be needed, others are asked.

        What we notarized ourselves is kept: a liar may complete the quorum later, and be the only other who
        has it. Like certificates that has no bound but that each slot takes a quorum and its patience.
        """
        voter = self.voter
        kept = self._proposals.tidy(lambda *at: self._is_in_play(*at) or voter.has_notarized(*at))
        if kept is not None:  # what came of executing the others is not: it can be executed again
            self.candidates.keep({id for slot, id in kept if self._is_in_play(slot, id)})

    def _is_in_play(self, slot: int, id: Cid) -> bool:
        return slot >= self.voter.slot or self.voter.is_notarized(slot, id)

    def _settle(self, now: int, commit: Commit) -> bool:
        """Do what is to be done, until nothing more becomes final; whether something did."""
        moved = False
        while True:
            while self._queue:
                self._perform(self._queue.popleft(), now)
            final = self.voter.unsettled
            if final is None or not self._finish(final, commit):
                return moved
            moved = True

    def _perform(self, action: Action, now: int) -> None:
        match action:
            case Cast(slot) if slot <= self.voter.abstains_through:
                pass  # what we said there was heard after this was decided, in the same turn
            case Cast():
                self._cast(action, now)
            case Propose(slot, parent):
                self._propose(slot, parent, now)
            case Judge(slot, checkpoint):
                if self._is_good(slot, checkpoint):
                    self._queue += self.voter.judged(slot, checkpoint)
            case Keep(certificate):
                ballot = Ballot(certificate.epoch, certificate.slot, False, certificate.encode())
                self.to_keep.append(ballot)
            case Lacking(slot):
                self.asks = (self.voter.epoch, slot)
            case Fault(fault):
                self.faults.append(fault)
            case Repeat():
                self._repeat()
            case Decision():
                pass  # `drive` looks at what is unsettled

    def _cast(self, cast: Cast, now: int) -> None:
        self._say(self._signed(cast, now))

    def _signed(self, cast: Cast, now: int) -> SignedVote:
        assert self._key is not None
        self._clock = max(self._clock, now)  # a clock set back stays where it was
        return SignedVote.make(self._key, vote_of(cast, self.net, self.voter.epoch, self._clock))

    def _say(self, signed: SignedVote) -> None:
        data = signed.encode()
        self.has_voted = True
        self.to_keep.append(Ballot(signed.vote.epoch, signed.vote.slot, True, data))
        if signed.vote.phase != Phase.PROPOSE:
            self.to_send.append(data)
        self._queue += self.voter.hear(signed)

    def _propose(self, slot: int, parent: Cid | None, now: int) -> None:
        below = None
        if parent != self._root_id:
            assert parent is not None
            below = self._executed(parent)
            if below is None:
                return
        if below is not None and (self._is_last(below.checkpoint) or below.depth >= DEPTH_MAX):
            candidate = below  # nothing may build on it yet: once more
        else:
            shown = self._final if below is None else self.voter.shown(below.checkpoint.id)
            candidate = self.candidates.build(below, shown, slot)
        checkpoint, shown = candidate.checkpoint, candidate.shown
        signed = self._signed(Cast(slot, Phase.PROPOSE, checkpoint.id), now)
        proposal = Proposal(signed, checkpoint.encode(), b"" if shown is None else shown.encode())
        self._proposals.put(slot, checkpoint.id, proposal)
        self.to_keep.append(Ballot(self.voter.epoch, slot, False, proposal.encode()))
        self.to_send.append(proposal.encode())
        self._occasion.proposed(now)
        self._say(signed)
        self._queue += self.voter.proposed(slot, checkpoint.id)

    def _is_good(self, slot: int, id: Cid) -> bool:
        """Whether the proposal of this slot may be notarized; False also when something is missing."""
        if self.judging.is_refused(id) or (slot, id) not in self._proposals:
            return False
        checkpoint = parse_checkpoint(self._proposals[slot, id].checkpoint, net=self.net)
        again = checkpoint.slot < slot
        parent = id if again else checkpoint.parent
        if not self.voter.may_build(slot, parent):
            self.asks = (self.voter.epoch, self.voter.lacks(slot, parent))
            return False
        candidate = self._executed(id)
        if candidate is None:
            return False
        if again:
            return self._is_last(checkpoint) or candidate.depth >= DEPTH_MAX
        return candidate.depth <= DEPTH_MAX

    def _executed(self, id: Cid) -> Candidate | None:
        """The candidate of this id, executed here now if need be; None when something is missing or wrong."""
        candidate = self.judging.executed(id)
        self._ask_for_proposals()
        return candidate

    def _ask_for_proposals(self) -> None:
        if self.judging.lacks_proposals:
            self.judging.lacks_proposals = False
            self.asks = (self.voter.epoch, self.voter.first_of(lambda id: self._proposals.of(id) is None))

    def _finish(self, final: Certificate, commit: Commit) -> bool:
        """Commit the run up to what this certificate makes final, if all of it is here."""
        assert final.checkpoint is not None
        if final.checkpoint == self._root_id:  # final by an earlier slot already, and once more by this one
            self._queue += self.voter.settle(final.slot, final.checkpoint)
            return True
        try:
            candidate = self.judging.execute_final(final.checkpoint)
        except RemoteError as error:
            checkpoint = self.judging.checkpoint_of(final.checkpoint)
            raise Diverged(f"a quorum finalised: {error}", checkpoint, final) from error
        self._ask_for_proposals()
        if candidate is None:
            self.is_behind = True
            return False
        self.finish(candidate, final, commit)
        return True

    def finish(self, candidate: Candidate, final: Certificate, commit: Commit) -> None:
        """Commit a run that `final` makes final, and move on to the next slot or epoch."""
        self.to_keep = [b for b in self.to_keep if (b.epoch, b.slot) > (final.epoch, final.slot)]
        commit(candidate.chain(), final)
        self.last = Last(candidate.checkpoint, final)
        self._occasion.finished()
        self.candidates.settle(candidate)
        self._proposals.settle(final.slot)
        if self._is_last(candidate.checkpoint):
            self.voter.settle(final.slot, candidate.checkpoint.id)
            self._hindsight.ended(self.voter)
            self._queue = deque(one for one in self._queue if isinstance(one, Fault))
            self._proposals.begin()
            self.voter = self._new_voter()
        else:
            self._queue += self.voter.settle(final.slot, candidate.checkpoint.id)
        self._let_go((final.epoch, final.slot))
        self.judging.finished()

    # -- when -----------------------------------------------------------------------------------------------

    def pace(self, interval_ms: int) -> None:
        """At least so long between proposals of ours from now on."""
        self._occasion.interval_ms = interval_ms

    def next(self, now: int) -> int | None:
        """When to drive again (unix ms), if nothing happens before."""
        return self._occasion.next(self.voter, self.last, now)

    def standstill(self, now: int) -> Standstill | None:
        """See `Standstill`; None while things go on, or nothing is wanted."""
        me = self._key.public if self.is_validator and self._key is not None else None
        return self._occasion.standstill(self.voter, me, now)

    # -- what others ask ------------------------------------------------------------------------------------

    def ballots(self, epoch: int, slot: int) -> list[bytes]:
        """What is known of open slots from (epoch, slot) on, and what made the last checkpoint final."""
        return retelling.answer(self.voter, self._proposals, self.last, epoch, slot)

    @property
    def proposals(self) -> int:
        """How many bodies of proposals are kept."""
        return len(self._proposals)

    @property
    def _is_alone(self) -> bool:
        """Whether we are the only validator, who has nobody to ask."""
        return self.voter.me is not None and len(self.voter.validators.stakes) == 1

    # -- inside ---------------------------------------------------------------------------------------------

    @property
    def _root_id(self) -> Cid | None:
        return self.candidates.root_id

    @property
    def _final(self) -> Certificate | None:
        return None if self.last is None else self.last.final

    def _is_last(self, checkpoint: Checkpoint) -> bool:
        return sets.is_last_of_epoch(checkpoint.height, self._length)

    def _new_voter(self) -> Voter:
        """For the epoch of the next height, on top of the root."""
        root = self.candidates.root
        height = 1 if root.checkpoint is None else root.checkpoint.height + 1
        epoch = sets.epoch_of(height, self._length)
        members = sets.validators_of(root.state, epoch)
        me = None if self._key is None else self._key.public
        voter = self._make(self.net, epoch, members, me, self._root_id, self._pace)
        if self.last is not None and self.last.final.epoch == epoch:
            voter.settle(self.last.final.slot, self.last.checkpoint.id)
        self._pace.entered()
        if voter.me is not None and len(members.stakes) == 1:
            self._abstains_through = min(self._abstains_through, (epoch - 1, 0))
        self._lose_beginning(epoch)
        voter.abstains_through = self._abstains_in(epoch)
        self._take_up_later(voter)
        return voter

    def _recall(self, ballots: Iterable[Ballot]) -> None:
        """Take up what the disk holds of open slots: first what we said ourselves."""
        ours, kept = retelling.recalled(ballots, self.voter, self.net)
        self._stand_by(ours)
        self._clock = max((one.vote.ts for one in ours), default=0)
        for message in kept:
            match message:
                case Certificate():
                    self._queue += self.voter.certified(message)
                case SignedVote():
                    self._queue += self.voter.hear(message)
                case Proposal():
                    slot, id = message.vote.vote.slot, Cid.of(message.checkpoint)
                    self._proposals.hear(slot, id, message)
                    self._queue += self.voter.hear(message.vote)
                    self._queue += self.voter.proposed(slot, id)

    def _repeat(self) -> None:
        self.asks = self.asks or (self.voter.epoch, self.voter.gap or self.voter.base + 1)
        if not self.is_validator:
            return  # who only watches has nothing to say, and may ask
        self.to_send += retelling.repeated(self.voter, self._proposals)

    def __repr__(self) -> str:
        return f"<Voting {self.voter!r} {self.candidates!r}>"
