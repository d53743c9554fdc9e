"""What every event goes through, whatever it says."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from domain import effects
from domain.effects import Refusal
from domain.payloads import KINDS, Transfer
from domain.rules import CODES, FogRules
from domain.rules.execute import RULES
from domain.rules.params import Params, of
from ledger import canonical
from ledger.errors import UsageError
from ledger.execution import OK, Rules
from ledger.genesis import Genesis, Validator
from tests.domain.rules.court import Court
from tests.domain.rules.world import World, key_of

VECTORS = Path(__file__).parents[2] / "vectors" / "rules.json"

STORY = """
    pay      alice bob 60                  ok
    pay      alice bob 10000000            insufficient_funds
    offer    carol slots=2 price=5         ok
    offer    dave slots=2 price=6          ok
    offer    erin slots=3 price=6          ok
    submit   alice J shards=3 price=10     ok
    submit   bob K price=10 checks=0       ok
    place
    who      w J 0 0
    commit   w J 0 0 wrong 700000001       ok
    place
    who      c J 0 1
    commit   c J 0 1 right 700000001       ok
    reveal   w J 0 0 wrong 700000001       ok
    reveal   c J 0 1 right 700000001       ok
    place
    who      d J 0 2
    commit   d J 0 2 right 700000001       ok
    reveal   d J 0 2 right 700000001       ok
    who      x J 1 0
    release  x J 1 0 heat                  ok
    cancel   bob K                         ok
    close    20000
    close    900000
    close    900000
    close    100000000
    close
    bond     alice 2000                    ok
    unbond   alice 500                     ok
    unbond   alice 1                       ok
    close    100000000
    close
"""


BONDED = """
    offer    carol slots=9 price=5 bond=90 ok
    offer    dave slots=9 price=5 bond=90  ok
    offer    erin slots=9 price=5 bond=90  ok
    offer    frank slots=9 price=5 bond=90 ok
    pay      alice frank 5000              ok
    pay      alice carol 5000              ok
    pay      alice dave 5000               ok
    pay      alice erin 5000               ok
    submit   alice L bond=90 checks=2      ok
    place
    who      a L 0 0
    seal     a L 0 0 right 7               ok
    place
    who      b L 0 1
    seal     b L 0 1 wrong 7               ok
    reveal   a L 0 0 right 7               ok
    reveal   b L 0 1 wrong 7               ok
    place
    who      c L 0 2
    who      d L 0 3
    seal     c L 0 2 right 7               ok
    seal     d L 0 3 right 7               ok
    reveal   c L 0 2 right 7               ok
    reveal   d L 0 3 right 7               ok
    appeal   alice A L 0                   ok
    place
