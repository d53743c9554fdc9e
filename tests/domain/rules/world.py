"""A small world for the rules: a few people, a clock, and a table language for what they do and expect.

    pay      alice bob 60                  ok
    offer    carol slots=2 price=5         ok
    submit   alice J shards=3 price=10     ok
    close                                       the checkpoint ends, one second later
    place                                       as many checkpoints as the rules ask for at once
    commit   carol J 0 0 right 700         ok
    seal     carol J 0 0 right 700         ok    the same, in version 2
    appeal   alice A J 0                   ok    called A from now on, like a job
    verdict  A overturned
    run      J 0 0 carol work committed
    balance  alice 40 20 7                      free, in escrow and pledged, in micro-credits
    streak   alice 11
    forfeit  bob J 0 0 90 refund=1 bounty=4
    bond     dave 7                        ok
    holds    dave 7 0 jailed                    bonded and unbonding, in micro-credits

The last word of a row that acts is the code of its receipt. Rows that state something compare it with what
the effects told, as a read model would. After every row the whole state is checked against `invariants`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, ClassVar

from msgspec.structs import astuple

from domain import effects
from domain.effects import (
    AppealIs,
    Balance,
    BondIs,
    Contribution,
    Forfeited,
    JobIs,
    OfferStands,
    Refusal,
    Reputation,
    RunIs,
    ShardIs,
)
from domain.payloads import (
    BondedJob,
    BondedOffer,
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
    kind_of,
)
from domain.rules import FogRules, Lease, commitment, sealed
from ledger import event as events
from ledger.cid import Cid
from ledger.event import Event
from ledger.execution import Context, Receipt
from ledger.genesis import Allocation, Genesis, Validator
from ledger.signing import SigningKey
from ledger.state import State
from tests.domain.rules.invariants import History, check_closed, check_history, check_state

CREATED = 1_000_000
SECOND = 1_000
ENGINE = hashlib.sha256(b"engine").digest()
GFUEL = 1_000_000_000
SPEC = Cid.of(b"spec")


def key_of(name: str) -> SigningKey:
    return SigningKey(hashlib.sha256(name.encode()).digest())


def result_of(word: str) -> Cid:
    return Cid.of(word.encode())


def salt_of(account: bytes) -> bytes:
    return hashlib.sha256(b"salt" + account).digest()


class World:
    """Names are accounts, made when they are first spoken of. Amounts are in micro-credits."""

    verbs: ClassVar[dict[str, Callable[[Any, list[str]], None]]]

    def __init__(
        self,
        params: dict[str, int] | None = None,
        *,
        stakes: dict[str, int] | None = None,
        **balances: int,
    ) -> None:
        """`stakes` are those of the validators of genesis; else there is one, who holds 1 micro-credit."""
        self._keys: dict[str, SigningKey] = {}
        self._names: dict[bytes, str] = {}
        self._aliases: dict[str, str] = {}
        self._seqs: dict[bytes, int] = {}
        self.jobs: dict[str, Cid] = {}
        accounts = sorted((self.account(name), amount) for name, amount in balances.items())
        stakes = {self.account(name): stake for name, stake in (stakes or {"validator": 1}).items()}
        self.genesis = Genesis(
            v=1,
            name="test",
            created=CREATED,
            rules=7,
            validators=tuple(Validator(*row) for row in sorted(stakes.items())),
            accounts=tuple(Allocation(*row) for row in accounts),
            params=params or {},
        )
        self.rules = FogRules()
        self.state = self.rules.genesis(self.genesis)
        self.height, self.time = 1, CREATED + 1
        self.receipts: list[Receipt] = []
        self.balances = {account: (amount, 0, 0) for account, amount in accounts}
        self.bond_is = {account: BondIs(account, stake, 0) for account, stake in stakes.items()}
        self.job_is: dict[Cid, JobIs] = {}
        self.offer_is: dict[bytes, OfferStands] = {}
        self.standings: dict[bytes, tuple[int, int, int]] = {}
        self.verdicts: dict[Cid, str] = {}
        self.streaks: dict[bytes, int] = {}
        self.forfeits: dict[tuple[Cid, int, int], Forfeited] = {}
        self.history = History()

    # -- names ----------------------------------------------------------------------------------------------

    def key(self, name: str) -> SigningKey:
        name = self._aliases.get(name, name)
        if name not in self._keys:
            self._keys[name] = key_of(name)
            self._names[self._keys[name].public] = name
        return self._keys[name]

    def account(self, name: str) -> bytes:
        return self.key(name).public

    def name(self, account: bytes) -> str:
        return self._names[account]

    # -- what happens ---------------------------------------------------------------------------------------

    @property
    def context(self) -> Context:
        beacon = hashlib.sha256(b"beacon %d" % self.height).digest()
        return Context(self.genesis.net, self.height, self.time, beacon)

    def event(
        self,
        name: str,
        payload: Payload | bytes,
        kind: tuple[str, int] | None = None,
        *,
        acct: str | None = None,
    ) -> Event:
        """Signed by `name`, who says it for the account `acct`, or for its own."""
        key = self.key(name)
        seq = self._seqs.get(key.public, 0)
        self._seqs[key.public] = seq + 1
        kind = kind or kind_of(payload)  # type: ignore[arg-type]
        return events.make(
            key,
            net=self.genesis.net,
            lane=0,
            seq=seq,
            prev=None if seq == 0 else Cid.of(b"prev"),
            parents=(),
            lc=seq + 1,
            ts=self.time,
            kind=kind[0],
            version=kind[1],
            body=payload,
            acct=None if acct is None else self.account(acct),
        )

    def do(self, name: str, payload: Payload | bytes, kind: tuple[str, int] | None = None) -> str:
        """Execute one event; returns the code of its receipt."""
        return self.order(self.event(name, payload, kind))

    def order(self, event: Event) -> str:
        before = self.state
        self.state, receipt = self.rules.execute(before, event, self.context)
        assert receipt.event == event.id
        assert receipt.ok or self._only_spent(before, receipt.code), "a refusal changed the state"
        self._told(receipt)
        return receipt.code

    def _only_spent(self, before: State, code: str) -> bool:
        """Whether nothing else changed than what a false signature cost."""
        after = self.state.changes
        changed = {table for table, key in after if before.get(table, key) != self.state.get(table, key)}
        return not changed or (code in ("bad_evidence", "bad_voucher") and changed <= {"spent", "rests"})

    def close(self, ms: int = SECOND) -> None:
        """End the checkpoint; the next one's ledger time is `ms` later."""
        self.state, receipt = self.rules.close(self.state, self.context)
        assert receipt.event is None
        assert receipt.ok
        self._told(receipt)
        check_closed(self.state)
        self.height += 1
        self.time += ms

    def place(self, limit: int = 8) -> None:
        """Close at least once, and again for as long as something is due at once, a millisecond apart."""
        for _ in range(limit):
            self.close(1)
            due = self.rules.due(self.state)
            if due is None or due > self.time:
                return
        raise AssertionError(f"still due at {due} after {limit} closes")

    def _told(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)
        for data in receipt.effects:
            effect = effects.decode(data)
            assert effects.encode(effect) == data
            self._fold(effect)
        check_state(self.state, self.time)
        check_history(self.history, self.job_is, self.state)

    def _fold(self, effect: Any) -> None:
        match effect:
            case Balance():
                self.balances[effect.account] = (effect.free, effect.escrow, effect.pledged)
            case BondIs():
                self.bond_is[effect.account] = effect
            case JobIs():
                self.job_is[effect.job] = effect
            case OfferStands():
                self.offer_is[effect.device] = effect
            case Reputation():
                self.standings[effect.account] = (effect.agreed, effect.wrong, effect.lost)
                self.streaks[effect.account] = effect.streak
            case AppealIs():
                self.verdicts[effect.appeal] = effect.state
            case Forfeited():
                run = (effect.job, effect.shard, effect.attempt)
                assert run not in self.forfeits, f"lost twice: {effect}"
                assert effect.refund + effect.bounty < effect.amount, f"a gift: {effect}"
                self.forfeits[run] = effect
            case RunIs() | ShardIs() | Contribution():
                self.history.add(effect)

    # -- the table language ---------------------------------------------------------------------------------

    def check(self, table: str) -> None:
        for line in table.strip().splitlines():
            verb, *words = line.split("#")[0].split()
            try:
                self.verbs[verb](self, words)
            except AssertionError as error:
                raise AssertionError(f"{line.strip()}\n{error}") from error

    def moment(self, text: str) -> int:
        """`+5000` is five seconds after the present ledger time; anything else is a ledger time."""
        return self.time + int(text) if text[0] in "+-" else int(text)


