"""Runs: one lease of one shard, as a state machine, and what the runs of a shard say about the shard.

    LEASED     computing; ends at `until` if nothing is heard
    COMMITTED  the result is fixed but secret; a clock runs only once it may be revealed
    REVEALED   the result is public and waits for those it is compared with
    PAID       agreed (or was not checked)       UNPAID    was wrong, or its shard ended otherwise
    EXPIRED    was too late                      RELEASED  was given back

`TRANSITIONS` has every change there is; `REFUSALS` what an event is told that asks for another.

What must always hold: a slot of the worker's offer is busy exactly while LEASED; a run is in the agenda
exactly while it is live and its `until` is not 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from msgspec.structs import replace

from domain import effects
from domain.effects import RunIs, ShardIs
from domain.rules import agenda, offers, pledges
from domain.rules.draft import Draft
from domain.rules.records import SHARD, Checks, Fate, Job, Role, Run, RunState, Shard, shard_key
from domain.rules.terms import REVEAL_MIN_CHECKPOINTS, RUNS_CHECKED, last_moment, window_of
from ledger.cid import Cid


class Act(Enum):
    COMMIT = auto()
    REVEAL = auto()
    RELEASE = auto()
    LAPSE = auto()
    PAY = auto()
    DROP = auto()


TRANSITIONS: Final = {
    (RunState.LEASED, Act.COMMIT): RunState.COMMITTED,
    (RunState.LEASED, Act.RELEASE): RunState.RELEASED,
    (RunState.LEASED, Act.LAPSE): RunState.EXPIRED,
    (RunState.LEASED, Act.DROP): RunState.UNPAID,
    (RunState.COMMITTED, Act.REVEAL): RunState.REVEALED,
    (RunState.COMMITTED, Act.LAPSE): RunState.EXPIRED,
    (RunState.COMMITTED, Act.DROP): RunState.UNPAID,
    (RunState.REVEALED, Act.PAY): RunState.PAID,
    (RunState.REVEALED, Act.DROP): RunState.UNPAID,
}

REFUSALS: Final = {
    (RunState.LEASED, Act.REVEAL): "not_committed",
    (RunState.COMMITTED, Act.COMMIT): "already_committed",
    (RunState.COMMITTED, Act.RELEASE): "already_committed",
    (RunState.REVEALED, Act.COMMIT): "already_committed",
    (RunState.REVEALED, Act.RELEASE): "already_committed",
    (RunState.REVEALED, Act.REVEAL): "already_revealed",
}
"""Whatever is in neither table is asked of a run that is over: `run_ended`."""

WORDS: Final[dict[int, effects.RunState]] = {
    RunState.LEASED: "leased",
    RunState.COMMITTED: "committed",
    RunState.REVEALED: "revealed",
    RunState.PAID: "paid",
    RunState.UNPAID: "unpaid",
    RunState.EXPIRED: "expired",
    RunState.RELEASED: "released",
}
STAGES_TRUSTED: Final[tuple[int, ...]] = (1,)
STAGES: Final[tuple[int, ...]] = (2, RUNS_CHECKED)
STAGES_BONDED: Final = (2, 4, 5, 6, 7)
"""How many runs of a shard are compared at once, and how many when those do not decide: three of seven agree
unless most of those who were drawn lie."""

STAGES_HIDDEN: Final = (3, 4, 5, 6, 7)
"""The same where a run was hidden. Not 2 and then 4: of three who committed together the first may contradict
what is public, and the others' time to reveal goes on; so it must not take a fourth before they have."""

Outcome = tuple[Cid | None, int]

ROLES: Final[dict[int, effects.RunRole]] = {Role.WORK: "work", Role.CHECK: "check"}


@dataclass(frozen=True, slots=True)
class Spot:
    """One shard of one job."""

    id: Cid
    job: Job
    shard: int

    @property
    def key(self) -> bytes:
        return shard_key(self.id, self.shard)


