"""Archives that lie, each in one way and with everything else hashed and signed again: none passes.

Two auditors that share no code judge each: `ledger.audit`, which executes, and `examples/verify.mjs`, which
is what a stranger writes with stock packages. The table says which rule each lie breaks, in both their words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ledger import canonical
from ledger.audit import audit
from ledger.cid import Cid
from ledger.event import Event, parse_header
from ledger.genesis import Allocation
from ledger.signing import Domain
from ledger.validators import EPOCH_CHECKPOINTS
from ledger.votes import Phase, SignedVote, Vote
from tests.interop import javascript
from tests.ledger.forging import EPOCH, Block, Forger, Lies, MovingRules, key, rewritten, set_of

VERIFIER = Path(__file__).parents[2] / "examples" / "verify.mjs"
LAST = 7
"""The last height with events: nothing later can be what is found wrong."""

L = 2**252 + 27742317777372353535851937790883648493  # order of the group of Ed25519


@dataclass(frozen=True)
class Case:
    """`audit`: the code of `ledger.audit`.  `verify`: how verify.mjs begins its reason; None: it is blind."""

    name: str
    audit: str
    verify: str | None
    lies: Lies


def put(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda given: given | fields


def without(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda given: {name: value for name, value in given.items() if name not in names}


def voters(*names: str) -> Callable[[Any], list[tuple[str, int]]]:
    """The same times, by others."""
    return lambda given: [(name, given[0][1] + at) for at, name in enumerate(names)]


def event(change: Callable[[Event], Event]) -> dict[int, Callable[[list[Event]], list[Event]]]:
    """Of Dave, on whom nobody builds."""
    return {LAST: lambda said: [*said[:-1], change(said[-1])]}


def dave(**fields: Any) -> dict[int, Callable[[list[Event]], list[Event]]]:
    """His header says something else; signed by him."""
    return event(lambda made: rewritten(made, "dave", **fields))


def body(data: bytes, **fields: Any) -> dict[int, Callable[[list[Event]], list[Event]]]:
    """He signs these bytes as his body."""

    def change(made: Event) -> Event:
        named = {"body": Cid.of(data), "bl": len(data)} | fields
        again = rewritten(made, "dave", **named)
        return Event(again.id, again.header, again.header_bytes, again.signature, data, again.wire)

    return event(change)


def at(
    kind: str, place: int, change: Callable[[bytes], Sequence[bytes]]
) -> Callable[[list[Block]], list[Block]]:
    """The `place`-th block of a kind becomes others."""

    def changed(blocks: list[Block]) -> list[Block]:
        index = [at for at, (one, _) in enumerate(blocks) if one == kind][place]
        return [*blocks[:index], *((kind, data) for data in change(blocks[index][1])), *blocks[index + 1 :]]

    return changed


def swapped(one: int, other: int) -> Callable[[list[Any]], list[Any]]:
    def swap(given: list[Any]) -> list[Any]:
        given = list(given)
        given[one], given[other] = given[other], given[one]
        return given

    return swap


def resigned(data: bytes, by: str) -> bytes:
    """A signature block by somebody else."""
    record = canonical.decode(data, size_max=1024)
    return canonical.encode(record | {"s": key(by).sign(Domain.EVENT, b"something")})


def stretched(data: bytes) -> bytes:
    """The same signature with L added to S: the same equation holds."""
    record = canonical.decode(data, size_max=1024)
    s = int.from_bytes(record["s"][32:], "little") + L
    return canonical.encode(record | {"s": record["s"][:32] + s.to_bytes(32, "little")})


def broken_vote(votes: list[SignedVote]) -> list[SignedVote]:
    last = votes[-1]
    return [*votes[:-1], SignedVote(last.vote, last.by, last.sig[:-1] + bytes([last.sig[-1] ^ 1]))]


def other_place(**fields: Any) -> Callable[[list[SignedVote]], list[SignedVote]]:
    """They vote, with good signatures, on something else."""

    def change(votes: list[SignedVote]) -> list[SignedVote]:
        names = {key(name).public: name for name in ("north", "east", "south", "west", "centre")}
        return [
            SignedVote.make(
                key(names[one.by]),
                Vote(**{name: getattr(one.vote, name) for name in one.vote.__struct_fields__} | fields),
            )
            for one in votes
        ]

    return change


def second_quorum(blocks: list[Block]) -> list[Block]:
    """Another certificate of height 6, as good as the one that height 7 names."""
    other = Forger(Lies(voters={6: voters("north", "east", "west")}))
    other.archive()
    theirs = [data for kind, data in other.blocks if kind == "certificate"]
    return at("certificate", 5, lambda data: [theirs[5]])(blocks)


def one_tip_more(height: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """An event of that height is named as well, though it adds nothing to what the tips reach."""

    def change(fields: dict[str, Any]) -> dict[str, Any]:
        honest = Forger()
        honest.archive()
        deltas = [data for kind, data in honest.blocks if kind == "delta"]
        ids = map(Cid, canonical.decode(deltas[height - 1], size_max=1 << 16))
        more = next(id for id in ids if id not in fields["tips"])
        return fields | {"tips": sorted([*fields["tips"], more])}

    return change


def deep(levels: int) -> bytes:
    return b"\x81" * levels + b"\x00"


def raw_block(file: bytes) -> bytes:
    """The last block under the codec of raw bytes."""
    data = Cid.of_raw(b"hello") + b"hello"
    return file + bytes([len(data)]) + data


def large_block(file: bytes) -> bytes:
    """A block larger than a genesis may be, which is the largest there is."""
    data = canonical.encode(bytes(256 * 1024))
    section = Cid.of(data) + data
    size = len(section)
    return file + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + section


def long_length(file: bytes) -> bytes:
    """The header's length in one byte more than it takes."""
    return bytes([file[0] | 0x80, 0x00]) + file[1:]


