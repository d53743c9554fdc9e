"""What a running node can be asked about harvesting, beside what is in `fog.methods`, and in the same forms.

method          parameters       reply
harvest.show    Nothing          HarvestState
harvest.log     HarvestLog       HarvestEntries
harvest.pause   HarvestPause     HarvestState
harvest.resume  Nothing          HarvestState
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from domain.harvest.history import ENTRIES_MAX
from fog.methods import Message, Nothing
from ledger.types import Millis, Positive

Action = Literal["run", "suspend", "evict"]


class HarvestLog(Message, frozen=True, kw_only=True):
    """The newest `limit` changes."""

    limit: Annotated[int, Meta(ge=1, le=ENTRIES_MAX)] = 50


class HarvestPause(Message, frozen=True, kw_only=True):
    """null: until `harvest.resume`."""

    for_ms: Positive | None = None


class HarvestState(Message, frozen=True, kw_only=True):
    """What harvesting does now, and why.

    action    run, suspend (stopped, memory kept) or evict (ended, given back)
    code      why, a word of `domain.harvest.reasons`;  sentence  the same for people
    remedy    what its owner can do; empty: wait
    also      codes of what else stands in the way
    until     unix ms at which the answer may change by itself; null: nothing tells
    paused    unix ms until which its owner paused it; 0: not paused
    profile   of which class of machine its limits are; empty: the machine is not watched
    readings  what is known of the machine, by the name of the field;  unknown  what is not
    failures  why not, by the name of who was asked
    """

    action: Action
    code: str
    sentence: str
    remedy: str
    also: list[str]
    at: Millis
    until: Millis | None
    paused: Millis
    profile: str
    readings: dict[str, int | bool]
    unknown: list[str]
    failures: dict[str, str]


class HarvestEntry(Message, frozen=True, kw_only=True):
    """From `at` (unix ms) on."""

    at: Millis
    action: Action
    code: str
    sentence: str


class HarvestEntries(Message, frozen=True, kw_only=True):
    """The newest last."""

    entries: list[HarvestEntry]


PARAMS: Final[dict[str, type[Message]]] = {
    "harvest.show": Nothing,
    "harvest.log": HarvestLog,
    "harvest.pause": HarvestPause,
    "harvest.resume": Nothing,
}
