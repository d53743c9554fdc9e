"""Evidence: a fault that anybody can check is punished once, whoever brings it.

    votes     two votes of one validator that contradict each other,     once an epoch of the votes; jail
              in an epoch that has begun
    fork      two events of one author at one place of a lane            once a lane, each who answers; jail;
                                                                         the first closes the lane
    warrant   an event placed where it cannot stand                      once a place

An offender loses a part of all it has at stake, bonded first and then what is leaving, earliest first:

    min(1, slash_ppm + 3 * guilty / total)          rounded up to a micro-credit

`guilty` is the stake of all who were punished in the present epoch, this one included, as it was when each
was first punished, and at least what any of them had when it was punished again; `total` is everything at
stake, and what was slashed in this epoch. So a mistake of one among many is cheap, and whoever is one of a
third that fails together loses everything (Ethereum's correlation penalty). One part in BOUNTY_PART goes to
the reporter, the rest is burned.

Of an event, the key that signed answers for it with its own bond, if it has one, and so does the account that
it acted for: each if the key acts for it when the evidence comes (a retired one does not act for its own
account), or if it answers for the key still (`domain.rules.former`).
Two forks of one lane need not be answered for by the same, so to close a lane is not to punish for it. Who
answers for the fork that closes it is done with that lane, also with nothing at stake; after that, who pays.

What must always hold: nobody is punished twice for one offence; whoever signed nothing wrong loses nothing;
checking is bounded by the sizes of the payloads (10 signatures at most) and by how many are checked in a
checkpoint; what is remembered of a lane is that it is closed, two accounts at most, and those that paid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import msgspec
from msgspec.structs import replace

from domain import effects
from domain.effects import LaneClosed, Slashed
from domain.payloads import EvidenceFork, EvidenceVotes, EvidenceWarrant
from domain.rules import bonds, checks, former
from domain.rules.accounts import move
from domain.rules.acting import acts, acts_in
from domain.rules.bonds import Bond
from domain.rules.codes import Refused
from domain.rules.draft import Draft
from domain.rules.records import ONLY, Table, flat, raw
from ledger import cut, forks, warrants
from ledger.errors import RemoteError
from ledger.event import Header
from ledger.evidence import VoteFault, check_vote_fault
from ledger.state import State

PPM: Final = 1_000_000
CORRELATION: Final = 3
"""Times the share of the stake that failed together: a third of it loses all."""

BOUNTY_PART: Final = 20
"""The reporter's part: enough to pay for looking, too little to make reporting oneself a way out."""


class Guilt(msgspec.Struct, frozen=True):
    """What was punished in `epoch` so far, in micro-credits: the offenders' stakes, and what they lost."""

    epoch: int = 0
    stake: int = 0
    slashed: int = 0


CLOSED: Final[Table[bytes]] = raw(cut.CLOSED)
"""The value says whether the key that signed is done with its lane: empty, or SPARED."""

SPARED: Final = b"s"
"""Of a lane that a fork closed for which its key did not answer: it was retired before. A fork from the time
before that may still come."""

OFFENCE: Final[Table[bytes]] = raw("offence")
"""Key: a letter, the offender, and what tells its offences of that sort apart; a row: it was punished."""

GUILT: Final[Table[Guilt]] = flat("guilt", Guilt)


def votes(draft: Draft, order: EvidenceVotes) -> None:
    """Refused without effect: `already_punished`, `nothing_at_stake`, `checks_spent`, `bad_evidence`."""
    fault = VoteFault(order.one, order.other)
    offence = vote_offence(fault.by, fault.one.vote.epoch)
    _require_new(draft, OFFENCE, offence)
    _require_stake(draft, fault.by, fault.by)
    if fault.one.vote.epoch > draft.epoch:
        # Else somebody with a small bond could be punished now for what it does later with a great one.
        raise Refused("bad_evidence", "the votes are of an epoch that has not begun")
    with _looking(draft, 2, fault.by, otherwise=f"the votes prove no fault of {fault.by.hex()}"):
        check_vote_fault(fault, net=draft.context.net)
    draft.put(OFFENCE, offence, b"")
    _punish(draft, fault.by, "votes", jail=True)