def _is(got: object, expected: object) -> None:
    assert got == expected, f"got {got}, expected {expected}"


def _split(words: list[str]) -> tuple[list[str], dict[str, str]]:
    named = dict(word.split("=") for word in words if "=" in word)
    return [word for word in words if "=" not in word], named


def _act(make: Callable[[World, list[str], dict[str, str]], Payload]) -> Callable[[World, list[str]], None]:
    def act(world: World, words: list[str]) -> None:
        *words, code = words
        plain, named = _split(words)
        payload = make(world, plain, named)
        got = world.do(plain[0], payload)
        if isinstance(payload, JobSubmit | BondedJob | JobAppeal):
            event = world.receipts[-1].event
            assert event is not None
            world.jobs[plain[1]] = event
        message = "".join(
            effect.message
            for data in world.receipts[-1].effects
            if isinstance(effect := effects.decode(data), Refusal)
        )
        assert got == code, f"got {got} ({message}), expected {code}"

    return act


def _offer(world: World, words: list[str], named: dict[str, str]) -> Offer | BondedOffer:
    """With a `bond` it is of version 2."""
    plain = Offer(
        slots=int(named.get("slots", 1)),
        price=int(named.get("price", 1)),
        until=world.moment(named.get("until", "+3600000")),
        engine=hashlib.sha256(named.get("engine", "engine").encode()).digest(),
    )
    return plain if "bond" not in named else BondedOffer(*astuple(plain), int(named["bond"]))


