"""All liars, and which of them is which of the adversaries and faults that the design names.

    liars            with events, with sync, with silence
    liars_voting     with votes
    liars_leading    with what they propose
    liars_crowd      under many keys
    liars_leaving    with what once was true

What must always hold: every adversary and every fault that the design names (`ADVERSARIES`, `FAULTS_NAMED`)
has somebody here who does it, and every liar and fault is one of them.
"""

from __future__ import annotations

from typing import Final

from fog.sim.habits import Habit
from fog.sim.liars import EVENT_LIARS
from fog.sim.liars_crowd import CROWD_LIARS
from fog.sim.liars_leading import LEADING_LIARS
from fog.sim.liars_leaving import LEAVING_LIARS
from fog.sim.liars_voting import VOTING_LIARS

LIARS: Final[dict[str, type[Habit]]] = {
    **VOTING_LIARS,
    **EVENT_LIARS,
    **LEADING_LIARS,
    **CROWD_LIARS,
    **LEAVING_LIARS,
}

ADVERSARIES: Final[dict[str, tuple[str, ...]]] = {
    "double spender towards two halves": ("doublespender", "dropper"),
    "forked lane at depth": ("deepforker",),
    "poisoned parents": ("poisoner",),
    "jumps in lc, ts, seq": ("jumper",),
    "replay from another network": ("foreigner",),
    "non-canonical bytes": ("scribbler",),
    "signature variants of one header": ("respeller",),
    "withheld bodies and parents": ("withholder",),
    "fetch amplification": ("amplifier",),
    "pending flood": ("flooder", "ratedodger"),
    "leader equivocation": ("badproposer", "twins"),
    "vote equivocation": ("equivocator", "twins", "forger", "voteflooder"),
    "silent < 1/3": ("silent", "skipper"),
    "selective delivery": ("selective",),
    "keys after unbonding": ("revenant", "finder"),
    "stale snapshots": ("stalecopy", "stalesnapshot", "impostor"),
    "eclipse": ("eclipser",),
    "censorship": ("censor", "omitter"),
    "sponsor trees": ("sponsortree",),
    "fee and rate dodging": ("ratedodger", "slanderer"),  # there is no fee: false evidence costs nothing
    "clock skew of an hour": ("wrongclock",),
}
"""As design 01 names them -> names of liars."""

FAULTS_NAMED: Final[dict[str, tuple[str, ...]]] = {
    "drop, duplicate, reorder, delay": ("bad_weather", "slow"),
    "asymmetric partition": ("partition", "one_way", "alone"),
    "clock skew of an hour": ("skew",),
    "crash before and after fsync": ("crash", "crash_twice", "crash_before_commit", "crash_after_commit"),
    "torn write": ("torn_write",),
    "bit flip": ("bit_flip",),
    "restored backup": ("restored_backup",),
    "loss of the disk": ("disk_loss", "fresh_start"),
}
"""As design 01 names them -> names of faults (`fog.sim.faults`)."""