def fork(draft: Draft, order: EvidenceFork) -> None:
    """Close the lane, whatever its author has at stake, and punish whoever answers for this fork.

    Refused without effect: `already_punished`, `checks_spent`, `bad_evidence`.
    """
    why = "the two headers prove no fork"
    try:
        header, rival = order.proof.headers(draft.context.net)
    except RemoteError as error:
        raise Refused("bad_evidence", why) from error
    lane = cut.lane_key(header.by, header.lane)
    accounts = answerable(partial(_answers, draft), header, rival)
    was_closed = draft.get(CLOSED, lane) is not None
    if was_closed:
        accounts = [one for one in accounts if _may_be_punished(draft, one, header)]
        if not accounts:
            raise Refused("already_punished", "the lane is closed, and nobody is left to pay for this fork")
    with _looking(draft, 2, *accounts, otherwise=why):
        forks.check(order.proof, net=draft.context.net)
    if not was_closed:
        draft.put(CLOSED, lane, SPARED)
        draft.tell(LaneClosed(header.by, header.lane))
    for account in accounts:
        if account == header.by:
            draft.put(CLOSED, lane, b"")
        else:
            draft.put(OFFENCE, fork_offence(account, header.by, header.lane), b"")
        _punish(draft, account, "fork", jail=True)


def _may_be_punished(draft: Draft, account: bytes, header: Header) -> bool:
    """For a fork of a lane that is closed."""
    if account == header.by:
        is_done = draft.get(CLOSED, cut.lane_key(header.by, header.lane)) != SPARED
    else:
        is_done = draft.get(OFFENCE, fork_offence(account, header.by, header.lane)) is not None
    return not is_done and _has_stake(draft, account)


def warrant(draft: Draft, order: EvidenceWarrant) -> None:
    """Refused without effect: `already_punished`, `nothing_at_stake`, `checks_spent`, `bad_evidence`."""
    why = "the headers prove no lie about a place"
    try:
        header = order.warrant.header(draft.context.net)
    except RemoteError as error:
        raise Refused("bad_evidence", why) from error
    offence = warrant_offence(header.by, header.lane, header.seq)
    _require_new(draft, OFFENCE, offence)
    accounts = answerable(partial(_answers, draft), header)
    _require_stake(draft, header.by, *accounts)
    with _looking(draft, 1 + len(order.warrant.parents), *accounts, otherwise=why):
        warrants.check(order.warrant, net=draft.context.net)
    draft.put(OFFENCE, offence, b"")
    for account in accounts:
        _punish(draft, account, "warrant", jail=False)


@contextmanager
def _looking(draft: Draft, signatures: int, *accused: bytes, otherwise: str) -> Iterator[None]:
    """Around the check of so many signatures. Refused: `checks_spent`; `bad_evidence` if it fails."""
    checks.evidence(draft, signatures, at_stake=_has_stake(draft, *accused))
    try:
        yield
    except RemoteError as error:
        checks.false_evidence(draft)
        raise Refused("bad_evidence", otherwise) from error


# -- what was punished already ------------------------------------------------------------------------------


def vote_offence(by: bytes, epoch: int) -> bytes:
    """The key under which a punished fault of votes is remembered."""
    return b"v" + by + epoch.to_bytes(8, "big")


def warrant_offence(by: bytes, lane: int, seq: int) -> bytes:
    return b"w" + by + bytes((lane,)) + seq.to_bytes(8, "big")


def fork_offence(account: bytes, by: bytes, lane: int) -> bytes:
    """Of an account that the key acted for."""
    return b"f" + account + cut.lane_key(by, lane)


def is_punished(state: State, offence: bytes) -> bool:
    """For whoever would report it."""
    return state.get(OFFENCE.name, offence) is not None


