"""Money: who holds how many micro-credits, free and in escrow. Bonds are `domain.rules.bonds`.

    pay       free   -> another account's free
    hold      free   -> own escrow                 when a job is submitted, or an escrow opened
    settle    escrow -> another account's free     when a run is paid, or a voucher redeemed
    give back escrow -> own free                   when a shard or an escrow ends with more held than was paid

What is pledged for runs, and what becomes of it, is `domain.rules.pledges`. There is no way to make money
after genesis.

What must always hold: no balance is negative; of what is free, `old` was there before the height of the last
movement and through all of it; the sum of all free balances, escrows, pledges and bonds, and
of what was burned, is what was minted; an account's escrow is the sum of what its running jobs and its open
escrows hold.
"""

from __future__ import annotations

from domain.effects import Balance, Transferred
from domain.payloads import Transfer
from domain.rules.codes import Refused, in_credits
from domain.rules.draft import Draft
from domain.rules.records import ACCOUNT, Account
from ledger.state import State

NOBODY = Account()


def account_of(draft: Draft, account: bytes) -> Account:
    """An account that was never paid holds nothing."""
    return draft.get(ACCOUNT, account) or NOBODY


def is_known(state: State, account: bytes) -> bool:
    """Whether it ever held a credit."""
    return state.get(ACCOUNT.name, account) is not None


def balance(state: State, account: bytes) -> tuple[int, int]:
    """(free, escrow) micro-credits of an account, for whoever looks at a state from outside."""
    free, escrow, _ = holdings(state, account)
    return free, escrow


def holdings(state: State, account: bytes) -> tuple[int, int, int]:
    """(free, escrow, pledged) micro-credits."""
    row = state.get(ACCOUNT.name, account)
    held = NOBODY if row is None else ACCOUNT.decode(row)
    return held.free, held.escrow, held.pledged


def transfer(draft: Draft, order: Transfer) -> None:
    """Move `amount` micro-credits from the author to `order.to`.

    Refused without effect: `to_self`, `insufficient_funds`.
    """
    if order.to == draft.author:
        raise Refused("to_self", f"{order.to.hex()} would pay itself")
    require(account_of(draft, draft.author), order.amount, "the transfer")
    move(draft, draft.author, -order.amount, 0)
    move(draft, order.to, order.amount, 0)
    draft.tell(Transferred(draft.author, order.to, order.amount))


def require(account: Account, amount: int, what: str) -> None:
    """Refused with `insufficient_funds` when the free balance is less than `amount`."""
    if account.free < amount:
        held = f", and {in_credits(account.escrow)} in escrow" if account.escrow else ""
        raise Refused(
            "insufficient_funds",
            f"{what} needs {in_credits(amount)} credits; the account holds {in_credits(account.free)} free"
            f"{held}: {in_credits(amount - account.free)} too few",
        )


def held_before(draft: Draft, account: bytes) -> int:
    """Free micro-credits that the account has had since before this height: what comes in at a height is not
    among them until the next. Draws ask for these, because who moves money now may know the beacon."""
    return _old(account_of(draft, account), draft.context.height)


def _old(account: Account, height: int) -> int:
    return account.old if account.height == height else account.free


def hold(draft: Draft, account: bytes, amount: int) -> None:
    """Put free micro-credits into escrow; the caller has asked whether they are there."""
    move(draft, account, -amount, +amount)


def settle(draft: Draft, submitter: bytes, worker: bytes, amount: int) -> None:
    """Pay a run from the submitter's escrow."""
    move(draft, submitter, 0, -amount)
    move(draft, worker, +amount, 0)


def give_back(draft: Draft, submitter: bytes, amount: int) -> None:
    move(draft, submitter, +amount, -amount)


def move(draft: Draft, account: bytes, free: int, escrow: int, pledged: int = 0) -> None:
    """Change one account's balances by signed amounts, and the draft's totals with them."""
    if not free and not escrow and not pledged:
        return
    before = account_of(draft, account)
    height, after_free = draft.context.height, before.free + free
    after = Account(
        after_free,
        before.escrow + escrow,
        before.pledged + pledged,
        height,
        min(_old(before, height), after_free),
    )
    assert after.free >= 0, f"{account.hex()} would hold {after.free}"
    assert after.escrow >= 0, f"{account.hex()} would have {after.escrow} in escrow"
    assert after.pledged >= 0, f"{account.hex()} would have {after.pledged} pledged"
    draft.moved["free"] += free
    draft.moved["escrow"] += escrow
    draft.moved["pledged"] += pledged
    draft.put(ACCOUNT, account, after)
    draft.stands("balance", account, Balance(account, after.free, after.escrow, after.pledged))
