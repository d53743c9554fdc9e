"""`FogRules`: the rules as the ledger asks for them, version 7.

An event becomes a payload, the payload's rule runs on a draft, and the draft becomes the new state; a refusal
throws the draft away. Pure: no clock, no randomness, no float, nothing kept between calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from domain import effects
from domain.effects import Refusal
from domain.payloads import (
    KINDS,
    BondedJob,
    BondedOffer,
    EscrowClose,
    EscrowOpen,
    EscrowRedeem,
    EvidenceFork,
    EvidenceVotes,
    EvidenceWarrant,
    IdentityCancel,
    IdentityDelegate,
    IdentityGuard,
    IdentityRecover,
    IdentityRevoke,
    JobAppeal,
    JobCancel,
    JobSubmit,
    LeaseCommit,
    LeaseRelease,
    LeaseReveal,
    Offer,
    Payload,
    SealedCommit,
    StakeBond,
    StakeUnbond,
    StakeUnjail,
    Transfer,
)
from domain.rules import (
    accounts,
    appeals,
    close,
    epochs,
    escrows,
    evidence,
    identity,
    jobs,
    leases,
    offers,
    params,
    stake,
)
from domain.rules.bonds import BOND, Bond
from domain.rules.codes import Refused
from domain.rules.draft import Draft
from domain.rules.records import ACCOUNT, ONLY, PARAMS, SUPPLY, Account, Supply
from ledger import canonical
from ledger.errors import RemoteError, UsageError
from ledger.event import Event
from ledger.execution import OK, Context, Receipt
from ledger.genesis import Genesis
from ledger.state import State
from ledger.types import INT63_MAX

VERSION: Final = 7

_NO_CONTROLS: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]*")
"""Receipts are shown on terminals. (Not `isprintable`: what that says changes with the version of Python.)"""

RULES: Final[dict[type[Payload], Callable[[Draft, Any], None]]] = {
    Transfer: accounts.transfer,
    Offer: offers.offer,
    BondedOffer: offers.offer,
    JobSubmit: jobs.submit,
    BondedJob: jobs.submit,
    JobCancel: jobs.cancel,
    JobAppeal: appeals.appeal,
    LeaseCommit: leases.commit,
    SealedCommit: leases.commit,
    LeaseReveal: leases.reveal,
    LeaseRelease: leases.release,
    EscrowOpen: escrows.open,
    EscrowRedeem: escrows.redeem,
    EscrowClose: escrows.close,
    IdentityDelegate: identity.delegate,
    IdentityRevoke: identity.revoke,
    IdentityGuard: identity.guard,
    IdentityRecover: identity.recover,
    IdentityCancel: identity.cancel,
    StakeBond: stake.bond,
    StakeUnbond: stake.unbond,
    StakeUnjail: stake.unjail,
    EvidenceVotes: evidence.votes,
    EvidenceFork: evidence.fork,
    EvidenceWarrant: evidence.warrant,
}
assert RULES.keys() == set(KINDS.values()), "every kind has a rule, and every rule a kind"


class FogRules:
    """Implements `ledger.execution.Rules`."""

    def genesis(self, genesis: Genesis) -> State:
        """The first balances, the validators' stakes as their bonds, and the network's parameters.

        Raises UsageError (`unknown_rules`, `bad_params`, `too_many_credits`) for a network that these rules
        cannot execute.
        """
        if genesis.rules != VERSION:
            raise UsageError(
                f"the network {genesis.name!r} has rules of version {genesis.rules}, this program {VERSION}",
                code="unknown_rules",
                next_step="use a version of fog that knows them",
            )
        free = sum(allocation.amount for allocation in genesis.accounts)
        minted = free + genesis.stake
        if minted > INT63_MAX:
            raise UsageError(
                f"credits and stakes of {genesis.name!r} add up to {minted} micro-credits",
                code="too_many_credits",
                next_step=f"at most {INT63_MAX} in all",
            )
        state = State()
        state = state.put(PARAMS.name, ONLY, PARAMS.encode(params.of(genesis)))
        supply = Supply(minted, free, 0, bonded=genesis.stake, bonds=len(genesis.validators))
        state = state.put(SUPPLY.name, ONLY, SUPPLY.encode(supply))
        for validator in genesis.validators:
            state = state.put(BOND.name, validator.key, BOND.encode(Bond(validator.stake)))
        state = epochs.begin(state, genesis)
        for allocation in genesis.accounts:
            row = ACCOUNT.encode(Account(free=allocation.amount))
            state = state.put(ACCOUNT.name, allocation.account, row)
        return state

    def execute(self, state: State, event: Event, context: Context) -> tuple[State, Receipt]:
        """One event: `ok` with its effects, or a code with a `Refusal` and the state as it was, but for what
        was spent on checking it (`domain.rules.checks`)."""
        draft = Draft(state, context, author=event.account, device=event.header.by, id=event.id)
        try:
            identity.require_may_act(draft)
            payload = payload_of(event)
            RULES[type(payload)](draft, payload)
        except Refused as refused:
            refusal = effects.encode(Refusal(refused.code, refused.message))
            return draft.refused(), Receipt(event.id, refused.code, (refusal,))
        after, told = draft.finish()
        return after, Receipt(event.id, OK, told)

    def close(self, state: State, context: Context) -> tuple[State, Receipt]:
        """The end of a checkpoint; see `domain.rules.close`."""
        after, told = close.close(state, context)
        return after, Receipt(None, OK, told)

    def due(self, state: State) -> int | None:
        """The earliest ledger time (unix ms) at which `close` would do something with no new event."""
        return close.due(state)

    def __repr__(self) -> str:
        return f"<FogRules version={VERSION}>"


def payload_of(event: Event) -> Payload:
    """Decode an event's body. Refused: `unknown_kind`, `bad_payload`."""
    header = event.header
    kind = KINDS.get((header.k, header.kv))
    if kind is None:
        name = f"kind “{header.k}”" if _NO_CONTROLS.fullmatch(header.k) else "this kind"
        raise Refused("unknown_kind", f"no rule for events of {name}, version {header.kv}")
    assert event.body is not None, f"{event} has no body to execute"
    try:
        # The whole body was judged canonical when the event was parsed; the schema judges the rest.
        return canonical.shape(kind, canonical.decode_judged(event.body))
    except RemoteError as error:
        # Not the error's own words: they are a library's, and change with its version; receipts must not.
        raise Refused("bad_payload", f"the body is not a valid {header.k}, version {header.kv}") from error
