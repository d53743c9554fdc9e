"""Offers: who runs shards, how many at once, for how much, and until when.

    stands     slots > 0 and ledger time < until: in the agenda; in `idle` while busy < slots
    is busy    computes shards; a slot is free again when the run commits, ends or is given back
    is kept    while it stands or is busy, so that nobody sheds what they are busy with by a new offer

An offer is a machine's: its key is the device that signed it, and it acts for one account. Several machines
of an account lend at once, each what it has; pay, bonds and reputation are the account's.

What must always hold: `busy` is the number of the device's runs that are leased and have not committed.
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
    """Replace the device's standing offer, or withdraw it when `order.slots` is 0. Leases go on.

    Refused without effect: `offer_expired`, `offer_too_long`, `market_full`.
    """
    bond = order.bond if isinstance(order, BondedOffer) else 0
    before = draft.get(OFFER, draft.device)
    busy, since = 0, draft.context.height
    if before is not None:
        wider = order.price < before.price or bond > before.bond or order.engine != before.engine
        is_same = before.slots and before.account == draft.author and not wider
        busy, since = before.busy, before.since if is_same else since
    if order.slots:
        _check_until(draft, order.until)
        if (before is None or not before.slots) and draft.supply.offers >= OFFERS_MAX:
            raise Refused("market_full", f"{OFFERS_MAX} offers stand, and that is as many as there may be")
    after = Offer(draft.author, order.slots, busy, order.price, order.until, order.engine, since, bond)
    change(draft, draft.device, after)


def _check_until(draft: Draft, until: int) -> None:
    if until <= draft.time:
        raise Refused("offer_expired", f"the offer ends at {until} and ledger time is {draft.time} already")
    longest = draft.params.offer_max_ms
    if until > draft.time + longest:
        raise Refused(
            "offer_too_long",
            f"the offer would stand for {until - draft.time} ms; {longest} ms is the longest, then renew it",
        )


def withdraw(draft: Draft, device: bytes) -> None:
    """The offer's time is over; what it is busy with goes on."""
    change(draft, device, replace(draft.row(OFFER, device), slots=0))


def withdraw_dropped(draft: Draft, device: bytes, account: bytes) -> None:
    """The device acts for the account no more: what it would be leased could only be lost."""
    before = draft.get(OFFER, device)
    if before is not None and before.account == account and before.slots:
        withdraw(draft, device)


def occupy(draft: Draft, device: bytes) -> Offer:
    """One more slot is busy."""
    before = draft.row(OFFER, device)
    assert before.busy < before.slots, f"{device.hex()} was leased more than it offers"
    after = replace(before, busy=before.busy + 1)
    change(draft, device, after)
    return after


def vacate(draft: Draft, device: bytes) -> None:
    """One slot less is busy."""
    before = draft.row(OFFER, device)
    assert before.busy > 0, f"{device.hex()} has no busy slot to vacate"
    change(draft, device, replace(before, busy=before.busy - 1))


def change(draft: Draft, device: bytes, after: Offer) -> None:
    """Write an offer, with its places in the indexes and in the agenda."""
    before = draft.get(OFFER, device)
    _index(draft, device, before, after)
    if after.slots or after.busy:
        draft.put(OFFER, device, after)
    else:
        draft.drop(OFFER, device)
    draft.stands("offer", device, as_effect(device, after))


def as_effect(device: bytes, offer: Offer) -> OfferStands:
    return OfferStands(
        offer.account,
        device,
        offer.slots,
        offer.busy,
        offer.price,
        offer.until,
        offer.engine,
        offer.bond,
    )


def _index(draft: Draft, device: bytes, before: Offer | None, after: Offer) -> None:
    stood = before is not None and before.slots > 0
    stands = after.slots > 0
    if before is None or stood != stands or before.until != after.until:
        if before is not None and stood:
            agenda.strike(draft, before.until, agenda.OFFER, device)
        if stands:
            agenda.write(draft, after.until, agenda.OFFER, device)
    if stood != stands:
        supply = draft.supply
        draft.put(SUPPLY, ONLY, replace(supply, offers=supply.offers + (1 if stands else -1)))
    if before is not None and before.busy < before.slots:
        draft.drop(IDLE, idle_key(before, device))
    if after.busy < after.slots:
        draft.put(IDLE, idle_key(after, device), b"")
        pulse.stir(draft)
