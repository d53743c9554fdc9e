"""Every reader of foreign bytes, fed with what it does not expect; and the fuzzer itself, shown to find what
it should.

The long campaign is `make fuzz`: these are its corpus and its first few thousand inputs.
"""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from ledger import canonical
from ledger.errors import RemoteError
from tests.fuzz import child, make_corpus, structure
from tests.fuzz.engine import Campaign
from tests.fuzz.judge import ACCEPTED, judge, weigh
from tests.fuzz.minimise import minimise
from tests.fuzz.mutate import Mutator
from tests.fuzz.target import SCHEMA, Target
from tests.fuzz.targets import CORPUS, SHAPES, TARGETS, corpus

QUICK, LONG = 1_000, 20_000  # inputs of a target whose share is 1


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_takes_what_is_canonical_and_refuses_the_rest_by_name(name: str) -> None:
    """The corpus, all nasty shapes, and a thousand mutations: the contract of `tests.fuzz.target` holds."""
    campaign = Campaign(TARGETS[name], corpus(name), "quick")
    campaign.replay(corpus(SHAPES), weigh if name == "codec" else judge)  # below the others is the codec
    campaign.run(round(QUICK * TARGETS[name].share))
    assert not campaign.findings, f"{campaign.findings[0].fault}: {campaign.findings[0].data[:300].hex()}"
    assert campaign.outcomes[ACCEPTED], "not even the real ones were taken"


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_takes_what_is_canonical_and_refuses_the_rest_by_name_for_longer(name: str) -> None:
    """Twenty thousand mutations, weighted like a campaign."""
    campaign = Campaign(TARGETS[name], corpus(name), "slow")
    campaign.run(round(LONG * TARGETS[name].share))
    assert not campaign.findings, f"{campaign.findings[0].fault}: {campaign.findings[0].data[:300].hex()}"


def test_every_target_has_its_corpus_and_nothing_else_has_one() -> None:
    """Real objects at least; and the whole of it stays small."""
    assert {path.name for path in CORPUS.iterdir()} == {*TARGETS, SHAPES}
    assert make_corpus.REAL.keys() == TARGETS.keys()
    files = list(CORPUS.rglob("*.bin"))
    assert sum(path.stat().st_size for path in files) < 1024 * 1024
    for name in TARGETS:
        assert list((CORPUS / name).glob("real-*")), name


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_what_its_maker_writes(name: str) -> None:
    """A format that changed must reach the corpus: `python -m tests.fuzz.make_corpus`."""
    written = {data for _, data in make_corpus.REAL[name]()}
    assert written == {path.read_bytes() for path in (CORPUS / name).glob("real-*")}


# -- the fuzzer


def careless(data: bytes) -> bytes:
    """A reader with a fault of each kind; what it does is seen below."""
    value = canonical.decode(data, size_max=10_000)
    if type(value) is not dict:
        raise RemoteError("not a map", code="bad_schema")
    if type(value.get("n")) is not int:
        raise RemoteError(f"n is {value.get('n')!r}", code="bad_schema")
    if value["n"] > 2**32:
        raise OverflowError("too large for a careless reader")
    return canonical.encode({"n": value["n"]})


CARELESS = Target("careless", careless, SCHEMA)
SEED = canonical.encode({"n": 7})


def test_a_fault_is_found_made_small_and_told_apart() -> None:
    """Another exception, and bytes with an unknown key that are taken as if they had none."""
    campaign = Campaign(CARELESS, [SEED, canonical.encode({"n": 1, "other": [1, 2, 3]})], "1")
    campaign.run(3_000)
    found = {finding.fault.split(" ")[0]: finding.data for finding in campaign.findings}
    assert found.keys() >= {"OverflowError:", "took"}
    smallest = minimise(CARELESS, found["OverflowError:"])
    assert len(smallest) <= len(canonical.encode({"n": 2**33}))
    with pytest.raises(OverflowError):
        careless(smallest)


def test_the_same_seed_gives_the_same_inputs_and_another_seed_gives_others() -> None:
    """What was found once can be found again."""

    def inputs(seed: str) -> list[bytes]:
        tried: list[bytes] = []
        Campaign(TARGETS["event"], corpus("event"), seed, tried=tried.append).run(500)
        return tried

    assert inputs("1") == inputs("1")
    assert len(set(inputs("1"))) > 400
    assert not set(inputs("1")[100:]) >= set(inputs("2")[100:])


def hungry(data: bytes) -> None:
    kept = [bytes(1024) for _ in range(20_000)]
    raise RemoteError(f"{len(kept)}", code="bad_schema")


def slow(data: bytes) -> None:
    hashlib.pbkdf2_hmac("sha256", data, b"", 2_500_000)


def wordy(data: bytes) -> None:
    raise RemoteError("w" * 2_000, code="bad_schema")


def rude(data: bytes) -> None:
    raise RemoteError("\x1b[2J", code="bad_schema")


def inventive(data: bytes) -> None:
    raise RemoteError("no", code="a_word_of_its_own")


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        (hungry, "memory"),
        (slow, " s for "),
        (wordy, "characters"),
        (rude, "terminal"),
        (inventive, "none of its"),
    ],
)
def test_what_breaks_the_contract_is_seen(reader: object, words: str) -> None:
    """Memory, time, words, codes."""
    target = Target("bad", reader, SCHEMA)  # type: ignore[arg-type]
    assert words in (weigh(target, b"\x00").fault or "")


def test_an_edit_deep_inside_keeps_the_lengths_around_it() -> None:
    """A header in an event is changed, and the envelope still opens."""
    wire = corpus("event")[0]
    mutator = Mutator(random.Random(1), lambda: wire)
    inner = [
        item
        for item in structure.items_of(wire)
        if item.parent is not None and item.parent.parent is not None
    ]
    for item in inner:
        if item.major == structure.UINT:
            changed = structure.replace(wire, item, structure.head(structure.UINT, 2**40))
            assert set(canonical.decode(changed, size_max=10_000)) == {"b", "h", "s"}
    outcomes = [judge(TARGETS["event"], mutator.cbor(wire)).outcome for _ in range(500)]
    assert len(set(outcomes)) >= 4, "mutations get no further than the codec"


@pytest.mark.slow
def test_what_a_dead_process_had_in_hand_is_kept(tmp_path: Path) -> None:
    """It is killed in the middle of its work; the input in hand can be read, and judged."""
    process = child.start("codec", 10**8, "1", tmp_path)
    try:
        while not (tmp_path / child.IN_HAND).exists() or not child.in_hand(tmp_path):
            assert process.is_alive()
    finally:
        process.kill()
        process.join()
    assert judge(TARGETS["codec"], child.in_hand(tmp_path)).fault is None