EPOCHS = {EPOCH_CHECKPOINTS: EPOCH}
RICH = (Allocation(bytes(32), 2**63 - 9),)
"""With the 9 of stake."""

CASES = [
    # -- the file ---------------------------------------------------------------------------------------
    Case("a_flipped_byte", "bad_archive", "hash", Lies(file=lambda f: f[:-1] + bytes([f[-1] ^ 1]))),
    Case("trailing_bytes", "bad_archive", "Invalid CAR", Lies(file=lambda f: f + b"\x00")),
    Case("a_cut_end", "bad_archive", "Unexpected end", Lies(file=lambda f: f[:-1])),
    Case("a_length_in_long_form", "bad_archive", "car", Lies(file=long_length)),
    Case("a_raw_block", "bad_archive", "hash", Lies(file=raw_block)),
    Case("a_block_too_large", "bad_archive", "size", Lies(file=large_block)),
    Case("a_trailing_block", "bad_archive", "end", Lies(blocks=lambda b: [*b, ("body", b[-2][1])])),
    Case("the_end_twice", "bad_archive", "end", Lies(blocks=lambda b: [*b, b[-1]])),
    Case("no_certificate_at_the_end", "bad_archive", "end", Lies(blocks=lambda b: b[:-1])),
    Case("a_missing_body", "bad_body", "event", Lies(blocks=at("body", 5, lambda _: []))),
    Case("a_block_twice", "bad_delta", "delta", Lies(blocks=at("body", 5, lambda d: [d, d]))),
    Case("roots_the_other_way", "bad_archive", "roots", Lies(roots=lambda r: r[::-1])),
    Case("roots_of_another_end", "bad_archive", "roots", Lies(roots=lambda r: [Cid.of(b"x"), r[1]])),
    Case("one_root_too_many", "bad_archive", "roots", Lies(roots=lambda r: [*r[:1], *r])),
    Case(
        "genesis_of_others",
        "bad_archive",
        "roots",
        Lies(blocks=at("genesis", 0, lambda _: [Forger(name="x").genesis.encode()])),
    ),
    Case("rules_beyond_all_versions", "bad_schema", "genesis", Lies(genesis=put(rules=2**31 + 1))),
    Case("no_rules", "bad_schema", "genesis", Lies(genesis=put(rules=0))),
    Case("a_parameter_without_a_name", "bad_schema", "genesis", Lies(genesis=put(params=EPOCHS | {"": 1}))),
    Case("more_money_than_a_number_holds", "bad_schema", "genesis", Lies(genesis=put(accounts=RICH))),
    # -- the chain --------------------------------------------------------------------------------------
    Case("a_height_left_out", "bad_checkpoint", "checkpoint", Lies(fields={LAST: put(height=8)})),
    Case("another_epoch", "bad_checkpoint", "checkpoint", Lies(fields={LAST: put(epoch=1)})),
    Case("a_slot_that_does_not_rise", "bad_checkpoint", "checkpoint", Lies(fields={8: put(slot=1)})),
    Case("another_parent", "bad_checkpoint", "checkpoint", Lies(fields={LAST: put(parent=Cid.of(b"x"))})),
    Case(
        "a_clock_ahead", "bad_checkpoint", "checkpoint", Lies(fields={LAST: lambda f: f | {"T": f["T"] + 1}})
    ),
    Case(
        "a_clock_behind", "bad_checkpoint", "checkpoint", Lies(fields={LAST: lambda f: f | {"T": f["T"] - 1}})
    ),
    Case("a_checkpoint_of_others", "wrong_network", "checkpoint", Lies(fields={LAST: put(net=Cid.of(b"x"))})),
    Case("a_field_more", "bad_schema", "checkpoint", Lies(fields={LAST: put(skips=[])})),
    Case("a_field_less", "bad_schema", "checkpoint", Lies(fields={LAST: without("rroot")})),
    Case("an_older_version", "bad_schema", "checkpoint", Lies(fields={LAST: put(v=1)})),
    # -- certificates -----------------------------------------------------------------------------------
    Case(
        "two_thirds_and_no_more",
        "bad_certificate",
        "certificate",
        Lies(voters={5: voters("east", "south", "west")}),
    ),
    Case("one_voter_twice", "bad_schema", "certificate", Lies(voters={5: voters("north", "east", "north")})),
    Case(
        "a_stranger_votes",
        "bad_certificate",
        "certificate",
        Lies(voters={5: voters("north", "east", "south", "stranger")}),
    ),
    Case(
        "a_voter_of_tomorrow",
        "bad_certificate",
        "certificate",
        Lies(voters={5: voters("north", "east", "centre")}),
    ),
    Case(
        "a_voter_of_yesterday",
        "bad_certificate",
        "certificate",
        Lies(voters={7: voters("north", "east", "west")}),
    ),
    Case("a_vote_not_signed", "bad_certificate", "certificate", Lies(votes={5: broken_vote})),
    Case(
        "votes_not_sorted",
        "bad_schema",
        "certificate",
        Lies(certificate={5: lambda c: c | {"votes": c["votes"][::-1]}}),
    ),
    Case(
        "votes_on_another",
        "bad_certificate",
        "certificate",
        Lies(votes={5: other_place(checkpoint=Cid.of(b"x"))}),
    ),
    Case("votes_in_an_older_slot", "bad_certificate", "certificate", Lies(votes={5: other_place(slot=2)})),
    Case("votes_of_another_epoch", "bad_certificate", "certificate", Lies(votes={5: other_place(epoch=0)})),
    Case(
        "votes_of_another_network",
        "wrong_network",
        "certificate",
        Lies(votes={5: other_place(net=Cid.of(b"x"))}),
    ),
    Case("votes_to_skip", "bad_schema", "certificate", Lies(phase={5: lambda _: Phase.SKIP})),
    Case("votes_to_propose", "bad_schema", "certificate", Lies(phase={5: lambda _: Phase.PROPOSE})),
    Case(
        "an_epoch_that_ends_unproven",
        "bad_certificate",
        "certificate",
        Lies(phase={6: lambda _: Phase.NOTARIZE}),
    ),
    Case(
        "an_end_that_is_not_final",
        "bad_certificate",
        "certificate",
        Lies(phase={8: lambda _: Phase.NOTARIZE}),
    ),
    Case(
        "the_end_of_another",
        "bad_certificate",
        "certificate",
        Lies(votes={8: other_place(checkpoint=Cid.of(b"x"))}),
    ),
    Case("a_certificate_not_named", "bad_certificate", "certificate", Lies(blocks=second_quorum)),
    Case("no_certificate_named", "bad_schema", "certificate", Lies(fields={LAST: put(cert=None)})),
    # -- validators -------------------------------------------------------------------------------------
    Case("other_validators_named", "bad_validators", "checkpoint", Lies(fields={5: put(vnext=Cid.of(b"x"))})),
    Case(
        "other_validators_shown",
        "bad_validators",
        "validators",
        Lies(blocks=at("validators", 0, lambda _: [set_of({"north": 1}).encode()])),
    ),
    Case(
        "validators_not_shown", "bad_validators", "validators", Lies(blocks=at("validators", 0, lambda _: []))
    ),
    # -- the cut ----------------------------------------------------------------------------------------
    Case("events_swapped", "bad_delta", "delta", Lies(order={LAST: swapped(0, 1)})),
    Case("a_child_before_its_parent", "not_closed", "event", Lies(order={LAST: swapped(1, 2)})),
    Case("an_event_dropped", "bad_delta", "tips", Lies(order={LAST: lambda ids: ids[1:]})),
    Case("a_delta_not_named", "bad_delta", "delta", Lies(fields={LAST: put(delta=Cid.of(b"x"))})),
    Case("a_tip_dropped", "bad_delta", "delta", Lies(fields={LAST: lambda f: f | {"tips": f["tips"][1:]}})),
    Case(
        "a_tip_from_nowhere",
        "bad_delta",
        "tips",
        Lies(fields={LAST: lambda f: f | {"tips": sorted([*f["tips"], Cid.of(b"x")])}}),
    ),
    Case(
        "tips_not_sorted", "bad_schema", "tips", Lies(fields={LAST: lambda f: f | {"tips": f["tips"][::-1]}})
    ),
    Case("a_tip_of_an_older_cut", "bad_checkpoint", "tips", Lies(fields={LAST: one_tip_more(1)})),
    Case("a_tip_below_another", "bad_checkpoint", "tips", Lies(fields={LAST: one_tip_more(LAST)})),
    Case("an_event_again", "bad_delta", "delta", Lies(order={LAST: lambda ids: [*ids, ids[-1]]})),
    Case(
        "a_leaf_too_many", "wrong_roots", "checkpoint", Lies(fields={LAST: lambda f: f | {"n": f["n"] + 1}})
    ),
    Case("another_root_of_events", "wrong_roots", "checkpoint", Lies(fields={LAST: put(eroot=bytes(32))})),
    # -- events -----------------------------------------------------------------------------------------
    Case(
        "a_signature_by_another",
        "bad_signature",
        "event",
        Lies(blocks=at("signature", -1, lambda d: [resigned(d, "bob")])),
    ),
    Case(
        "a_signature_stretched",
        "bad_signature",
        "event",
        Lies(blocks=at("signature", -1, lambda d: [stretched(d)])),
    ),
    Case(
        "the_signature_of_another",
        "bad_signature",
        "event",
        Lies(blocks=lambda b: at("signature", -1, lambda _: [[d for k, d in b if k == "signature"][-2]])(b)),
    ),
    Case("an_event_of_others", "wrong_network", "event", Lies(events=dave(net=Cid.of(b"another network")))),
    Case("logical_time_ahead", "bad_lc", "event", Lies(events=dave(lc=100))),
    Case("a_place_left_out", "bad_prev", "event", Lies(events=dave(seq=7))),
    Case(
        "on_somebody_else's_lane",
        "bad_prev",
        "event",
        Lies(events=event(lambda e: rewritten(e, "bob", by=key("bob").public))),
    ),
    Case("before_its_own_past", "bad_ts", "event", Lies(events=dave(ts=1))),
    Case("a_field_nobody_knows", "bad_schema", "event", Lies(events=dave(constructor=1))),
    Case("a_lane_too_many", "bad_schema", "event", Lies(events=dave(lane=3))),
    Case("a_version_beyond_all", "bad_schema", "event", Lies(events=dave(kv=2**31 + 1))),
    Case("an_empty_field", "non_canonical", "event", Lies(events=dave(par=[]))),
    Case("for_itself", "bad_schema", "event", Lies(events=dave(acct=key("dave").public))),
    Case("a_length_that_is_not", "bad_body", "event", Lies(events=dave(bl=1))),
    Case("a_body_that_is_not", "bad_body", "event", Lies(events=dave(body=Cid.of(b"x")))),
    Case("an_integer_in_long_form", "non_canonical", "CBOR decode error", Lies(events=body(b"\x18\x01"))),
    Case("keys_not_sorted", "non_canonical", "canonical", Lies(events=body(b"\xa2\x61b\x01\x61a\x01"))),
    Case("a_fraction", "non_canonical", "canonical", Lies(events=body(b"\xfb" + b"\x3f\xf8" + bytes(6)))),
    Case("less_than_nothing", "non_canonical", "canonical", Lies(events=body(b"\x20"))),
    Case(
        "more_than_an_integer", "non_canonical", "canonical", Lies(events=body(b"\x1b" + b"\x80" + bytes(7)))
    ),
    Case("text_in_two_ways", "non_canonical", "canonical", Lies(events=body(b"\x63e\xcc\x81"))),
    Case("too_deep", "non_canonical", "canonical", Lies(events=body(deep(9)))),
    Case("not_quite_text", "non_canonical", "canonical", Lies(events=body(b"\x61\xff"))),
    Case(
        "a_body_too_large", "bad_schema", "event", Lies(events=body(b"\x5a\x00\x01\x00\x00" + bytes(65_536)))
    ),
    # -- what only execution can tell: said so in the first lines of verify.mjs -----------------------------
    Case("another_state", "wrong_roots", None, Lies(executed={8: lambda roots: (bytes(32), roots[1])})),
    Case(
        "validators_that_nobody_bonded",
        "bad_checkpoint",
        None,
        Lies(
            fields={height: put(vnext=set_of({"stranger": 1}).id) for height in range(4, 9)},
            blocks=at("validators", 0, lambda _: [set_of({"stranger": 1}).encode()]),
            voters={7: voters("stranger"), 8: voters("stranger")},
        ),
    ),
    Case("other_receipts", "wrong_roots", None, Lies(executed={8: lambda roots: (roots[0], bytes(32))})),
]


