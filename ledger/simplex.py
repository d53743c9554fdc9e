"""Simplex: which vote a validator casts, and when a checkpoint is final. One `Voter` for each epoch.

After Chan and Pass, "Simplex Consensus" (ePrint 2023/463). Where we differ: votes weigh stake; `skip` is the
paper's vote for the dummy block; a leader may propose the notarized tip again instead of a child of it.

Knows slots, votes, certificates and stake. Does not know what a checkpoint holds, whether executing it gave
its roots, how a vote travels, or what time it is: time comes in as an argument, votes go out as actions
(`ledger.voter_actions`). What we say in a slot is read from a table, `ledger.vote_rule`.

Slot s, with Q meaning more than two thirds of the epoch's stake:

    its leader    proposes a child of the highest notarized checkpoint with a skip certificate for every slot
                  between (or that checkpoint itself, once more)
    a proposal    notarize the first one, if it builds on such a checkpoint and executing it gave its roots
    timeout       skip
    notarize Q    enter s+1; finalize s, unless we skipped it
    skip Q        enter s+1
    finalize Q    the checkpoint and all its ancestors are final

Why it is safe: two quorums share more than a third of the stake, so an honest validator. It notarizes once in
a slot, so no slot has two notarized checkpoints. It never both finalizes and skips a slot, so a final one is
never skipped, and every later proposal must build on it. Why it goes on: as long as more than two thirds
are up and hear each other, every slot ends in one of the two certificates, and whoever holds one brings
everybody else along.

Never, whatever arrives:
    I1  two notarize votes of ours in a slot
    I2  finalize and skip of ours in one slot
    I3  a vote of ours in a slot up to which we abstain (`abstains_through`)
Not here but with the caller: no vote is sent before it is on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ledger.cid import Cid
from ledger.pace import Pace
from ledger.slots import Slot
from ledger.validators import Schedule, ValidatorSet
from ledger.vote_rule import TRANSITIONS, Seen, Transitions, Voted, restored
from ledger.voter_actions import Action, Cast, Decision, Fault, Judge, Keep, Lacking, Propose, Repeat
from ledger.votes import Certificate, Phase, SignedVote, Vote

AHEAD_MAX: Final = 64
"""Slots above ours of which votes are kept; a certificate counts from any distance."""

BEHIND_MAX: Final = 64
"""Slots below ours of which votes are kept, to find whoever contradicts itself late."""


class Voter:
    """One epoch, seen by one node; `me` None: by a node that only watches.

    `root` is the final checkpoint that the epoch builds on (None: genesis), which stands in slot 0.
    """

    transitions: Transitions = TRANSITIONS

    def __init__(
        self, net: Cid, epoch: int, validators: ValidatorSet, me: bytes | None, root: Cid | None, pace: Pace
    ) -> None:
        self.net = net
        self.epoch = epoch
        self.validators = validators
        self.schedule = Schedule(net, epoch, validators)
        self.me = me if me in validators else None
        self.pace = pace
        self.slot = 1
        self.base = 0  # the slot of the last final checkpoint
        self.root = root
        self.abstains_through = 0  # no vote up to this slot: we may have voted there and not know how
        self._slots: dict[int, Slot] = {}
        self._notarized: dict[Cid, int] = {}  # checkpoint -> the last slot in which it was notarized
        self._final: Certificate | None = None  # not settled yet

    # -- what comes in --------------------------------------------------------------------------------------

    def hear(self, signed: SignedVote) -> list[Action]:
        """A genuine vote of a validator of this epoch. Our own is known again at any distance, or we would
        take it for one that our disk lost when it comes back."""
        vote = signed.vote
        assert vote.epoch == self.epoch, f"{signed} in epoch {self.epoch}"
        if not self.is_near(vote.slot) and signed.by != self.me:
            return []
        slot, phase = self._at(vote.slot), Phase(vote.phase)
        is_first = (signed.by, phase) not in slot.first
        actions = self._note(slot, signed)
        if not is_first or phase is Phase.PROPOSE or vote.slot <= self.base:
            return actions
        voices = slot.saying(phase, vote.checkpoint)
        if phase not in slot.certificates and self._is_quorum(voices):
            actions += self.certified(Certificate.of(voices))
        return actions

    def late(self, signed: SignedVote) -> list[Action]:
        """A genuine vote that decides nothing any more: whether it is a fault."""
        if not self.is_near(signed.vote.slot):
            return []
        return self._note(self._at(signed.vote.slot), signed)

    def certified(self, certificate: Certificate) -> list[Action]:
        """A certificate of this epoch, checked."""
        assert certificate.epoch == self.epoch, f"{certificate} in epoch {self.epoch}"
        if certificate.slot <= self.base:
            return []
        slot, phase = self._at(certificate.slot), Phase(certificate.phase)
        if phase in slot.certificates:
            return []
        slot.certificates[phase] = certificate
        actions: list[Action] = []
        for signed in certificate.ballots():
            actions += self._note(slot, signed)
        if phase is Phase.FINALIZE:
            if self._final is None or self._final.slot < certificate.slot:
                self._final = certificate
                actions.append(Decision(certificate))
            return actions
        actions.append(Keep(certificate))
        if phase is Phase.NOTARIZE:
            assert certificate.checkpoint is not None
            self._notarized[certificate.checkpoint] = max(
                certificate.slot, self._notarized.get(certificate.checkpoint, 0)
            )
            self.pace.notarized(self.schedule.leader(certificate.slot))
            actions += self._turn(certificate.slot, Seen.NOTARIZE_Q, certificate.checkpoint)
        else:
            self.pace.skipped(self.schedule.leader(certificate.slot))
            actions += self._turn(certificate.slot, Seen.SKIP_Q, None)
        if certificate.slot >= self.slot:
            actions += self._enter(certificate.slot + 1)
        return actions

    def proposed(self, slot: int, checkpoint: Cid) -> list[Action]:
        """The leader of `slot` proposes this one; the caller holds its bytes. Only the first counts."""
        if not self.base < slot <= self.slot + AHEAD_MAX:
            return []
        at = self._at(slot)
        if at.proposal is None:
            at.proposal = checkpoint
        return self._judge()

    def judged(self, slot: int, checkpoint: Cid) -> list[Action]:
        """Executing the proposal of this slot gave its roots, and it follows what it builds on."""
        at = self._at(slot)
        if slot != self.slot or at.proposal != checkpoint or at.judged:
            return []
        at.judged = True
        return self._turn(slot, Seen.PROPOSAL, checkpoint)

    def tick(self, now: int, *, wanted: bool, ready: bool) -> list[Action]:
        """Time passed (unix ms). `wanted`: there is something to make final; `ready`: a leader may begin."""
        actions = self._judge()
        if wanted and ready and self._leads() and self._at(self.slot).proposal is None:
            actions += self._propose()
        if self.pace.is_up(now, self.schedule.leader(self.slot), wanted=wanted):
            actions += self._turn(self.slot, Seen.TIMEOUT, None)
        if self.pace.is_silent(now, wanted=wanted):
            actions.append(Repeat())
        return actions

    def settle(self, slot: int, checkpoint: Cid) -> list[Action]:
        """This checkpoint is final and durable; `slot` is that of its finality certificate."""
        if slot <= self.base:
            return []
        self.base, self.root = slot, checkpoint
        self._notarized = {id: at for id, at in self._notarized.items() if at > slot}
        if self._final is not None and self._final.slot <= slot:
            self._final = None
        self._forget()
        return self._enter(slot + 1) if slot >= self.slot else []

    # -- after a restart ------------------------------------------------------------------------------------

    def restore(self, votes: Iterable[SignedVote]) -> None:
        """Votes of ours from the disk, or from others who heard them: what is said stays said. To be heard,
        too."""
        for signed in votes:
            vote, at = signed.vote, self._at(signed.vote.slot)
            at.voted = restored(at.voted, Phase(vote.phase))
            at.notarized = vote.checkpoint if vote.phase == Phase.NOTARIZE else at.notarized

    # -- what others may ask --------------------------------------------------------------------------------

    def shown(self, checkpoint: Cid) -> Certificate | None:
        """The certificate that this checkpoint is notarized, of the last slot in which it was."""
        slot = self._notarized.get(checkpoint)
        return None if slot is None else self._slots[slot].certificates[Phase.NOTARIZE]

    def knows(self, certificate: Certificate) -> bool:
        """Whether one that says the same, or makes it old, is here."""
        at = self._slots.get(certificate.slot)
        return certificate.slot <= self.base or (at is not None and certificate.phase in at.certificates)

    def has_heard(self, signed: SignedVote) -> bool:
        """Whether this very vote is here."""
        at = self._slots.get(signed.vote.slot)
        return at is not None and at.first.get((signed.by, Phase(signed.vote.phase))) == signed

    def has_heard_all(self, certificate: Certificate) -> bool:
        """Whether this very one is here, or each of its votes, and they are enough."""
        at = self._slots.get(certificate.slot)
        if at is None:
            return False
        said = certificate.ballots()
        is_here = at.certificates.get(Phase(certificate.phase)) == certificate
        return is_here or (all(map(self.has_heard, said)) and self._is_quorum(said))

    def has_answered(self, signed: SignedVote) -> bool:
        """Whether this validator said the same of this slot before, or is known to contradict itself there: a
        vote that differs in its time alone is no news, and of a liar two words are enough."""
        at, phase = self._slots.get(signed.vote.slot), Phase(signed.vote.phase)
        known = None if at is None else at.first.get((signed.by, phase))
        if at is None or known is None:
            return False
        return known.vote.checkpoint == signed.vote.checkpoint or (signed.by, phase) in at.faulty

    def is_near(self, slot: int) -> bool:
        """Whether votes of this slot are kept."""
        return self.slot - BEHIND_MAX <= slot <= self.slot + AHEAD_MAX

    def contradicts(self, signed: SignedVote) -> bool:
        """Whether its validator said here what it cannot say beside this."""
        at = self._slots.get(signed.vote.slot)
        return at is not None and bool(at.against(signed))

    def is_notarized(self, slot: int, checkpoint: Cid) -> bool:
        at = self._slots.get(slot)
        known = None if at is None else at.certificates.get(Phase.NOTARIZE)
        return known is not None and known.checkpoint == checkpoint

    def has_notarized(self, slot: int, checkpoint: Cid) -> bool:
        """Whether we said so: with our word a quorum may still come together."""
        at = self._slots.get(slot)
        return at is not None and at.notarized == checkpoint

    @property
    def tip(self) -> tuple[int, Cid | None] | None:
        """(slot, checkpoint) that the present slot may build on; None when a certificate is missing."""
        for slot in range(self.slot - 1, self.base, -1):
            certificates = self._at(slot).certificates
            if Phase.NOTARIZE in certificates:
                return slot, certificates[Phase.NOTARIZE].checkpoint
            if Phase.SKIP not in certificates:
                return None
        return self.base, self.root

    @property
    def unsettled(self) -> Certificate | None:
        """A finality certificate for what is not durable here yet."""
        return self._final

    def may_build(self, slot: int, parent: Cid | None) -> bool:
        """Whether a proposal in `slot` may build on `parent`: it is notarized (or final), and all slots
        between are skipped."""
        below = self._built_on(parent)
        return 0 <= below < slot and all(self._has(at, Phase.SKIP) for at in range(below + 1, slot))

    def lacks(self, slot: int, parent: Cid | None) -> int:
        """The slot from which on certificates are missing here before `may_build`."""
        below = self._built_on(parent)
        missing = (at for at in range(below + 1, slot) if not self._has(at, Phase.SKIP))
        return self.base + 1 if below < 0 else next(missing, self.base + 1)

    def first_of(self, is_wanted: Callable[[Cid], bool]) -> int:
        """The first slot in which such a checkpoint was notarized, or the first that is open."""
        return min((at for id, at in self._notarized.items() if is_wanted(id)), default=self.base + 1)

    @property
    def gap(self) -> int | None:
        """The first slot that is over, and how it ended is not known here."""
        between = range(self.base + 1, self.slot)
        ended = (self._has(at, Phase.NOTARIZE) or self._has(at, Phase.SKIP) for at in between)
        return next((at for at, is_known in zip(between, ended, strict=True) if not is_known), None)

    def standing(self, slot: int) -> Iterator[Certificate | SignedVote]:
        """What brings another node from `slot` to where we are: certificates, then the votes of slots that
        are open, the newest slots last."""
        for at in sorted(self._slots):
            known = self._slots[at]
            if at >= slot and at > self.base:
                yield from known.certificates.values()
        for at in sorted(self._slots):
            known = self._slots[at]
            if at >= max(slot, self.slot - 1):
                yield from known.first.values()

    def own(self, slot: int) -> list[SignedVote]:
        """What we said in a slot."""
        at = self._slots.get(slot)
        if at is None or self.me is None:
            return []
        return [at.first[self.me, phase] for phase in Phase if (self.me, phase) in at.first]

    def repeats(self) -> list[Certificate | SignedVote]:
        """What to say again: how we came into this slot, and our words since the last final checkpoint."""
        said: list[Certificate | SignedVote] = []
        before = self._slots.get(self.slot - 1)
        if before is not None and self.slot - 1 > self.base:
            said += before.certificates.values()
        tip = self.tip
        if tip is not None and tip[0] > self.base:
            said += [self._slots[tip[0]].certificates[Phase.NOTARIZE], *self.own(tip[0])]
        return [*dict.fromkeys(said), *self.own(self.slot)]

    # -- inside ---------------------------------------------------------------------------------------------

    def _built_on(self, parent: Cid | None) -> int:
        """The last slot in which this one was notarized or became final; -1 if none is known."""
        below = -1 if parent is None else self._notarized.get(parent, -1)
        return max(below, self.base) if parent == self.root else below  # it may be notarized again when final

    def _has(self, slot: int, phase: Phase) -> bool:
        at = self._slots.get(slot)
        return at is not None and phase in at.certificates

    def _at(self, slot: int) -> Slot:
        return self._slots.setdefault(slot, Slot())

    def _turn(self, slot: int, seen: Seen, checkpoint: Cid | None) -> list[Action]:
        at = self._at(slot)
        if (at.voted, seen) not in self.transitions:
            return []
        if slot <= self.abstains_through and seen in (Seen.PROPOSAL, Seen.TIMEOUT):
            return []
        at.voted, phase = self.transitions[at.voted, seen]
        if phase is None or self.me is None or slot <= self.abstains_through:
            return []
        at.notarized = checkpoint if phase is Phase.NOTARIZE else at.notarized
        return [Cast(slot, phase, None if phase is Phase.SKIP else checkpoint)]

    def _enter(self, slot: int) -> list[Action]:
        """Slots that we pass without a word of ours stay open for a late notarization, never for a skip."""
        self.slot = slot
        self.pace.entered()
        self._forget()
        return self._judge()

    def _judge(self) -> list[Action]:
        at = self._at(self.slot)
        if at.proposal is None or at.judged or at.voted not in (Voted.NOTHING, Voted.SKIP):
            return []
        return [Judge(self.slot, at.proposal)]

    def _leads(self) -> bool:
        return (
            self.me is not None
            and self.schedule.leader(self.slot) == self.me
            and self.slot > self.abstains_through
            and (self.me, Phase.PROPOSE) not in self._at(self.slot).first
        )

    def _propose(self) -> list[Action]:
        tip = self.tip
        return [Lacking(self.gap or self.base + 1)] if tip is None else [Propose(self.slot, tip[1])]

    def _note(self, slot: Slot, signed: SignedVote) -> list[Action]:
        """Remember what was said, and whether it is a fault."""
        faults = slot.faults(signed)
        slot.first.setdefault((signed.by, Phase(signed.vote.phase)), signed)
        return [Fault(one) for one in faults]

    def _is_quorum(self, votes: Iterable[SignedVote]) -> bool:
        return self.validators.is_quorum(self.validators.weight(one.by for one in votes))

    def _forget(self) -> None:
        """Below the last final slot only recent votes are of use; above it, of old slots, certificates, and
        what we said ourselves: heard again, it would be taken for a word that our disk lost.

        Those have no bound but that each takes a quorum and its patience: without them all nobody who was
        away could be brought along.
        """
        for number in list(self._slots):
            slot = self._slots[number]
            if number < self.slot - BEHIND_MAX:
                if number <= self.base:
                    del self._slots[number]
                else:
                    slot.first = {what: one for what, one in slot.first.items() if what[0] == self.me}

    def __repr__(self) -> str:
        voted = self._slots[self.slot].voted if self.slot in self._slots else Voted.NOTHING
        return f"<Voter epoch={self.epoch} slot={self.slot} base={self.base} voted={voted.value}>"


def vote_of(cast: Cast, net: Cid, epoch: int, now: int) -> Vote:
    """The vote to sign."""
    return Vote(net, epoch, cast.slot, cast.phase, cast.checkpoint, now)