def begin(draft: Draft, spot: Spot, device: bytes, role: int) -> None:
    """Lease the shard to `device`, from now for the job's lease."""
    offer = offers.occupy(draft, device)
    before = draft.get(SHARD, spot.key) or Shard()
    until = draft.time + spot.job.lease
    bond, late = (
        spot.job.bond,
        spot.job.appeals is not None or any(run.result is not None for run in before.runs),
    )
    run = Run(
        offer.account,
        device,
        role,
        RunState.LEASED,
        draft.time,
        until,
        offer.price,
        bond=bond,
        late=int(late),
    )
    pledges.pledge(draft, offer.account, bond)
    attempt = len(before.runs)
    agenda.write_run(draft, until, spot.id, spot.shard, attempt)
    _write(draft, spot, before, replace(before, runs=(*before.runs, run)))
    _tell(draft, spot, attempt, run)


def turn(
    draft: Draft,
    spot: Spot,
    attempt: int,
    act: Act,
    *,
    paid: int = 0,
    reason: str = "",
    is_kept: bool = False,
    **fields: Any,
) -> None:
    """Move one run on by `TRANSITIONS`, with its slot and its place in the agenda.

    When it is over its bond returns, unless it `is_kept` pledged: then the caller answers for it.
    """
    shard = draft.row(SHARD, spot.key)
    run = shard.runs[attempt]
    if run.state == RunState.LEASED:
        offers.vacate(draft, run.device)
    if run.until:
        agenda.strike_run(draft, run.until, spot.id, spot.shard, attempt)
    after = replace(run, state=TRANSITIONS[run.state, act], until=0, **fields)
    if not after.is_live and not is_kept:
        pledges.release(draft, run.worker, run.bond)
    _write(draft, spot, shard, shard.with_run(attempt, after))
    _tell(draft, spot, attempt, after, paid=paid, reason=reason)


def start_clock(draft: Draft, spot: Spot) -> None:
    """Runs that may be revealed have their window for it from now on.

    Where the job ends before that, no clock runs: its end drops them without blame, and nobody is made to
    hide a result by a window of milliseconds.
    """
    until = draft.time + window_of(spot.job)
    if until > last_moment(spot.job):
        return
    for attempt, run in enumerate(draft.row(SHARD, spot.key).runs):
        if run.state == RunState.COMMITTED and not run.until:
            _set_clock(draft, spot, attempt, replace(run, until=until, opened=draft.context.height))


def is_short(run: Run, height: int) -> bool:
    """Whether the time to reveal was over by the clock, and too few checkpoints had come to reveal in."""
    is_opened = run.state == RunState.COMMITTED and bool(run.bond)
    return is_opened and height < run.opened + REVEAL_MIN_CHECKPOINTS


def set_clock_anew(draft: Draft, spot: Spot, attempt: int) -> None:
    """The clock jumped: the window begins again, or lasts to the end of the job."""
    run = draft.row(SHARD, spot.key).runs[attempt]
    agenda.strike_run(draft, run.until, spot.id, spot.shard, attempt)
    until = draft.time + window_of(spot.job)
    _set_clock(draft, spot, attempt, replace(run, until=until if until <= last_moment(spot.job) else 0))


def _set_clock(draft: Draft, spot: Spot, attempt: int, run: Run) -> None:
    if run.until:
        agenda.write_run(draft, run.until, spot.id, spot.shard, attempt)
    draft.put(SHARD, spot.key, draft.row(SHARD, spot.key).with_run(attempt, run))
    _tell(draft, spot, attempt, run)


def is_disputed(shard: Shard) -> bool:
    """Whether two results of the shard were revealed that differ."""
    return len({run.outcome for run in shard.runs if run.state == RunState.REVEALED}) > 1