@cache
def archive_of(name: str) -> bytes:
    lies = {case.name: case.lies for case in CASES}
    return Forger(lies.get(name)).archive()


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool, str]]:
    """What verify.mjs, run as it is on all archives at once, says of each: whether true, and why not."""
    folder = tmp_path_factory.mktemp("doctored")
    names = ["honest", *(case.name for case in CASES)]
    for name in names:
        (folder / f"{name}.car").write_bytes(archive_of(name))
    done = javascript.run_file(VERIFIER, folder, *(f"{name}.car" for name in names))
    assert done.returncode == 1, done.stderr
    lines = dict(line.split(".car: ", 1) for line in done.stdout.splitlines())
    assert list(lines) == names
    return {name: (line.startswith("true, "), line) for name, line in lines.items()}


@pytest.mark.slow
def test_both_accept_the_honest_archive(verified: dict[str, tuple[bool, str]]) -> None:
    """Four validators, three epochs with another set in the last, a fork, an empty height."""
    forger = Forger()
    report = audit(forger.archive(), MovingRules(), net=forger.net)
    assert report.problem is None
    assert (report.ok, report.height, report.events) == (True, 8, 24)
    assert verified["honest"] == (True, f"true, network {forger.net} up to height 8, 24 events")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_audit_finds_each_lie(case: Case) -> None:
    report = audit(archive_of(case.name), MovingRules(), net=None)
    assert report.problem is not None, "it passed"
    assert report.problem.code == case.audit, report.problem
    assert audit(archive_of(case.name), MovingRules(), net=None, jobs=2) == report


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stranger_finds_each_lie(case: Case, verified: dict[str, tuple[bool, str]]) -> None:
    ok, line = verified[case.name]
    assert ok == (case.verify is None), line
    if case.verify is not None:
        assert line.startswith("not true, ")
        reason = line.removeprefix("not true, ").partition(": ")[2]
        assert reason.startswith(case.verify), line


