"""Offers: who runs shards, how many at once, for how much, and until when.

    stands     slots > 0 and ledger time < until: in the agenda; in `idle` while busy < slots
    is busy    computes shards; a slot is free again when the run commits, ends or is given back
    is kept    while it stands or is busy, so that nobody sheds what they are busy with by a new offer

What must always hold: `busy` is the number of the account's runs that are leased and have not committed.
"""

from __future__ import annotations

from msgspec.structs import replace

from domain.effects import OfferStands
from domain.payloads import BondedOffer
from domain.payloads import Offer as PlainOffer
from domain.rules import agenda, pulse
from domain.rules.codes import Refused
from domain.rules.draft import Draft
from domain.rules.records import IDLE, OFFER, OFFERS_MAX, ONLY, SUPPLY, Offer, idle_key


def offer(draft: Draft, order: PlainOffer | BondedOffer) -> None:
    """Replace the author's standing offer, or withdraw it when `order.slots` is 0. Leases go on.

    Refused without effect: `offer_expired`, `offer_too_long`, `market_full`.
    """
    before = draft.get(OFFER, draft.author)
    busy, since = 0, draft.context.height
    if before is not None:
        busy, since = before.busy, before.since if before.slots else since
    if order.slots:
        _check_until(draft, order.until)
        if (before is None or not before.slots) and draft.supply.offers >= OFFERS_MAX:
            raise Refused("market_full", f"{OFFERS_MAX} offers stand, and that is as many as there may be")
    bond = order.bond if isinstance(order, BondedOffer) else 0
    change(draft, draft.author, Offer(order.slots, busy, order.price, order.until, order.engine, since, bond))


def _check_until(draft: Draft, until: int) -> None:
    if until <= draft.time:
        raise Refused("offer_expired", f"the offer ends at {until} and ledger time is {draft.time} already")
    longest = draft.params.offer_max_ms
    if until > draft.time + longest:
        raise Refused(
            "offer_too_long",
            f"the offer would stand for {until - draft.time} ms; {longest} ms is the longest, then renew it",
        )


def withdraw(draft: Draft, account: bytes) -> None:
    """The offer's time is over; what it is busy with goes on."""
    change(draft, account, replace(draft.row(OFFER, account), slots=0))


def occupy(draft: Draft, account: bytes) -> Offer:
    """One more slot is busy."""
    before = draft.row(OFFER, account)
    assert before.busy < before.slots, f"{account.hex()} was leased more than it offers"
    after = replace(before, busy=before.busy + 1)
    change(draft, account, after)
    return after


def vacate(draft: Draft, account: bytes) -> None:
    """One slot less is busy."""
    before = draft.row(OFFER, account)
    assert before.busy > 0, f"{account.hex()} has no busy slot to vacate"
    change(draft, account, replace(before, busy=before.busy - 1))


def change(draft: Draft, account: bytes, after: Offer) -> None:
    """Write an offer, with its places in the indexes and in the agenda."""
    before = draft.get(OFFER, account)
    _index(draft, account, before, after)
    if after.slots or after.busy:
        draft.put(OFFER, account, after)
    else:
        draft.drop(OFFER, account)
    draft.stands(
        "offer",
        account,
        as_effect(account, after),
    )


def as_effect(account: bytes, offer: Offer) -> OfferStands:
    return OfferStands(account, offer.slots, offer.busy, offer.price, offer.until, offer.engine, offer.bond)


def _index(draft: Draft, account: bytes, before: Offer | None, after: Offer) -> None:
    stood = before is not None and before.slots > 0
    stands = after.slots > 0
    if before is None or stood != stands or before.until != after.until:
        if before is not None and stood:
            agenda.strike(draft, before.until, agenda.OFFER, account)
        if stands:
            agenda.write(draft, after.until, agenda.OFFER, account)
    if stood != stands:
        supply = draft.supply
        draft.put(SUPPLY, ONLY, replace(supply, offers=supply.offers + (1 if stands else -1)))
    if before is not None and before.busy < before.slots:
        draft.drop(IDLE, idle_key(before, account))
    if after.busy < after.slots:
        draft.put(IDLE, idle_key(after, account), b"")
        pulse.stir(draft)
