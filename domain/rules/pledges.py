"""Pledges: what an account sets aside for one run, and loses if the run is proven wrong.

    pledge    free    -> pledged     when a run is leased
    release   pledged -> free        when it is over; a run that was paid, when it cannot be appealed any more
    forfeit   pledged -> the submitter's free, the finder's free, and burned

Every run pledges the bond that its job asks for, and its own: whoever holds many leases at once has as many
bonds at stake, and what one of them costs is not paid from another's. All runs of a job pledge the same, so
nobody can cost another account more than it risks itself: to be outvoted by accounts that have nothing to
lose is not possible.

Of a forfeit, first the submitter gets back what the lie made it pay beyond one run and its check; of what is
left, one part in BOUNTY_PART goes to the account that the lie contradicted; the rest is burned. Less is given
away than is lost, whoever is who: a submitter that is its own liar and its own finder loses by it.

What must always hold: `Account.pledged` is the sum of the bonds of its runs that are live or can be appealed,
and of what it set aside for appeals of its own that run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from domain.effects import Forfeited, Transferred
from domain.rules import pulse
from domain.rules.accounts import move
from domain.rules.draft import Draft
from domain.rules.records import Run

if TYPE_CHECKING:
    from domain.rules.appeals import Paid
    from domain.rules.runs import Spot

BOUNTY_PART: Final = 20
"""As for evidence: enough to be worth a run's pay, too little to make it a trade."""


def pledge(draft: Draft, account: bytes, bond: int) -> None:
    """The caller has asked whether it is there."""
    move(draft, account, -bond, 0, +bond)


def release(draft: Draft, account: bytes, bond: int) -> None:
    """A job may wait for a bond that comes back."""
    if bond:
        move(draft, account, +bond, 0, -bond)
        pulse.stir(draft)


def give(draft: Draft, account: bytes, amount: int, to: Sequence[bytes]) -> None:
    """What an account pledged goes to others in equal parts; what is left over is burned."""
    part = amount // len(to)
    move(draft, account, 0, 0, -amount)
    if part:
        for other in to:
            move(draft, other, part, 0)
            draft.tell(Transferred(account, other, part))
    draft.moved["burned"] += amount - part * len(to)


def forfeit(
    draft: Draft,
    spot: Spot,
    attempt: int,
    run: Run,
    reason: str,
    *,
    harm: int = 0,
    finder: bytes | None = None,
) -> int:
    """Take a run's bond. `harm`: what it made the submitter pay, in micro-credits; returns what of that it
    made good."""
    if not run.bond:
        return 0
    refund = min(harm, run.bond - 1)
    bounty = 0 if finder is None else (run.bond - refund) // BOUNTY_PART
    whose = (run.worker, spot.id, spot.shard, attempt, reason)
    _take(draft, Forfeited(*whose, run.bond, spot.job.submitter, refund, finder, bounty))
    return refund


def overturn(draft: Draft, spot: Spot, paid: Paid, appellant: bytes, costs: int) -> int:
    """Take the bond of a run that was paid for a result that an appeal overturned.

    Its submitter gets the pay back, the appellant `costs` and a bounty. Returns what of the costs is covered.
    """
    refund = min(paid.amount, paid.bond - 1)
    covered = min(costs, paid.bond - 1 - refund)
    bounty = covered + (paid.bond - refund - covered) // BOUNTY_PART
    whose = (paid.worker, spot.id, spot.shard, paid.attempt, "overturned")
    _take(draft, Forfeited(*whose, paid.bond, spot.job.submitter, refund, appellant, bounty))
    return covered


def _take(draft: Draft, loss: Forfeited) -> None:
    assert loss.refund + loss.bounty < loss.amount, "more is given away than is lost"
    move(draft, loss.account, 0, 0, -loss.amount)
    move(draft, loss.submitter, loss.refund, 0)
    if loss.finder is not None:
        move(draft, loss.finder, loss.bounty, 0)
    draft.moved["burned"] += loss.amount - loss.refund - loss.bounty
    draft.tell(loss)