ODD = bytes((1,)) + bytes(31)
"""The neutral point as a key. With itself as R and S = 0 it signs everything, by ZIP215 and nobody else."""


def by_nobody(event: Event) -> Event:
    """The event as the first of a lane that belongs to no secret key."""
    header = canonical.decode(event.header_bytes, size_max=1024)
    fields = {**header, "by": ODD, "seq": 0, "lc": 1}
    data = canonical.encode({name: value for name, value in fields.items() if name != "prev"})
    parsed = parse_header(data, net=event.header.net)
    return Event(Cid.of(data), parsed, data, ODD + bytes(32), event.body, event.wire)


ODD_AND_TRUE = {
    "a_text_that_begins_with_a_mark": body(b"\x63\xef\xbb\xbf"),
    "a_kind_that_begins_with_a_mark": dave(k="\ufeffsay"),
    "a_map_like_a_link": body(canonical.encode({"/": 1, "bytes": 1})),
    "a_map_with_the_name_of_a_prototype": body(canonical.encode({"__proto__": 1})),
    "the_last_version": dave(kv=2**31),
}
"""What anybody may say, and packages of others trip over: then nobody could ever verify that history."""


@pytest.mark.slow
def test_both_accept_what_is_odd_and_true(tmp_path: Path) -> None:
    for name, events in ODD_AND_TRUE.items():
        forger = Forger(Lies(events=events))
        data = forger.archive()
        assert audit(data, MovingRules(), net=forger.net).problem is None, name
        (tmp_path / f"{name}.car").write_bytes(data)
    done = javascript.run_file(VERIFIER, tmp_path, *(f"{name}.car" for name in ODD_AND_TRUE))
    said = [line.partition(", network")[0] for line in done.stdout.splitlines()]
    assert said == [f"{name}.car: true" for name in ODD_AND_TRUE]
    assert done.returncode == 0


