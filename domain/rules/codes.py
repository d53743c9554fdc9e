"""Refusal codes: the public words for why an event had no effect, and the one place that explains them.

A rule that refuses raises `Refused`; `FogRules.execute` turns it into a receipt with that code and a
`Refusal` effect whose message names the amounts, moments or accounts in question. Nothing else raises on
account of an event: what an event can cause is a receipt, never an exception.
"""

from __future__ import annotations

from typing import Final

MESSAGE_MAX: Final = 255
"""Characters of a refusal's message, as `domain.effects.Refusal` allows."""

CODES: Final = {
    # By the ledger, before the rules are asked (`ledger.cut`).
    "fork_void": "The event is a rival at a place of its lane that is taken; the lane is closed.",
    "expired": "The event was ordered after the last checkpoint height that its author allowed.",
    "not_delegated": "The signing device may not act for the account that the event names.",
    # By the rules, for any event.
    "unknown_kind": "No rule exists for this kind and version of event.",
    "bad_payload": "The event's body is not a valid payload of its kind.",
    # Money.
    "to_self": "A transfer or an escrow goes to the account that it comes from.",
    "insufficient_funds": "The account's free credits are less than the transfer, escrow or job needs.",
    # Offers.
    "offer_expired": "The offer ends at or before the present ledger time.",
    "offer_too_long": "The offer would stand for longer than the network's `offer_max_ms`.",
    "market_full": "As many offers stand as the network keeps; one of them must end first.",
    # Jobs.
    "lease_too_short": "The job's lease is shorter than the network's `lease_min_ms`.",
    "deadline_too_soon": "The job's deadline leaves no time for even one lease.",
    "deadline_too_far": "The job's deadline lies further ahead than the network's `deadline_max_ms`.",
    "jobs_full": "As many jobs are running as the network keeps; one of them must end first.",
    "unknown_job": "No job of that id is running: it never was, or it has ended.",
    "job_not_running": "The job was cancelled or has passed its deadline already.",
    "no_verdict": "The shard settled without bonds or not at all, or the time to appeal is over.",
    "already_appealed": "An appeal against this result is running; there is one at a time.",
    "appeal_stands": "An appeal cannot be taken back.",
    # Leases.
    "no_such_shard": "The job has fewer shards than that.",
    "not_leased": "The shard was never leased to that attempt.",
    "shard_ended": "The shard was settled, failed or given up; its receipts tell which.",
    "not_yours": "The job, the run or the escrow is for another account to act on.",
    "lease_expired": "The run's time was over before this event was ordered.",
    "already_committed": "The run has committed to its result; a commitment is never replaced or released.",
    "already_revealed": "The run has revealed its result.",
    "not_committed": "A result can only be revealed after it was committed to.",
    "run_ended": "The run is over: paid, unpaid, expired or released.",
    "too_early": "A run that must be independent of this one has not committed yet.",
    "wrong_opening": "Result, fuel and salt do not hash to the run's commitment.",
    "fuel_over_limit": "The run claims more fuel than the job allows for one shard.",
    # Devices and guardians of an account.
    "unknown_account": "The account never held a credit, so there is nothing to act for.",
    "own_key": "The device is the account's own key.",
    "already_delegated": "The device may act for the account already.",
    "device_closed": "A lane of the device is closed by a fork, and it will not be trusted again.",
    "devices_full": "As many devices act for the account, or are still answered for, as may.",
    "unknown_device": "The device does not act for the account.",
    "last_device": "Nothing could act for the account any more.",
    "bad_guardians": "Guardians are sorted, all different, and others; the threshold is 1 to their number.",
    "not_guardian": "The author is not a guardian of the account.",
    "recovery_waiting": "Guardians agreed already, and what they agreed on is about to take effect.",
    "no_recovery": "No guardian has asked to recover the account.",
    # Escrows and vouchers.
    "expiry_too_soon": "The escrow expires at or before the present height or ledger time.",
    "expiry_too_far": "The escrow expires further ahead than any escrow may.",
    "escrows_full": "As many escrows are open as the account, or the network, may have.",
    "unknown_escrow": "No escrow of that id is open: it never was, or it has ended.",
    "over_escrow": "The voucher's total is more than the escrow was opened with.",
    "nothing_new": "The voucher's total is no more than what was redeemed already.",
    "escrow_rests": "A false voucher was brought for it: for a while it takes no other and is not closed.",
    "bad_voucher": "The voucher is not signed by the key that opened the escrow.",
    # Stake.
    "bond_too_small": "A bond is nothing or at least the network's `bond_min`.",
    "bonds_full": "As many accounts hold bonds as the network keeps; one of them must be released first.",
    "insufficient_bond": "The account's bond is smaller than what it would take out of it.",
    "unbonding_full": "The account has as many bonds on their way out as it may; one must be released first.",
    "not_jailed": "The account is not in jail.",
    "jail_term": "The account's time in jail is not over.",
    # Evidence.
    "checks_spent": "As many checks as there may be were made in this checkpoint; it can be said again.",
    "bad_evidence": "The evidence does not prove what it claims, or is of an epoch that has not begun.",
    "already_punished": "The offence was punished before.",
    "nothing_at_stake": "Whoever is proven at fault has no bond, and nothing else to lose by it.",
}
"""code -> what it means, in a sentence."""

REASONS: Final = {
    "out_of_time": "The run was not committed or revealed before its time was over.",
    "wrong_result": "Two other runs of the shard agreed on another result or another fuel.",
    "overturned": "The result was appealed, and those who ran the shard again agreed on another.",
    "hidden_result": "The run had committed to a result and did not reveal it when it was to be compared.",
    "no_majority": "Three runs of the shard gave three results; nobody can be told right from wrong.",
    "attempts_exhausted": "The shard used up its attempts before enough runs could be compared.",
    "no_checker": "The run had committed, and for long nobody stood who could check it; nobody is to blame.",
    "job_ended": "The job was cancelled or passed its deadline before the run had committed.",
}
"""Why a run ended unpaid or expired, as `RunIs` effects say it; a released run has its worker's own word."""


class Refused(Exception):
    """An event has no effect. Never leaves `domain.rules`."""

    def __init__(self, code: str, message: str) -> None:
        assert code in CODES, f"{code} is not a documented refusal"
        super().__init__(message)
        self.code = code
        self.message = message if len(message) <= MESSAGE_MAX else message[: MESSAGE_MAX - 1] + "…"


def in_credits(micro: int) -> str:
    """Micro-credits as people write them: 12400000 -> "12.4"."""
    whole, part = divmod(micro, 1_000_000)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")
