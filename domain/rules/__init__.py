"""The rules: what every event means, as pure functions of (state, event, context).

    execute       FogRules: decodes a payload, runs its rule, writes the receipt
    accounts      money: transfers, escrow                 conservation  all of it, counted from scratch
    offers        who runs shards for how much             reputation    what an account's runs came to
    stake         bonded, released, out of jail            bonds         what an account has at stake
    checks        how much that others bring is looked at
    evidence      faults that are proven, and their price  epochs        who may vote in which
    jobs          submitted, cancelled, expired            terms         what a job's terms cost
    leases        commit, reveal, release                  runs          one run, as a state machine
    shards        what a shard needs next                  settlement    how it ends and who is paid
    checking      how often a run is run again             pledges       what it stands to lose
    waiting       for a checker, and for how long
    appeals       a result that was taken, and doubted
    identity      devices, guardians, recovery             former        devices that were dropped
    acting        who acts for an account
    escrows       set aside for one payee's vouchers       calendar      what ends at which height
    placement     which offer gets which lease             close         the end of a checkpoint
    seats         the first offer that fits, at once
    tallies agenda pulse packed                            the indexes that keep a close short
    records draft                                          the state's rows, and how rules change them
    codes params                                           refusals and parameters, each explained once

No clock, no randomness, no float, no input or output; and no order of a dict or a set reaches a byte.
"""

from domain.rules.codes import CODES
from domain.rules.conservation import Conservation, conservation
from domain.rules.execute import FogRules
from domain.rules.settlement import Lease, commitment, sealed
from domain.rules.terms import escrow, payment

__all__ = [
    "CODES",
    "Conservation",
    "FogRules",
    "Lease",
    "commitment",
    "conservation",
    "escrow",
    "payment",
    "sealed",
]
