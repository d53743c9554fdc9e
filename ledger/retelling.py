"""What is known of open slots, told again: to whoever asks, to all when nothing moves, to us after a start.

The last certificates first, because they say how far we are; then the votes of the slots that we are in,
because whoever comes back must hear of its own; then slot by slot certificates, which decide, and proposals,
which are needed to follow them. So whoever asks again, from the first slot that it still lacks, gets on with
every answer, however much there is. Votes for slots further ahead come last: a liar can make many.

Pure. Knows messages and where they belong. Does not know why somebody asks, or how words are kept.

What must always hold: an answer has at most BALLOTS_BYTES_MAX.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ledger import votes
from ledger.ballot_box import Ballot
from ledger.cid import Cid
from ledger.database import corrupt
from ledger.errors import RemoteError
from ledger.finality import Last
from ledger.proposals import Proposals
from ledger.simplex import Voter
from ledger.votes import Certificate, Message, Proposal, SignedVote

BALLOTS_BYTES_MAX: Final = 512 * 1024
"""In one answer to whoever asks what was said in open slots."""


def answer(voter: Voter, proposals: Proposals, last: Last | None, epoch: int, slot: int) -> list[bytes]:
    """What is known of open slots from (epoch, slot) on, and what made the last checkpoint final."""
    kept: dict[bytes, None] = {}
    size = 0
    for data in (one.encode() for one in _in_order(voter, proposals, last, epoch, slot)):
        if data in kept:
            continue
        size += len(data) + 8
        if size > BALLOTS_BYTES_MAX:
            break
        kept[data] = None
    return list(kept)


def _in_order(
    voter: Voter, proposals: Proposals, last: Last | None, epoch: int, slot: int
) -> Iterator[Message]:
    if last is not None:
        yield last.final
    if epoch > voter.epoch:
        return
    standing = list(voter.standing(slot if epoch == voter.epoch else 1))
    certificates = [one for one in standing if isinstance(one, Certificate)]
    words = [one for one in standing if isinstance(one, SignedVote)]
    yield from _newest(certificates)
    yield from (one for one in words if one.vote.slot <= voter.slot + 1)
    decided: list[Certificate | Proposal] = [*certificates]
    if epoch == voter.epoch:
        decided += proposals.since(slot)
    yield from sorted(decided, key=_place)
    yield from (one for one in words if one.vote.slot > voter.slot + 1)


def _newest(certificates: Sequence[Certificate]) -> Iterable[Certificate]:
    """Those of the last slot that has any: `ledger.rejoining` relies on seeing them."""
    last = max((one.slot for one in certificates), default=0)
    return (one for one in certificates if one.slot == last)


def repeated(voter: Voter, proposals: Proposals) -> list[bytes]:
    """Our own words of the present slot and the tip, and the proposals that they are about."""
    slots = {voter.slot, *(() if voter.tip is None else (voter.tip[0],))}
    return [one.encode() for one in (*voter.repeats(), *proposals.at(slots))]


def recalled(ballots: Iterable[Ballot], voter: Voter, net: Cid) -> tuple[list[SignedVote], list[Message]]:
    """What the disk holds of open slots: what we said ourselves, in later epochs too, and all of it in order.

    It was judged before it was written, and is told on as it stands. Raises StoreCorrupt.
    """
    final = (voter.epoch, voter.base)
    kept = [one for one in (_as_written(ballot, net) for ballot in ballots) if _place(one) > final]
    ours = [one for one in kept if isinstance(one, SignedVote)]
    return ours, [one for one in kept if _place(one)[0] == voter.epoch]


def _as_written(ballot: Ballot, net: Cid) -> Message:
    try:
        message = votes.parse_message(ballot.message, net=net)
    except RemoteError as error:
        raise corrupt("the store", f"what it heard in slot {ballot.slot}: {error}") from error
    signed = message.vote if isinstance(message, Proposal) else message
    if isinstance(signed, SignedVote) and not signed.is_genuine():
        raise corrupt("the store", f"what it heard in slot {ballot.slot} has another signature")
    if _place(message) != (ballot.epoch, ballot.slot) or isinstance(message, SignedVote) != ballot.ours:
        raise corrupt("the store", f"what it heard in slot {ballot.slot} is of another, or of somebody else")
    return message


def _place(message: Message) -> tuple[int, int]:
    match message:
        case Certificate():
            return message.place
        case SignedVote():
            return message.vote.place
    return message.vote.vote.place