def _submit(world: World, words: list[str], named: dict[str, str]) -> JobSubmit | BondedJob:
    """With a `bond` it is of version 2."""
    plain = JobSubmit(
        spec=SPEC,
        shards=int(named.get("shards", 1)),
        fuel=int(named.get("fuel", GFUEL)),
        price=int(named.get("price", 10)),
        lease=int(named.get("lease", 10 * SECOND)),
        deadline=world.moment(named.get("deadline", "+600000")),
        engine=hashlib.sha256(named.get("engine", "engine").encode()).digest(),
        checks=0 if "bond" in named else int(named.get("checks", 1)),
    )
    if "bond" not in named:
        return plain
    return BondedJob(*astuple(plain)[:-1], int(named.get("checks", 1)), int(named["bond"]))


def _place_of(world: World, words: list[str]) -> tuple[Cid, int, int]:
    return world.jobs[words[1]], int(words[2]), int(words[3])


def _commit(world: World, words: list[str], named: dict[str, str]) -> LeaseCommit:
    sealed = commitment(result_of(words[4]), int(words[5]), salt_of(world.account(words[0])))
    return LeaseCommit(*_place_of(world, words), sealed)


def _seal(world: World, words: list[str], named: dict[str, str]) -> SealedCommit:
    place, account = _place_of(world, words), world.account(words[0])
    opened = (result_of(words[4]), int(words[5]), salt_of(account))
    return SealedCommit(*place, sealed(*opened, Lease(account, *place)))


def _reveal(world: World, words: list[str], named: dict[str, str]) -> LeaseReveal:
    salt = salt_of(world.account(words[0]))
    return LeaseReveal(*_place_of(world, words), result_of(words[4]), int(words[5]), salt)


def _release(world: World, words: list[str], named: dict[str, str]) -> LeaseRelease:
    return LeaseRelease(*_place_of(world, words), words[4])


def _close(world: World, words: list[str]) -> None:
    world.close(int(words[0]) if words else SECOND)


def _place(world: World, words: list[str]) -> None:
    world.place()


def _who(world: World, words: list[str]) -> None:
    """`who checker J 0 1`: call whoever has that run `checker` from now on."""
    run = world.history.runs[world.jobs[words[1]], int(words[2]), int(words[3])]
    world._aliases[words[0]] = world.name(run.worker)


def _balance(world: World, words: list[str]) -> None:
    amounts = [int(word) for word in words[1:]]
    held = world.balances.get(world.account(words[0]), (0, 0, 0))
    _is(list(held), amounts + [0] * (3 - len(amounts)))


def _streak(world: World, words: list[str]) -> None:
    _is(world.streaks.get(world.account(words[0]), 0), int(words[1]))