def runs_needed(shard: Shard, job: Job) -> int:
    """How many runs must be live before they may be revealed and judged."""
    revealed = [run.outcome for run in shard.runs if run.state == RunState.REVEALED]
    hidden = any(run.hidden for run in shard.runs)
    return runs_for(revealed, trusted=is_trusted(shard, job), bonded=bool(job.bond), hidden=hidden)


def runs_for(revealed: Sequence[Outcome], *, trusted: bool, bonded: bool, hidden: bool) -> int:
    """The same, from the results that are revealed so far. `hidden`: a run of the shard was.

    One is trusted; or two are compared. If they differ, those who are drawn must not see what each other say:
    they commit before any of them reveals. Whoever takes the place of one that was hidden may see what the
    other one says, and copy it: so with a bond it takes three then, as in a dispute.
    """
    stages = STAGES_TRUSTED if trusted else STAGES
    if bonded and not trusted:
        stages = STAGES_HIDDEN if hidden else STAGES_BONDED
    for needed in stages:
        if len(revealed) < needed or is_settled(revealed, bonded=bonded):
            return needed
    return stages[-1]


def is_settled(revealed: Sequence[Outcome], *, bonded: bool) -> bool:
    """Whether enough results are equal: all of them, or as many as decide a dispute."""
    most = max(map(revealed.count, revealed))
    return most == len(revealed) or most >= votes_to_win(bonded=bonded)


def votes_to_win(*, bonded: bool) -> int:
    """How many results must be equal to settle a dispute.

    Whoever is drawn into one can see both results, and copy either. So where a bond is at stake the word of
    one is not enough: two who were drawn, and who committed before either revealed, must say the same.
    """
    return 3 if bonded else 2


def is_trusted(shard: Shard, job: Job) -> bool:
    """Whether one run is enough: the submitter says so, or the draw did."""
    return job.checks == Checks.NEVER or shard.fate == Fate.TRUSTED


def draw_fate(draft: Draft, spot: Spot, fate: int) -> None:
    before = draft.row(SHARD, spot.key)
    _write(draft, spot, before, replace(before, fate=fate))


def may_reveal(shard: Shard, job: Job) -> bool:
    """Every run that must be independent has committed."""
    live = shard.live
    return len(live) >= runs_needed(shard, job) and all(run.state != RunState.LEASED for run in live)


def has_committed(shard: Shard) -> bool:
    return any(run.state in (RunState.COMMITTED, RunState.REVEALED) for run in shard.runs)


def word_of(shard: Shard, job: Job) -> effects.ShardState | None:
    """The public word for a shard that has not ended; None before its first lease."""
    if not shard.runs:
        return None
    if not shard.live:
        return "open"
    if is_disputed(shard):
        return "disputed"
    if job.checks == Checks.NEVER or not has_committed(shard):
        return "leased"
    return "trusted" if shard.fate == Fate.TRUSTED else "checking"


def _write(draft: Draft, spot: Spot, before: Shard, after: Shard) -> None:
    draft.put(SHARD, spot.key, after)
    word = word_of(after, spot.job)
    if word is not None and word != word_of(before, spot.job):
        draft.stands("shard", spot.key, ShardIs(spot.id, spot.shard, word))


def _tell(draft: Draft, spot: Spot, attempt: int, run: Run, *, paid: int = 0, reason: str = "") -> None:
    draft.tell(as_effect(spot, attempt, run, paid=paid, reason=reason))


def as_effect(spot: Spot, attempt: int, run: Run, *, paid: int = 0, reason: str = "") -> RunIs:
    """A run that waits for others is owed until the job's last moment; one that is over no more."""
    until = run.until or (last_moment(spot.job) if run.is_live else 0)
    return RunIs(
        spot.id,
        spot.shard,
        attempt,
        run.worker,
        run.device,
        ROLES[run.role],
        WORDS[run.state],
        run.leased,
        until,
        run.result,
        run.fuel,
        paid,
        reason,
        run.bond if run.is_live else 0,
    )