"""


def story() -> World:
    world = Court({"bond_min": 1000}, alice=100_000, bob=100)
    world.check(STORY)
    for fault in (world.double_vote("alice"), world.fork("bob"), world.lie("validator")):
        assert world.do("carol", fault) == "ok"
    for _ in range(6):
        world.close()
    world.check(BONDED)
    return world


def test_what_cannot_be_read_is_refused_with_a_receipt() -> None:
    world = World(alice=100)
    good = canonical.encode(Transfer(world.account("bob"), 5))
    assert world.do("alice", good, ("transfer", 1)) == "ok"
    assert world.do("alice", good, ("transfer", 2)) == "unknown_kind"
    assert world.do("alice", good, ("Transfer", 1)) == "unknown_kind"
    assert world.do("alice", good, ("offer", 1)) == "bad_payload"
    assert world.do("alice", canonical.encode([]), ("transfer", 1)) == "bad_payload"
    none = canonical.encode({"to": world.account("bob"), "amount": 0})
    assert world.do("alice", none, ("transfer", 1)) == "bad_payload"
    more = canonical.encode({"to": world.account("bob"), "amount": 1, "note": "x"})
    assert world.do("alice", more, ("transfer", 1)) == "bad_payload"
    world.check("balance alice 95")


def test_no_word_of_a_library_or_of_a_python_gets_into_a_receipt() -> None:
    """Receipts are under the root: what msgspec calls an error, or `repr` takes for printable, may change."""
    world = World(alice=100)
    said = []
    for body, kind in (({"amount": "x"}, "transfer"), ({}, "k\u00e9\u200b"), ({}, "\x1b[2J")):
        world.do("alice", canonical.encode(body), (kind, 1))
        refusal = effects.decode(world.receipts[-1].effects[0])
        assert isinstance(refusal, Refusal)
        said.append(refusal.message)
    assert said == [
        "the body is not a valid transfer, version 1",
        "no rule for events of kind “k\u00e9\u200b”, version 1",
        "no rule for events of this kind, version 1",
    ]


def test_a_refusal_fits_its_effect_whatever_the_event_says() -> None:
    """A kind of 255 characters, outside of ASCII, is quoted and cut, never an exception."""
    world = World()
    world.do("alice", canonical.encode({}), ("é" * 255, 1))
    refusal = effects.decode(world.receipts[-1].effects[0])
    assert isinstance(refusal, Refusal)
    assert refusal.code == world.receipts[-1].code == "unknown_kind"
    assert len(refusal.message) == 255


def test_every_refusal_is_a_documented_word() -> None:
    world = story()
    for receipt in world.receipts:
        assert receipt.code == OK or receipt.code in CODES
    assert all(meaning.endswith(".") for meaning in CODES.values())


def test_every_code_is_shown_by_a_test() -> None:
    """Rows in these tests name every word that the rules can refuse with."""
    here = Path(__file__).parent
    shown = " ".join(path.read_text() for path in sorted(here.glob("test_*.py"))).split()
    words = {word.strip('",():') for word in shown}
    assert CODES.keys() - {"fork_void", "expired", "not_delegated"} <= words


def test_every_kind_of_event_has_its_rule() -> None:
    assert set(RULES) == set(KINDS.values())


def test_execution_leaves_its_input_as_it_was() -> None:
    """A state can be executed on twice, and gives the same twice."""
    world = World(alice=100)
    before = world.state
    root = before.seal().root
    event = world.event("alice", Transfer(world.account("bob"), 5))
    first, told = world.rules.execute(before, event, world.context)
    again, told_again = FogRules().execute(before, event, world.context)
    assert first.seal().root == again.seal().root != root == before.seal().root
    assert told == told_again


def test_rules_satisfy_what_the_ledger_asks_for() -> None:
    rules: Rules = FogRules()
    assert rules.due(rules.genesis(World(alice=1).genesis)) is None


@pytest.mark.parametrize(
    ("rules", "params", "code"),
    [
        (6, {}, "unknown_rules"),
        (8, {}, "unknown_rules"),
        (7, {"lease_min": 1000}, "bad_params"),
        (7, {"attempts_max": 65}, "bad_params"),
        (7, {"attempts_max": 2}, "bad_params"),
    ],
)
def test_a_network_that_these_rules_cannot_execute_is_refused(
    rules: int, params: dict[str, int], code: str
) -> None:
    validators = (Validator(key_of("v").public, 1),)
    genesis = Genesis(1, "net", 0, rules, validators, (), params)
    with pytest.raises(UsageError) as caught:
        FogRules().genesis(genesis)
    assert caught.value.code == code
    assert caught.value.next_step


def test_parameters_have_the_documented_defaults() -> None:
    params = of(World().genesis)
    assert params == Params(
        lease_min_ms=1000,
        offer_max_ms=86_400_000,
        attempts_max=10,
        deadline_max_ms=30 * 86_400_000,
        epoch_checkpoints=600,
        grace_checkpoints=600,
        grace_ms=36_000_000,
        bond_min=1_000_000_000,
        recovery_ms=2 * 86_400_000,
        unbond_ms=14 * 86_400_000,
        jail_ms=7 * 86_400_000,
        slash_ppm=50_000,
        appeal_ms=600_000,
    )


def story_digest() -> dict[str, str]:
    world = story()
    told = hashlib.sha256(b"".join(canonical.encode(receipt) for receipt in world.receipts)).hexdigest()
    return {"state_root": world.state.seal().root.hex(), "receipts": told}


def test_the_same_story_gives_the_same_bytes_in_every_version() -> None:
    """Frozen: if this changes, networks that exist would diverge."""
    assert story_digest() == json.loads(VECTORS.read_text())


def test_no_hash_seed_reaches_a_byte() -> None:
    code = (
        "import json; from tests.domain.rules.test_execute import story_digest as s; print(json.dumps(s()))"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert json.loads(done.stdout) == json.loads(VECTORS.read_text())
