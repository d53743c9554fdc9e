"""Voting: one node's part in finality, from the messages it hears to the votes it sends.

Puts the pure parts together: `simplex.Voter` says what to do, `candidates` executes checkpoints, and this
file signs, remembers what is to be kept, and says when a run of checkpoints is ready to be committed. A node
that is no validator runs the same code and casts nothing: it learns what is final from the votes of others.

    hear     a vote, a certificate or a proposal
    drive    let everything happen that now can; time is an argument
    rejoin   what others know of our votes, before we cast the first after a start

A validator whose disk was lost or is older than its word must not vote where it may have voted. So with
several validators nobody votes after a start before a quorum, itself included, has said what it holds of our
votes (`rejoin`); without one it could decide nothing anyway. A store that did vote is believed unless
an answer holds a vote of ours that it does not know. Otherwise the slots that we may have seen are left to
others.

Knows votes, candidates and keys. Does not write to the store (`ledger.replica` does, between `drive` and
sending).

What must always hold: what is in `to_send` is sent only after what is in `to_keep` is on the disk; bodies of
proposals are kept for open slots only, at most PROPOSALS_PER_SLOT_MAX a slot beside notarized ones.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger import simplex, votes
from ledger import validators as sets
from ledger.admission import Admission
from ledger.ballot_box import Ballot
from ledger.candidates import DEPTH_MAX, Candidate, Candidates, Root
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.evidence import VoteFault
from ledger.execution import Rules
from ledger.finality import Diverged, Last, check_shown, weighted_median
from ledger.genesis import Genesis
from ledger.pace import Pace
from ledger.signing import SigningKey
from ledger.simplex import Cast, Decision, Fault, Judge, Keep, Lacking, Propose, Repeat, Voter, vote_of
from ledger.votes import Certificate, Phase, Proposal, SignedVote

HEARTBEAT_MS: Final = 60_000
"""A checkpoint at least this often, so that ledger time moves when nobody says anything."""

DUE_AGAIN_MS: Final = 1_000
"""When a close left work that was due, the next empty checkpoint comes no sooner than this."""

PROPOSALS_PER_SLOT_MAX: Final = 2
"""An honest leader makes one; a second proves it a liar and may be the one that others notarize."""

PROPOSALS_MAX: Final = 4 * DEPTH_MAX
"""Kept with their executed states, before those of slots that ended without a notarization are forgotten."""

BALLOTS_BYTES_MAX: Final = 512 * 1024
"""In one answer to whoever asks what was said in open slots."""

STANDSTILL_MS: Final = 5_000
"""So long without finality, though something is wanted, is worth a word to the operator."""

NEVER: Final = (2**63, 0)
"""A place that no epoch reaches: we abstain from everything."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """Nothing becomes final since `since` (unix ms).

    `heard`: validators whose words came lately, us included; `weight` is their stake, of which more than two
    thirds of `total` are needed.
    """

    since: int
    heard: tuple[bytes, ...]
    weight: int
    total: int


Commit = Callable[[Sequence[Candidate], Certificate], None]


class Voting:
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
        has_voted: bool,
        voter: Callable[..., Voter] = Voter,
    ) -> None:
        """`has_voted`: this store has ever kept a vote of ours. `voter` makes a Voter, or for
        tests a liar."""
        self.genesis = genesis
        self.net = genesis.net
        self.last = last
        self.candidates = Candidates(genesis, rules, admission, root)
        self.to_send: list[bytes] = []
        self.to_keep: list[Ballot] = []
        self.missing: dict[Cid, None] = {}
        self.faults: list[VoteFault] = []
        self.asks: tuple[int, int] | None = None
        self.is_behind = False
        self.heard: dict[bytes, int] = {}  # validator -> when its last genuine word came (unix ms)
        self._rules = rules
        self._admission = admission
        self._key = key
        self.interval_ms = interval_ms
        self._make = voter
        self._length = sets.epoch_length(genesis)
        self._pace = Pace()
        self._proposals: dict[tuple[int, Cid], Proposal] = {}
        self._heard_of: Counter[int] = Counter()  # slot -> proposals that were kept, forgotten ones too
        self._refused: set[Cid] = set()
        self._lacked: dict[tuple[Cid, ...], tuple[Cid, ...]] = {}  # tips -> those that were missing
        self._proposed_at: int | None = None
        self._unsettled_since: tuple[int, int] | None = None  # (slot, unix ms): the tip is not final
        self._wanted_since: int | None = None  # unix ms, and nothing became final since
        self._clock = 0
        self.has_voted = has_voted
        self._abstains_through = (-1, 0)
        self._queue: deque[simplex.Action] = deque()
        self.voter = self._new_voter()
        if not self._is_alone:
            self._abstain(NEVER)
        self._recall(ballots)

    # -- what comes in --------------------------------------------------------------------------------------

    def hear(self, data: bytes, now: int, *, is_live: bool = True) -> bool:
        """One message of another node; whether it is worth passing on. Raises RemoteError when it is
        wrong. Not `is_live`: an answer to a question of ours, which says nothing of who is there now.
        """
        if not is_live:
            lately = dict(self.heard)
            try:
                return self.hear(data, now)
            finally:
                self.heard = lately
        message = votes.parse_message(data, net=self.net)
        said = message.vote.vote if isinstance(message, Proposal) else message
        epoch, slot = (said.vote if isinstance(said, SignedVote) else said).place
        oldest = (
            self.voter.slot - simplex.BEHIND_MAX if isinstance(message, SignedVote) else self.voter.base + 1
        )
        if (epoch, slot) < (self.voter.epoch, oldest):
            return False
        if epoch > self.voter.epoch:
            self.is_behind = True
            return False
        if slot > self.voter.slot + simplex.AHEAD_MAX:
            self.asks = (self.voter.epoch, self.voter.base + 1)
            if not isinstance(message, Certificate):
                return False
        match message:
            case Certificate():
                return self._hear_certificate(message)
            case SignedVote():
                return self._hear_vote(message, now)
        return self._hear_proposal(message, now)

    def _hear_certificate(self, certificate: Certificate) -> bool:
        if self.voter.knows(certificate):
            return False
        votes.check_certificate(certificate, self.voter.validators)
        for signed in certificate.ballots():
            self._notice_own(signed)
        self._queue += self.voter.certified(certificate)
        return True

    def _hear_vote(self, signed: SignedVote, now: int) -> bool:
        if self.voter.has_heard(signed):
            self.heard[signed.by] = now
            return False
        if self.voter.has_answered(signed):
            return False  # the same again at another time, or more of somebody who is proven to lie
        votes.check_vote(signed, self.voter.validators)
        self.heard[signed.by] = now
        self._notice_own(signed)
        self._queue += self.voter.hear(signed)
        return True

    def _hear_proposal(self, proposal: Proposal, now: int) -> bool:
        signed = proposal.vote
        slot, id = signed.vote.slot, Cid.of(proposal.checkpoint)
        if (slot, id) in self._proposals:
            return False
        if signed.by != self.voter.schedule.leader(slot):
            raise RemoteError(f"{signed.by.hex()} does not lead slot {slot}", code="not_leader")
        checkpoint = parse_checkpoint(proposal.checkpoint, net=self.net)
        if checkpoint.epoch != self.voter.epoch or checkpoint.slot > slot:
            raise RemoteError(f"height {checkpoint.height} is not of slot {slot}", code="bad_checkpoint")
        if checkpoint.cert != (Cid.of(proposal.parent) if proposal.parent else None):
            raise RemoteError("a proposal without its parent's certificate", code="bad_certificate")
        self._hear_vote(signed, now)
        if self._heard_of[slot] >= PROPOSALS_PER_SLOT_MAX and not self.voter.is_notarized(slot, id):
            return False
        if proposal.parent and checkpoint.slot == slot:
            parent = votes.parse_certificate_shape(proposal.parent, net=self.net)
            if parent.epoch == self.voter.epoch and parent.slot > self.voter.base:
                self._hear_certificate(parent)
        self._proposals[slot, id] = proposal
        self._heard_of[slot] += 1
        self.to_keep.append(Ballot(self.voter.epoch, slot, False, proposal.encode()))
        self._proposed_at = now
        self._queue += self.voter.proposed(slot, id)
        return True

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

    # -- letting things happen ------------------------------------------------------------------------------

    def drive(self, now: int, commit: Commit) -> None:
        """Let everything happen that now can. `commit` makes a run durable and moves the replica on."""
        while True:
            self._settle(now, commit)
            wanted = self.is_wanted(now)
            if not wanted or self._wanted_since is None:
                self._wanted_since = now if wanted else None
            before = self.voter, self.voter.slot
            self._queue += self.voter.tick(now, wanted=wanted, ready=self._is_ready(now))
            if not self._settle(now, commit) and before == (self.voter, self.voter.slot):
                break
        self._tidy()

    def _tidy(self) -> None:
        """Forget what was not notarized in slots that are over; should it be needed, others are asked."""
        if len(self._proposals) <= PROPOSALS_MAX:
            return
        kept = {
            (slot, id): one
            for (slot, id), one in self._proposals.items()
            if slot >= self.voter.slot or self.voter.is_notarized(slot, id)
        }
        self._proposals = kept
        self.candidates.keep({id for _, id in kept})

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

    def _perform(self, action: simplex.Action, now: int) -> None:
        match action:
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
        self._proposals[slot, checkpoint.id] = proposal
        self.to_keep.append(Ballot(self.voter.epoch, slot, False, proposal.encode()))
        self.to_send.append(proposal.encode())
        self._proposed_at = now
        self._say(signed)
        self._queue += self.voter.proposed(slot, checkpoint.id)

    def _is_good(self, slot: int, id: Cid) -> bool:
        """Whether the proposal of this slot may be notarized; False also when something is missing."""
        if id in self._refused or (slot, id) not in self._proposals:
            return False
        checkpoint = parse_checkpoint(self._proposals[slot, id].checkpoint, net=self.net)
        again = checkpoint.slot < slot
        if not self.voter.may_build(slot, id if again else checkpoint.parent):
            self.asks = (self.voter.epoch, self.voter.base + 1)
            return False
        candidate = self._executed(id)
        if candidate is None:
            return False
        if again:
            return self._is_last(checkpoint) or candidate.depth >= DEPTH_MAX
        return candidate.depth <= DEPTH_MAX

    def _executed(self, id: Cid) -> Candidate | None:
        """The candidate of this id, executed here now if need be; None when something is missing or wrong."""
        try:
            return self._execute(id)
        except RemoteError:
            self._refused.add(id)
            return None

    def _execute(self, id: Cid) -> Candidate | None:
        known = self.candidates.get(id)
        if known is not None:
            return known
        found = next((one for (_, of), one in self._proposals.items() if of == id), None)
        if found is None:
            self.asks = (self.voter.epoch, self.voter.base + 1)
            return None
        checkpoint = parse_checkpoint(found.checkpoint, net=self.net)
        if checkpoint.parent != self._root_id:
            assert checkpoint.parent is not None, "height 1 stands on genesis, which is the root then"
            if self._execute(checkpoint.parent) is None:
                return None
        return self.execute_link(checkpoint, found.parent)

    def execute_link(self, checkpoint: Checkpoint, shown: bytes) -> Candidate | None:
        """Execute a checkpoint whose parent is known here; None when events are missing (see `missing`).

        Raises RemoteError when it is wrong.
        """
        below = self.candidates.get(checkpoint.parent)
        parent = self.candidates.root.checkpoint if below is None else below.checkpoint
        state = self.candidates.root.state if below is None else below.outcome.state
        if checkpoint.parent != (None if parent is None else parent.id):
            raise RemoteError(f"height {checkpoint.height} builds on another parent", code="bad_checkpoint")
        judges = None if parent is None else sets.validators_of(state, parent.epoch)
        # Asked again with every message, as long as events are missing: so what costs least comes first.
        missing = self._still_missing(checkpoint)
        if missing:
            self.missing.update(dict.fromkeys(self._admission.pending.lacking(missing)))
            return None
        certificate = check_shown(checkpoint, shown, parent, judges, self._length)
        return self.candidates.judge(checkpoint, certificate)

    def _still_missing(self, checkpoint: Checkpoint) -> Sequence[Cid]:
        """Of its tips; without asking the store when none of those that were missing has come since."""
        known = self._lacked.get(checkpoint.tips)
        if known is not None and not any(map(self._admission.stands, known)):
            return known
        missing = tuple(self._admission.missing(checkpoint.tips))
        if missing:
            self._lacked[checkpoint.tips] = missing
        else:
            self._lacked.pop(checkpoint.tips, None)
        return missing

    def _finish(self, final: Certificate, commit: Commit) -> bool:
        """Commit the run up to what this certificate makes final, if all of it is here."""
        assert final.checkpoint is not None
        if final.checkpoint == self._root_id:  # final by an earlier slot already, and once more by this one
            self._queue += self.voter.settle(final.slot, final.checkpoint)
            return True
        try:
            candidate = self._execute(final.checkpoint)
        except RemoteError as error:
            found = next(one for (_, of), one in self._proposals.items() if of == final.checkpoint)
            checkpoint = parse_checkpoint(found.checkpoint, net=self.net)
            raise Diverged(f"a quorum finalised: {error}", checkpoint, final) from error
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
        self._wanted_since = None
        self.candidates.settle(candidate)
        self._proposals = {at: one for at, one in self._proposals.items() if at[0] > final.slot}
        self._heard_of = Counter({slot: n for slot, n in self._heard_of.items() if slot > final.slot})
        if self._is_last(candidate.checkpoint):
            self._queue.clear()
            self._proposals.clear()
            self._heard_of.clear()
            self.voter = self._new_voter()
        else:
            self._queue += self.voter.settle(final.slot, candidate.checkpoint.id)
        self._refused.clear()
        self._lacked.clear()

    # -- when -----------------------------------------------------------------------------------------------

    def is_wanted(self, now: int) -> bool:
        """Whether there is something to make final."""
        if self.voter.unsettled is not None:
            return True
        tip = self.voter.tip
        if tip is None:
            return True
        if tip[1] != self._root_id:
            return self.candidates.is_news(self.candidates.get(tip[1])) or self._is_overdue(now)
        self._unsettled_since = None
        return self.candidates.is_news(None) or self._is_time(now)

    def _is_overdue(self, now: int) -> bool:
        """Whether the tip waits for votes to finalize it for longer than they usually take: some skipped its
        slot, and only another slot brings finality."""
        tip = self.voter.slot
        since = self._unsettled_since
        if since is None or since[0] != tip or now < since[1]:
            since = self._unsettled_since = (tip, now)
        return now >= since[1] + self._pace.settling

    def _is_time(self, now: int) -> bool:
        """Whether an empty checkpoint is worth it: for the first, for what is due, for the heartbeat.

        Ledger time lags by one checkpoint, so what is due takes two: one to move time, one to act on it.
        """
        if self.last is None:
            return True
        state = self.candidates.root.state
        stakes = sets.validators_of(state, self.last.final.epoch).stakes
        idle = now - weighted_median(self.last.final.votes, stakes)
        due = self._rules.due(state)
        if due is None or due > now:
            return idle >= HEARTBEAT_MS
        return due > self.last.checkpoint.T or idle >= DUE_AGAIN_MS

    def _is_ready(self, now: int) -> bool:
        return self._proposed_at is None or not 0 <= now - self._proposed_at < self.interval_ms

    def next(self, now: int) -> int | None:
        """When to drive again (unix ms), if nothing happens before."""
        times = [self._pace.next]
        wanted = self.is_wanted(now)
        if self._proposed_at is not None and wanted and not self._is_ready(now):
            times.append(self._proposed_at + self.interval_ms)
        if self._unsettled_since is not None and not wanted:
            times.append(self._unsettled_since[1] + self._pace.settling)
        return min((time for time in times if time is not None), default=None)

    def standstill(self, now: int) -> Standstill | None:
        """See `Standstill`; None while things go on, or nothing is wanted."""
        if self._wanted_since is None or now - self._wanted_since < STANDSTILL_MS:
            return None
        recent = {key for key, at in self.heard.items() if now - at <= STANDSTILL_MS}
        if self.is_validator and self._key is not None:
            recent.add(self._key.public)
        members = self.voter.validators
        heard = tuple(key for key in members.stakes if key in recent)
        return Standstill(self._wanted_since, heard, members.weight(heard), members.total)

    # -- what others ask ------------------------------------------------------------------------------------

    def ballots(self, epoch: int, slot: int) -> list[bytes]:
        """What is known of open slots from (epoch, slot) on, and what made the last checkpoint final."""
        found: list[bytes] = [] if self.last is None else [self.last.final.encode()]
        if epoch == self.voter.epoch:
            standing = list(self.voter.standing(slot))
            found += [one.encode() for one in standing if isinstance(one, Certificate)]
            found += [one.encode() for (at, _), one in sorted(self._proposals.items()) if at >= slot]
            found += [one.encode() for one in standing if isinstance(one, SignedVote)]
        elif epoch < self.voter.epoch:
            found += [one.encode() for one in self.voter.standing(1)]
        kept: list[bytes] = []
        size = 0
        for data in found:
            size += len(data) + 8
            if size > BALLOTS_BYTES_MAX:
                break
            kept.append(data)
        return kept

    @property
    def proposals(self) -> int:
        """How many bodies of proposals are kept."""
        return len(self._proposals)

    @property
    def is_validator(self) -> bool:
        """Whether we have a vote in this epoch."""
        return self._key is not None and self.voter.me is not None

    @property
    def _is_alone(self) -> bool:
        """Whether we are the only validator, who has nobody to ask."""
        return self.voter.me is not None and len(self.voter.validators.stakes) == 1

    @property
    def is_silent(self) -> bool:
        """Whether we wait for `rejoin` before we vote."""
        return self.is_validator and self._abstains_through == NEVER

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
        self._pace.entered(voter.slot)
        if voter.me is not None and len(members.stakes) == 1:
            self._abstains_through = min(self._abstains_through, (epoch - 1, 0))
        voter.abstains_through = self._abstains_in(epoch)
        return voter

    def _abstain(self, through: tuple[int, int]) -> None:
        self._abstains_through = max(self._abstains_through, through)
        self.voter.abstains_through = self._abstains_in(self.voter.epoch)

    def _abstains_in(self, epoch: int) -> int:
        """The last slot of an epoch in which we say nothing; 0: in none."""
        last, slot = self._abstains_through
        return slot if last == epoch else 2**63 if last > epoch else 0

    def _recall(self, ballots: Iterable[Ballot]) -> None:
        """Take up what the disk holds of open slots: first what we said ourselves."""
        kept = [
            (ballot, votes.parse_message(ballot.message, net=self.net))
            for ballot in ballots
            if ballot.epoch == self.voter.epoch and ballot.slot > self.voter.base
        ]
        ours = [one for ballot, one in kept if ballot.ours and isinstance(one, SignedVote)]
        self.voter.restore(ours)
        self._clock = max((one.vote.ts for one in ours), default=0)
        for _, message in kept:
            match message:
                case Certificate():
                    self._queue += self.voter.certified(message)
                case SignedVote():
                    self._queue += self.voter.hear(message)
                case Proposal():
                    slot, id = message.vote.vote.slot, Cid.of(message.checkpoint)
                    self._proposals[slot, id] = message
                    self._heard_of[slot] += 1
                    self._queue += self.voter.hear(message.vote)
                    self._queue += self.voter.proposed(slot, id)

    def _repeat(self) -> None:
        self.asks = self.asks or (self.voter.epoch, self.voter.base + 1)
        if not self.is_validator:
            return  # who only watches has nothing to say, and may ask
        said = [one.encode() for one in self.voter.repeats()]
        slots = {self.voter.slot, *(() if self.voter.tip is None else (self.voter.tip[0],))}
        said += [one.encode() for (slot, _), one in sorted(self._proposals.items()) if slot in slots]
        self.to_send += said

    def __repr__(self) -> str:
        return f"<Voting {self.voter!r} {self.candidates!r}>"
