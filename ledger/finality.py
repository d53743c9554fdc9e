"""Finality for one voter: which checkpoint is final, who says so, and the proof of it.

In a *solo* or *anchored* network one validator holds more than two thirds of the stake, so its own finalize
vote is a quorum and the rounds of Simplex collapse to one. `SoleVoter` is that validator, `Follower` is
everybody else; both speak the same `step(input) -> actions`, so a voter for more validators takes their place
without a change around it.

    Proposal   SoleVoter   vote finalize in the next slot -> [Commit]
    Proposal   Follower    never comes: a follower does not vote
    Claim      both        a certificate by the validators of genesis for the next height -> [Execute]

Knows checkpoints, votes, certificates and stake. Does not know what a cut holds, what executing it gives, how
anything travels or what time it is.

Never, whatever arrives:
    I1  two votes of ours in one slot (the slot of a vote is above that of the last final checkpoint, and a
        vote becomes known to others only after it is durable, inside the certificate)
    I2  a checkpoint executed whose height, parent, epoch, slot, T or validator set is not what follows
    I3  an action for a claim without a quorum behind it
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import msgspec

from ledger import canonical, checkpoint
from ledger.checkpoint import Ballot, Certificate, Checkpoint, Phase, SignedVote, Vote, is_quorum
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError
from ledger.execution import Context
from ledger.genesis import Genesis
from ledger.signing import SigningKey

EPOCH: Final = 0
"""Validators are those of genesis for as long as no epoch follows."""

_BEACON: Final = b"fogledger/v1/beacon\n"


class Diverged(AssertionError):
    """A quorum finalised what this node, doing the same work, finds wrong. The node stops and says so loudly.

    Either this node's disk, memory or program is at fault, or more than two thirds of the stake is.
    `checkpoint` and `certificate` are the evidence.
    """

    def __init__(self, message: str, checkpoint: Checkpoint, certificate: Certificate) -> None:
        super().__init__(message)
        self.checkpoint = checkpoint
        self.certificate = certificate


@dataclass(frozen=True, slots=True)
class Proposal:
    """A checkpoint that this node built by executing the cut itself. `now` is the voter's clock (unix ms)."""

    checkpoint: Checkpoint
    now: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Bytes from somewhere that say a checkpoint is final."""

    checkpoint: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """Make both durable; only then may anybody hear of them."""

    checkpoint: Checkpoint
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Execute:
    """A quorum stands behind this child of our last checkpoint: execute it, compare, keep it."""

    checkpoint: Checkpoint
    certificate: Certificate


Input: TypeAlias = Proposal | Claim
Action: TypeAlias = Commit | Execute
Link: TypeAlias = tuple[Checkpoint, Certificate]


class Finality(Protocol):
    """The state machine of one node. `last` is its newest final checkpoint, None before height 1."""

    last: Link | None

    def step(self, given: Input) -> list[Action]:
        """Raises RemoteError for a claim that proves nothing, Diverged for one that proves a conflict."""
        ...

    def judge_old(self, claim: Claim, ours: Checkpoint) -> None:
        """A claim for a height that is final here. Raises Diverged when it proves a conflict."""
        ...

    def advanced(self, link: Link) -> None:
        """This checkpoint is durable now."""
        ...


class Follower:
    """Checks, executes and never votes."""

    def __init__(self, genesis: Genesis, last: Link | None) -> None:
        self.genesis = genesis
        self.stakes = stakes_of(genesis)
        self.last = last

    @property
    def height(self) -> int:
        return 0 if self.last is None else self.last[0].height

    def step(self, given: Input) -> list[Action]:
        assert isinstance(given, Claim), "a follower was asked to vote"
        return [Execute(*self._judged(given))]

    def judge_old(self, claim: Claim, ours: Checkpoint) -> None:
        """A claim for a height that we have. Raises Diverged when a quorum signed two checkpoints for it."""
        claimed = checkpoint.parse_checkpoint(claim.checkpoint, net=self.genesis.net)
        assert claimed.height == ours.height
        if claimed.id != ours.id:
            certificate = self._certificate(claim.certificate, claimed)
            raise Diverged(
                f"a quorum finalised two checkpoints at height {ours.height}", claimed, certificate
            )

    def advanced(self, link: Link) -> None:
        assert link[0].height == self.height + 1, f"height {link[0].height} on top of {self.height}"
        self.last = link

    def _judged(self, claim: Claim) -> Link:
        proposed = checkpoint.parse_checkpoint(claim.checkpoint, net=self.genesis.net)
        if proposed.height != self.height + 1:
            raise RemoteError(
                f"height {proposed.height} where {self.height + 1} is next", code="wrong_height"
            )
        certificate = self._certificate(claim.certificate, proposed)
        # From here on a quorum has signed it. What is wrong now is not a peer's mistake.
        wrong = misfits(proposed, follows(self.genesis, self.last))
        if wrong:
            raise Diverged(
                f"a quorum finalised a checkpoint at height {proposed.height} that cannot follow ours at "
                f"{self.height}: wrong {', '.join(wrong)}",
                proposed,
                certificate,
            )
        return proposed, certificate

    def _certificate(self, data: bytes, claimed: Checkpoint) -> Certificate:
        certificate = checkpoint.parse_certificate(data, net=self.genesis.net, stakes=self.stakes)
        if certificate.checkpoint != claimed.id or certificate.slot != claimed.slot:
            raise RemoteError("the certificate is for another checkpoint", code="bad_certificate")
        return certificate

    def __repr__(self) -> str:
        return f"<{type(self).__name__} height={self.height}>"


class SoleVoter(Follower):
    """The one validator whose stake alone is a quorum.

    It also takes claims: its own earlier word, from peers, after it lost its disk.
    """

    def __init__(self, genesis: Genesis, last: Link | None, key: SigningKey) -> None:
        """Raises UsageError (`not_a_quorum`) when this key cannot finalise alone."""
        super().__init__(genesis, last)
        weight = self.stakes.get(key.public, 0)
        if not is_quorum(weight, genesis.stake):
            raise UsageError(
                f"{key.public.hex()} holds {weight} of {genesis.stake} stake, not more than two thirds",
                code="not_a_quorum",
                next_step="run this node as a follower, or use the key of the network's anchor",
            )
        self.key = key

    def step(self, given: Input) -> list[Action]:
        if isinstance(given, Claim):
            return super().step(given)
        wrong = misfits(given.checkpoint, follows(self.genesis, self.last))
        assert not wrong, f"proposing a checkpoint with wrong {', '.join(wrong)} at height {self.height + 1}"
        return [Commit(given.checkpoint, self._certified(given))]

    def _certified(self, given: Proposal) -> Certificate:
        now = given.now
        if self.last is not None:
            now = max(
                now, *(ballot.ts for ballot in self.last[1].votes)
            )  # a clock set back stays where it was
        ours = given.checkpoint
        signed = SignedVote.make(self.key, Vote(ours.net, Phase.FINALIZE, ours.slot, ours.id, now))
        return Certificate(1, ours.net, ours.slot, ours.id, (Ballot(signed.by, now, signed.sig),))


def stakes_of(genesis: Genesis) -> dict[bytes, int]:
    return {validator.key: validator.stake for validator in genesis.validators}


def validators_id(genesis: Genesis) -> Cid:
    """What a checkpoint's `vnext` names."""
    return Cid.of(canonical.encode([msgspec.structs.asdict(one) for one in genesis.validators]))