def is_closed(state: State, by: bytes, lane: int) -> bool:
    """Whether a fork of that lane was reported already."""
    return state.get(CLOSED.name, cut.lane_key(by, lane)) is not None


def is_done_with(state: State, account: bytes, header: Header) -> bool:
    """Whether the account, which answers for forks of that lane, cannot be punished for another one."""
    if account == header.by:
        return state.get(CLOSED.name, cut.lane_key(header.by, header.lane)) not in (None, SPARED)
    return is_punished(state, fork_offence(account, header.by, header.lane))


def _require_new(draft: Draft, table: Table[bytes], key: bytes) -> None:
    if draft.get(table, key) is not None:
        raise Refused("already_punished", "this offence was reported before, and punished")


def _require_stake(draft: Draft, by: bytes, *offenders: bytes) -> None:
    """`by` signed it; the offenders answer for it."""
    if not _has_stake(draft, *offenders):
        raise Refused("nothing_at_stake", f"{by.hex()} has nothing bonded and nothing unbonding")


def _has_stake(draft: Draft, *offenders: bytes) -> bool:
    return any(bonds.bond_of(draft, offender).at_stake for offender in offenders)


def answerable(answers: Callable[[bytes, Header], bool], *headers: Header) -> list[bytes]:
    """Who answers for events of one author: its key first, then the accounts that it acted for, by key.

    `answers` says whether an account does so for an event of a device of its own, or of its own key.
    """
    own = [header.by for header in headers[:1] if answers(header.by, header)]
    acted_for = {one.acct for one in headers if one.acct is not None and answers(one.acct, one)}
    return [*own, *sorted(acted_for)]


def _answers(draft: Draft, account: bytes, header: Header) -> bool:
    return acts(draft, account, header.by) or former.answers(draft, account, header)


def answers_in(state: State, time: int, account: bytes, header: Header) -> bool:
    """For whoever would report it; `time`: the ledger time of that state."""
    return acts_in(state, account, header.by) or former.answers_in(state, account, header, time)


# -- what it costs ------------------------------------------------------------------------------------------


def _punish(draft: Draft, offender: bytes, offence: effects.Offence, *, jail: bool) -> None:
    before = bonds.bond_of(draft, offender)
    stake = before.at_stake
    if not stake:
        return
    params, epoch = draft.params, draft.epoch
    guilt = draft.get(GUILT, ONLY) or Guilt()
    if guilt.epoch != epoch:
        guilt = Guilt(epoch)
    is_first = before.punished != epoch + 1
    guilt = replace(guilt, stake=guilt.stake + stake if is_first else max(guilt.stake, stake))
    supply, moved = draft.supply, draft.moved  # what this event has moved so far is not in the totals yet
    held = supply.bonded + supply.unbonding + moved["bonded"] + moved["unbonding"]
    total = held + guilt.slashed
    part = params.slash_ppm * total + CORRELATION * PPM * guilt.stake
    whole = PPM * total
    amount = min(stake, -(-stake * part // whole))
    bounty = amount // BOUNTY_PART
    draft.put(GUILT, ONLY, replace(guilt, slashed=guilt.slashed + amount))
    jailed = max(before.jailed, draft.time + params.jail_ms) if jail else before.jailed
    bonds.change(draft, offender, _less(replace(before, jailed=jailed, punished=epoch + 1), amount))
    move(draft, draft.author, bounty, 0)
    draft.moved["burned"] += amount - bounty
    draft.tell(Slashed(offender, offence, draft.author, amount, bounty, amount * PPM // stake))


def _less(bond: Bond, amount: int) -> Bond:
    """Take from what is bonded, then from what leaves first."""
    taken = min(bond.bonded, amount)
    rest = amount - taken
    leaving = []
    for time, part in bond.leaving:
        here = min(part, rest)
        rest -= here
        if here < part:
            leaving.append((time, part - here))
    assert rest == 0, f"{amount} to be taken from {bond}"
    return replace(bond, bonded=bond.bonded - taken, leaving=tuple(leaving))