def _forfeit(world: World, words: list[str]) -> None:
    """`forfeit bob J 0 0 90 refund=1 bounty=4`, or `forfeit bob J 0 0 none`."""
    words, named = _split(words)
    lost = world.forfeits.get(_place_of(world, words))
    if words[4] == "none":
        return _is(lost, None)
    assert lost is not None, "nothing was lost"
    _is((lost.account, lost.amount), (world.account(words[0]), int(words[4])))
    for name, value in named.items():
        _is((name, str(getattr(lost, name))), (name, value))
    return None


def _holds(world: World, words: list[str]) -> None:
    """`holds dave 7 3 jailed`: bonded, unbonding, and whether it is in jail."""
    held = world.bond_is.get(world.account(words[0]), BondIs(world.account(words[0]), 0, 0))
    _is((held.bonded, held.unbonding), (int(words[1]), int(words[2])))
    _is(["jailed"] if held.jailed else [], words[3:])


def _run(world: World, words: list[str]) -> None:
    """`run J 0 1 carol check leased`, or `run J 0 1 none`. More words: `paid=…`, `reason=…`."""
    words, named = _split(words)
    run = world.history.runs.get((world.jobs[words[0]], int(words[1]), int(words[2])))
    if words[3] == "none":
        return _is(run, None)
    assert run is not None, "no such run"
    _is((world.name(run.worker), run.role, run.state), (world._aliases.get(words[3], words[3]), *words[4:]))
    for name, value in named.items():
        _is(str(getattr(run, name)), value)
    return None


def _shard(world: World, words: list[str]) -> None:
    """`shard J 0 settled right 700`; `none` before its first lease."""
    shard = world.history.shards.get((world.jobs[words[0]], int(words[1])))
    if words[2] == "none":
        return _is(shard, None)
    assert shard is not None, "no such shard"
    _is(shard.state, words[2])
    if len(words) > 3:
        _is((shard.result, shard.fuel), (result_of(words[3]), int(words[4])))
    return None


def _job(world: World, words: list[str]) -> None:
    """`job J running settled=1 failed=0 spent=12`."""
    words, named = _split(words)
    job = world.job_is[world.jobs[words[0]]]
    _is(job.state, words[1])
    for name, value in named.items():
        _is((name, getattr(job, name)), (name, int(value)))


def _busy(world: World, words: list[str]) -> None:
    """`busy carol 1 of 2`."""
    offer = world.offer_is[world.account(words[0])]
    _is((offer.busy, offer.slots), (int(words[1]), int(words[3])))


def _standing(world: World, words: list[str]) -> None:
    """`standing carol agreed=1 wrong=0 lost=0`: whatever is left out is 0."""
    _, named = _split(words)
    counts = tuple(int(named.get(name, 0)) for name in ("agreed", "wrong", "lost"))
    _is(world.standings.get(world.account(words[0]), (0, 0, 0)), counts)


def _due(world: World, words: list[str]) -> None:
    due = world.rules.due(world.state)
    _is(due, None if words[0] == "never" else world.moment(words[0]))


World.verbs = {
    "pay": _act(lambda world, words, named: Transfer(world.account(words[1]), int(words[2]))),
    "offer": _act(_offer),
    "submit": _act(_submit),
    "cancel": _act(lambda world, words, named: JobCancel(world.jobs[words[1]])),
    "commit": _act(_commit),
    "seal": _act(_seal),
    "appeal": _act(lambda world, words, named: JobAppeal(world.jobs[words[2]], int(words[3]))),
    "verdict": lambda world, words: _is(world.verdicts[world.jobs[words[0]]], words[1]),
    "reveal": _act(_reveal),
    "release": _act(_release),
    "bond": _act(lambda world, words, named: StakeBond(int(words[1]))),
    "unbond": _act(lambda world, words, named: StakeUnbond(int(words[1]))),
    "unjail": _act(lambda world, words, named: StakeUnjail()),
    "close": _close,
    "place": _place,
    "who": _who,
    "balance": _balance,
    "streak": _streak,
    "forfeit": _forfeit,
    "holds": _holds,
    "run": _run,
    "shard": _shard,
    "job": _job,
    "busy": _busy,
    "standing": _standing,
    "due": _due,
}
