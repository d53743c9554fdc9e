"""What must hold of every state of the rules, and of every history of effects, counted from scratch."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

from domain.effects import Contribution, JobIs, RunIs, ShardIs
from domain.payloads import ATTEMPTS_MAX, GUARDIANS_MAX
from domain.rules import agenda, calendar, conservation, packed, terms
from domain.rules.appeals import VERDICT
from domain.rules.bonds import BOND, BONDS_MAX, LEAVING_MAX, Bond
from domain.rules.checks import SPENT
from domain.rules.epochs import budget
from domain.rules.escrows import ENDS_PER_CLOSE_MAX
from domain.rules.former import FORMER, ROW_MAX
from domain.rules.identity import DELEGATION, DEVICES_MAX, IDENTITY, RECOVERY, Recovery
from domain.rules.params import Params
from domain.rules.records import (
    ACCOUNT,
    AGENDA,
    CALENDAR,
    COIN,
    DRAW,
    DUE,
    ESCROW,
    ESCROWS,
    IDLE,
    JOB,
    OFFER,
    ONLY,
    PARAMS,
    QUEUE,
    RESTS,
    SHARD,
    SUPPLY,
    TALLY,
    WINDOW,
    Checks,
    Escrow,
    Fate,
    Job,
    JobState,
    Offer,
    RunState,
    Shard,
    Table,
    Tally,
    draw_key,
    idle_key,
    queue_key,
    queue_row,
)
from domain.rules.runs import STAGES_BONDED, has_committed, is_disputed, may_reveal, runs_needed, votes_to_win
from domain.rules.tallies import has_open
from ledger.cid import Cid
from ledger.genesis import VALIDATORS_MAX
from ledger.state import State
from ledger.validators import TABLE, parse_set

R = TypeVar("R")

ENDED = ("settled", "failed", "cancelled", "expired")


@dataclass
class History:
    """Everything that effects told of runs and shards."""

    runs: dict[tuple[Cid, int, int], RunIs] = field(default_factory=dict)
    shards: dict[tuple[Cid, int], ShardIs] = field(default_factory=dict)
    paid: dict[tuple[Cid, int, int], Contribution] = field(default_factory=dict)
    trusted: set[tuple[Cid, int]] = field(default_factory=set)
    touched: set[Cid] = field(default_factory=set)

    def add(self, effect: RunIs | ShardIs | Contribution) -> None:
        """Fold one effect; AssertionError for a shard that ends twice or a run that is paid twice."""
        self.touched.add(effect.job)
        if isinstance(effect, ShardIs):
            before = self.shards.get((effect.job, effect.shard))
            assert before is None or before.state not in ENDED, f"{before} was over, and then {effect}"
            self.shards[effect.job, effect.shard] = effect
            if effect.state == "trusted":
                self.trusted.add((effect.job, effect.shard))
            elif effect.state == "open":
                self.trusted.discard((effect.job, effect.shard))
            return
        run = (effect.job, effect.shard, effect.attempt)
        if isinstance(effect, Contribution):
            assert run not in self.paid, f"paid twice: {effect}"
            self.paid[run] = effect
        else:
            told = self.runs.get(run)
            assert told is None or told.state in ("leased", "committed", "revealed"), f"{told}, then {effect}"
            self.runs[run] = effect


def check_history(history: History, jobs: dict[Cid, JobIs], state: State) -> None:
    """Nothing is paid twice or without agreement; a settled shard has one result; what ended is over."""
    runs: dict[Cid, dict[int, list[RunIs]]] = defaultdict(lambda: defaultdict(list))
    for (of_job, shard, _), run in history.runs.items():
        if of_job in history.touched:
            runs[of_job][shard].append(run)
    for id in sorted(history.touched):
        job = jobs[id]
        spent = 0
        for shard, of_shard in runs[id].items():
            paid = [run for run in of_shard if run.state == "paid"]
            how = history.shards[id, shard]
            spent += sum(run.paid for run in paid)
            assert bool(paid) == (how.state == "settled"), f"{how} with {len(paid)} paid runs"
            if paid:
                trusted = job.checks == Checks.NEVER or (id, shard) in history.trusted
                disputed = any(run.reason == "wrong_result" for run in of_shard)
                hidden = job.bond and any(run.reason == "hidden_result" for run in of_shard)
                votes = 1 if trusted else votes_to_win(bonded=bool(job.bond)) if disputed or hidden else 2
                assert len(paid) == votes, f"{how} paid {len(paid)} runs"
                assert {(run.result, run.fuel) for run in paid} == {(how.result, how.fuel)}
                assert len({run.worker for run in paid}) == len(paid), "paid for agreeing with itself"
                assert all(history.paid[id, shard, run.attempt].amount == run.paid for run in paid), (
                    "a contribution differs from what was paid"
                )
            if how.state in ENDED:
                live = [run for run in of_shard if run.state in ("leased", "committed", "revealed")]
                assert not live, f"{how}, and still {live}"
        assert spent == job.spent <= job.escrow, f"{spent} paid, {job.spent} said, {job.escrow} held"
        settled = sum(shard.state == "settled" for key, shard in history.shards.items() if key[0] == id)
        assert settled == job.settled
        assert job.state != "done" or job.settled + job.failed == job.shards
        if job.state == "done":
            assert state.get(JOB.name, id) is None, "a job that is done is still in the state"
    history.touched.clear()


def check_state(state: State, now: int) -> None:
    """Money is conserved, and every index says what the rows say. `now` is the present ledger time."""
    count = conservation(state)
    assert count.holds, f"{count}"
    assert all(0 <= held.old <= held.free for held in _records(state, ACCOUNT).values())
    jobs, offers = _records(state, JOB), _records(state, OFFER)
    tallies, shards = _records(state, TALLY), _records(state, SHARD)
    params = PARAMS.decode(state.get(PARAMS.name, ONLY) or b"")
    supply = SUPPLY.decode(state.get(SUPPLY.name, ONLY) or b"")
    assert supply.jobs == len(jobs) == len(tallies)
    assert supply.offers == sum(offer.slots > 0 for offer in offers.values())
    by_job: dict[bytes, dict[int, Shard]] = defaultdict(dict)
    for key, shard in shards.items():
        by_job[key[:-2]][int.from_bytes(key[-2:], "big")] = shard
    assert by_job.keys() <= jobs.keys(), "shards of a job that has ended"
    for id, job in jobs.items():
        _check_job(job, tallies[id], by_job[id], params)
    bonds = _records(state, BOND)
    assert supply.bonds == len(bonds) <= BONDS_MAX
    assert all(bond.at_stake and len(bond.leaving) <= LEAVING_MAX for bond in bonds.values())
    _check_offers(state, offers, shards)
    _check_waiting(state, jobs, tallies, by_job, now)
    recoveries = _records(state, RECOVERY)
    _check_agenda(state, jobs, tallies, by_job, offers, bonds, recoveries)
    _check_escrows(state)
    _check_identities(state, recoveries)
    _check_validators(state)
    _check_rests(state)
    _check_former(state)


def check_closed(state: State) -> None:
    """What is counted within a checkpoint is gone after it, and what was dropped in it has its places."""
    assert not state.items(SPENT.name)
    assert not any(key.startswith(calendar.FORMER) for key, _ in state.items(CALENDAR.name))
    assert all(one.taken for row in _records(state, FORMER).values() for one in row)


def _check_rests(state: State) -> None:
    """Escrows that rest are open, and accounts that rest have a bond."""
    known = _records(state, ESCROW).keys() | _records(state, BOND).keys()
    assert {key for key, _ in state.items(RESTS.name)} <= known


def _check_former(state: State) -> None:
    """Only who has a bond answers for devices that it dropped, each once, and not for too many."""
    former = _records(state, FORMER)
    assert former.keys() <= _records(state, BOND).keys()
    for row in former.values():
        devices = [one.device for one in row]
        assert devices == sorted(set(devices))
        assert 1 <= len(row) <= ROW_MAX


def _check_validators(state: State) -> None:
    """From one epoch to the next little stake moves, and there is always somebody to vote."""
    sets = [parse_set(row).stakes for _, row in state.items(TABLE)]
    assert 2 <= len(sets) <= 4, f"{len(sets)} epochs are kept"
    for before, after in pairwise(sets):
        assert 1 <= len(after) <= VALIDATORS_MAX
        moved = sum(abs(after.get(key, 0) - before.get(key, 0)) for key in {*before, *after})
        assert moved <= budget(before), f"{moved} moved of {sum(before.values())}"


def _records(state: State, table: Table[R]) -> dict[bytes, R]:
    return {bytes(key): table.decode(row) for key, row in state.items(table.name)}


def _check_job(job: Job, tally: Tally, shards: dict[int, Shard], params: Params) -> None:
    ended = tally.cursor - job.first - tally.live
    assert tally.live == len(shards)
    assert tally.held == terms.share_of(job) * (job.count - ended)
    assert tally.live or tally.cursor < job.shards, "a job with nothing left"
    assert tally.state == JobState.RUNNING or (tally.cursor == job.shards and not tally.reopened)
    still_open = b"".join(number.to_bytes(2, "big") for number in sorted(shards) if not shards[number].live)
    assert tally.reopened == (b"" if job.appeals else still_open)
    for number, shard in shards.items():
        assert number < tally.cursor
        most = ATTEMPTS_MAX if job.bond and is_disputed(shard) else params.attempts_max
        assert (0 if job.appeals else 1) <= len(shard.runs) <= most
        workers = [run.worker for run in shard.live]
        assert len(set(workers)) == len(workers), "two live runs of one account"
        assert len(workers) <= (STAGES_BONDED[-1] if job.bond else terms.RUNS_CHECKED)
        assert not job.checks or job.submitter not in workers, "the submitter checks itself"
        assert tally.state == JobState.RUNNING or has_committed(shard), "given up, yet not ended"
        assert all(run.price <= job.price and run.bond == job.bond for run in shard.runs)
        assert shard.live or shard.fate == Fate.UNDRAWN
        assert shard.fate != Fate.TRUSTED or len(shard.live) == 1
        assert job.checks == Checks.ADAPTIVE or shard.fate == Fate.UNDRAWN


def _check_offers(state: State, offers: dict[bytes, Offer], shards: dict[bytes, Shard]) -> None:
    leased = Counter(
        run.device for shard in shards.values() for run in shard.runs if run.state == RunState.LEASED
    )
    assert leased == {device: offer.busy for device, offer in offers.items() if offer.busy}
    assert all(offer.slots or offer.busy for offer in offers.values()), "an offer that nobody keeps"
    idle = [idle_key(offer, device) for device, offer in offers.items() if offer.busy < offer.slots]
    assert sorted(idle) == [key for key, _ in state.items(IDLE.name)]


def _check_waiting(
    state: State,
    jobs: dict[bytes, Job],
    tallies: dict[bytes, Tally],
    shards: dict[bytes, dict[int, Shard]],
    now: int,
) -> None:
    """`queue`, `draw` and `window` hold what waits, all of it unless it is too late, and nothing else."""
    queue = dict(state.items(QUEUE.name))
    open_jobs = {queue_key(job, id): job for id, job in jobs.items() if has_open(job, tallies[id])}
    assert queue.keys() <= open_jobs.keys()
    assert all(row == queue_row(open_jobs[key]) for key, row in queue.items())
    assert all(now + job.lease > job.deadline for key, job in open_jobs.items() if key not in queue)
    draw, window, coin = set(), set(), set()
    for id, job in jobs.items():
        for number, shard in shards[id].items():
            is_begun = has_committed(shard) or job.appeals is not None
            if is_begun and len(shard.live) < runs_needed(shard, job):
                if job.checks == Checks.ADAPTIVE and shard.fate == Fate.UNDRAWN:
                    coin.add(id + number.to_bytes(2, "big"))
                else:
                    draw.add(draw_key(job, Cid(id), number))
            unclocked = any(run.state == RunState.COMMITTED and not run.until for run in shard.live)
            if unclocked and may_reveal(shard, job):
                window.add(id + number.to_bytes(2, "big"))
    assert draw == {key for key, _ in state.items(DRAW.name)}
    assert coin == {key for key, _ in state.items(COIN.name)}
    begun = {key for key, _ in state.items(WINDOW.name)}
    assert begun <= window
    assert all(
        now + terms.window_of(jobs[key[:-2]]) > terms.last_moment(jobs[key[:-2]]) for key in window - begun
    )


def _check_agenda(
    state: State,
    jobs: dict[bytes, Job],
    tallies: dict[bytes, Tally],
    shards: dict[bytes, dict[int, Shard]],
    offers: dict[bytes, Offer],
    bonds: dict[bytes, Bond],
    recoveries: dict[bytes, Recovery],
) -> None:
    expected: dict[bytes, bytes] = {}
    for account, recovery in recoveries.items():
        if recovery.device and not recovery.height:
            expected[agenda._pack(recovery.time, agenda.RECOVERY, account)] = b""
    for id, escrow in _records(state, ESCROW).items():
        if not packed.contains(state.get(CALENDAR.name, _booked(escrow)) or b"", id):
            expected[agenda._pack(escrow.until_time, agenda.ESCROW, id)] = b""
    for account, bond in bonds.items():
        assert [time for time, _ in bond.leaving] == sorted({time for time, _ in bond.leaving})
        expected |= {agenda._pack(time, agenda.BOND, account): b"" for time, _ in bond.leaving}
    for key, row in state.items(VERDICT.name):
        verdict = VERDICT.decode(row)
        assert verdict.appeal is None or jobs[verdict.appeal].appeals == key[:-2]
        if verdict.appeal is None:
            entry = agenda._pack(verdict.until, agenda.VERDICT, key[:-2])
            expected[entry] = packed.with_item(expected.get(entry, b""), key[-2:] + bytes(1))
    for account, offer in offers.items():
        if offer.slots:
            expected[agenda._pack(offer.until, agenda.OFFER, account)] = b""
    for id, job in jobs.items():
        running = tallies[id].state == JobState.RUNNING
        expected[agenda._pack(job.deadline if running else terms.last_moment(job), agenda.JOB, id)] = b""
        for number, shard in shards[id].items():
            if shard.waits:
                place = id + number.to_bytes(2, "big")
                assert {*job_rows(state, COIN), *(key[32:] for key in job_rows(state, DRAW))} & {place}
                entry = agenda._pack(shard.waits, agenda.WAIT, id)
                expected[entry] = packed.with_item(
                    expected.get(entry, b""), number.to_bytes(2, "big") + bytes(1)
                )
            for attempt, run in enumerate(shard.runs):
                assert run.is_live or not run.until
                if run.until:
                    entry = agenda._pack(run.until, agenda.RUN, id)
                    item = number.to_bytes(2, "big") + bytes((attempt,))
                    expected[entry] = packed.with_item(expected.get(entry, b""), item)
    rows = dict(state.items(AGENDA.name))
    numbers = rows.pop(ONLY, b"")
    assert numbers == b"".join(sorted(rows)), "the list of chunks is not the chunks"
    written = b"".join(rows[number] for number in sorted(rows))
    assert written == b"".join(sorted(expected)), "the agenda is not what must happen"
    assert dict(state.items(DUE.name)) == {entry: runs for entry, runs in expected.items() if runs}
    assert agenda.earliest(state) == (agenda._unpack(min(expected)).time if expected else None)


def job_rows(state: State, table: Table[bytes]) -> list[bytes]:
    return [key for key, _ in state.items(table.name)]


def _check_escrows(state: State) -> None:
    """What the calendar has are escrows that are open; and as many are counted as there are. (Those that it
    does not have are in the agenda: `_check_agenda`.)"""
    escrows = _records(state, ESCROW)
    assert all(0 <= escrow.redeemed < escrow.amount for escrow in escrows.values())
    assert all(escrow.payer != escrow.payee for escrow in escrows.values())
    for key, row in state.items(CALENDAR.name):
        if key.startswith(calendar.ESCROW):
            assert all(_booked(escrows[id]) == key for id in _split(row, 36)), "the calendar has others"
            assert len(row) <= ENDS_PER_CLOSE_MAX * 36
    counted = {key: int.from_bytes(row, "big") for key, row in state.items(ESCROWS.name)}
    by_payer = Counter(escrow.payer for escrow in escrows.values())
    assert counted == by_payer | ({ONLY: len(escrows)} if escrows else {})


def _booked(escrow: Escrow) -> bytes:
    return calendar.ESCROW + escrow.until.to_bytes(8, "big")


def _check_identities(state: State, recoveries: dict[bytes, Recovery]) -> None:
    """What the ledger asks before it lets a device act is what the identities say."""
    delegated, booked = set(), defaultdict(list)
    for account, identity in _records(state, IDENTITY).items():
        devices, guardians = _split(identity.devices, 32), _split(identity.guardians, 32)
        delegated |= {account + device for device in devices}
        assert len(devices) <= DEVICES_MAX
        assert len(guardians) <= GUARDIANS_MAX
        assert identity.threshold <= len(guardians)
        assert bool(identity.threshold) == bool(guardians)
        assert account not in devices + guardians
        assert devices or not identity.retired, "nothing acts for an account whose key is retired"
    assert delegated == {key for key, _ in state.items(DELEGATION.name)}
    for account, recovery in recoveries.items():
        row = state.get(IDENTITY.name, account)
        assert row is not None, "somebody recovers an account that has no guardians"
        identity = IDENTITY.decode(row)
        guardians = _split(identity.guardians, 32)
        asked = _split(recovery.asked, 64)
        assert asked, "nobody asks"
        assert len({pair[:32] for pair in asked}) == len(asked), "a guardian that asks twice"
        assert all(pair[:32] in guardians for pair in asked)
        most = max(Counter(pair[32:] for pair in asked).values())
        assert bool(recovery.device) == (most >= identity.threshold)
        if recovery.height:
            booked[calendar.RECOVERY + recovery.height.to_bytes(8, "big")].append(account)
    written = {key: row for key, row in state.items(CALENDAR.name) if key.startswith(calendar.RECOVERY)}
    assert written == {day: b"".join(sorted(accounts)) for day, accounts in booked.items()}


def _split(row: bytes, width: int) -> list[bytes]:
    """Sorted, each once."""
    items = [row[at : at + width] for at in range(0, len(row), width)]
    assert items == sorted(set(items))
    return items