def follows(genesis: Genesis, last: Link | None) -> dict[str, object]:
    """Those fields of the next checkpoint that its parent decides."""
    return {
        "epoch": EPOCH,
        "slot": 1 if last is None else last[0].slot + 1,
        "height": 1 if last is None else last[0].height + 1,
        "parent": None if last is None else last[0].id,
        "skips": (),
        "T": ledger_time(genesis, last),
        "vnext": validators_id(genesis),
    }


def misfits(proposed: Checkpoint, expected: Mapping[str, object]) -> list[str]:
    """Names of the fields that are not as expected."""
    return [name for name, value in expected.items() if getattr(proposed, name) != value]


def ledger_time(genesis: Genesis, last: Link | None) -> int:
    """T of the next checkpoint (unix ms): max(T of parent + 1, median of the vote times in its certificate).

    So the ledger's clock lags by one checkpoint, and no single clock of a minority moves it.
    """
    if last is None:
        return genesis.created + 1
    parent, certificate = last
    return max(parent.T + 1, weighted_median(certificate.votes, stakes_of(genesis)))


def weighted_median(votes: Sequence[Ballot], stakes: Mapping[bytes, int]) -> int:
    """The smallest vote time (unix ms) with at least half of the voting stake at or before it."""
    total = sum(stakes[ballot.by] for ballot in votes)
    weight = 0
    for ballot in sorted(votes, key=lambda ballot: ballot.ts):
        weight += stakes[ballot.by]
        if 2 * weight >= total:
            return ballot.ts
    raise AssertionError("a certificate without votes")


def next_context(genesis: Genesis, last: Link | None) -> Context:
    """What rules may know while they execute the checkpoint after `last`.

    The beacon hashes the parent's certificate: its signatures exist only once the parent is final. (The one
    voter of an anchored network does know them first; nobody else can steer or foresee them.)
    """
    seed = genesis.net if last is None else last[1].encode()
    height = 1 if last is None else last[0].height + 1
    return Context(genesis.net, height, ledger_time(genesis, last), hashlib.sha256(_BEACON + seed).digest())