@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_not_said_to_lie(tmp_path: Path) -> None:
    """Whoever mistypes a name must not hear that the network's history is false."""
    (tmp_path / "honest.car").write_bytes(archive_of("honest"))
    done = javascript.run_file(VERIFIER, tmp_path, "missing.car", "honest.car")
    missing, honest = done.stdout.splitlines()
    assert missing.startswith("missing.car: cannot be read: ")
    assert honest.startswith("honest.car: true, ")
    assert done.returncode == 2


@pytest.mark.slow
def test_both_accept_what_only_zip215_accepts(tmp_path: Path) -> None:
    """One rule for odd signatures, the network's: else two honest auditors would disagree about one file."""
    forger = Forger(Lies(events=event(by_nobody)))
    data = forger.archive()
    assert audit(data, MovingRules(), net=forger.net).problem is None
    (tmp_path / "odd.car").write_bytes(data)
    assert javascript.run_file(VERIFIER, tmp_path, "odd.car").stdout.startswith("odd.car: true, ")


def test_each_lie_is_another_one() -> None:
    files = {archive_of(case.name) for case in CASES}
    assert len(files) == len(CASES) > 70


def test_the_packages_are_those_of_the_other_javascript_tests() -> None:
    """So that what is tested is what `npm install` gives beside the script."""
    ours = json.loads((VERIFIER.parent / "package.json").read_text())["dependencies"]
    tested = json.loads((Path(javascript.__file__).parent / "package.json").read_text())["dependencies"]
    assert ours.items() <= tested.items()
