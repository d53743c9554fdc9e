"""The auditor believes nobody: every changed byte and every lie is found, and placed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from ledger import canonical, car
from ledger.archive import Kind
from ledger.audit import AuditReport, audit
from ledger.cid import Cid
from ledger.errors import UsageError
from ledger.genesis import Genesis
from ledger.state import State
from ledger.store import Store
from ledger.verifying_processes import WORTH_WORKERS
from tests.ledger.histories import CREATED, CountingRules, History, certify, key, talk
from tests.ledger.paying import PayingRules
from tests.ledger.test_archive import archive_of, blocks_of, roots_of, written
from tests.ledger.world import START, Author, anchor, feed, finalize, follow, make_genesis, pay, replica

Blocks = list[tuple[Kind, bytes]]


def audited(data: bytes, net: Cid | None = None) -> AuditReport:
    return audit(data, CountingRules(), net=net)


def short() -> History:
    """Two events by two authors, two checkpoints: small enough to change every byte of it."""
    history = History(name="short")
    history.say("bob", after=[history.say("alice")])
    history.finalize()
    history.finalize()
    return history


def test_an_honest_archive_is_true(tmp_path: Path) -> None:
    """The report has the counts and the roots that the nodes had; bytes, path and open file are alike."""
    history = talk()
    data = archive_of(history)
    report = audited(data, history.net)
    assert report == AuditReport(
        ok=True,
        net=history.net,
        events=7,
        height=3,
        event_root=history.frontier.root(),
        state_root=history.state.root,
        problem=None,
    )
    path = tmp_path / "network.car"
    path.write_bytes(data)
    with path.open("rb") as stream:
        assert (
            audited(data)
            == audit(path, CountingRules(), net=None)
            == audit(stream, CountingRules(), net=None)
        )
    with pytest.raises(UsageError):
        audit(tmp_path / "nothing.car", CountingRules(), net=None)


def test_what_a_store_exports_is_true() -> None:
    """From the database to the report, rivals and all; and before the first checkpoint."""
    history = talk()
    store = Store.create("sqlite://", history.genesis)
    empty = audited(written(store))
    assert (empty.ok, empty.height, empty.events) == (True, 0, 0)
    assert audited(written(history.write_to(store))).ok


def test_replicas_at_one_height_export_one_archive_and_it_is_true() -> None:
    """Anchor and follower, payments and a double spend: the same bytes, with the roots that both have."""
    genesis = make_genesis(alice=100, bob=5)
    leader, follower = anchor(genesis), replica(genesis, "bob")
    alice = Author(genesis, "alice")
    first, rival = alice.fork(pay("bob", 60), pay("carol", 70))
    feed(leader, first)
    finalize(leader, START + 10)
    feed(leader, rival, alice.says(pay("bob", 1)))
    finalize(leader, START + 20)
    follow(follower, leader)
    one, other = written(leader.store), written(follower.store)
    assert one == other
    report = audit(one, PayingRules(), net=genesis.net)
    assert report.ok, str(report.problem)
    assert (report.height, report.events, report.state_root) == (2, 3, leader.state.root)
    assert not audit(one, PayingRules(bias=1), net=genesis.net).ok


def test_rules_that_do_not_know_the_network_are_a_problem_too() -> None:
    """An archive of a network that this program cannot execute gives a report, with the rules' own code."""

    class Newer(CountingRules):
        def genesis(self, genesis: Genesis) -> State:
            raise UsageError("rules of version 1, this program has 2", code="unknown_rules")

    problem = audit(archive_of(short()), Newer(), net=None).problem
    assert problem is not None
    assert problem.code == "unknown_rules"


def test_every_changed_byte_is_found() -> None:
    """One bit of each byte of an archive, one at a time: always a report that says what and where."""
    data = archive_of(short())
    assert audited(data).ok
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        report = audited(bytes(changed))
        assert not report.ok, f"bit {position % 8} of byte {position} changed and nothing was found"
        assert report.problem is not None
        assert report.problem.what
        assert report.problem.where


def test_every_other_value_of_a_framing_byte_is_found() -> None:
    """Lengths and Cid prefixes are outside of any hash: the 255 other values of each, for three blocks."""
    data = archive_of(short())
    blocks = list(car.Reader(io.BytesIO(data)))
    framing = [0, 1]
    for block in (blocks[0], blocks[4], blocks[-1]):
        framing += range(block.offset, block.offset + 6)
    for position in framing:
        for value in range(256):
            changed = data[:position] + bytes((value,)) + data[position + 1 :]
            assert audited(changed).ok == (changed == data), (position, value)


def test_every_cut_and_every_addition_is_found() -> None:
    """A file that ends early, or goes on, anywhere."""
    data = archive_of(short())
    for size in range(len(data)):
        assert not audited(data[:size]).ok, f"cut to {size} bytes"
    for extra in (b"\x00", data, car.block(canonical.encode({"extra": 1}))):
        assert not audited(data + extra).ok


def test_every_block_left_out_doubled_or_moved_is_found() -> None:
    """Each block in its place, once: an unreferenced or repeated one has no place to be."""
    history = talk()
    header = car.header(roots_of(history))
    blocks = [car.block(data) for _, data in blocks_of(history)]
    for index, block in enumerate(blocks):
        rest = blocks[:index] + blocks[index + 1 :]
        assert not audited(header + b"".join(rest)).ok
        for place in range(len(rest) + 1):
            doubled = [*blocks[:place], block, *blocks[place:]]
            assert not audited(header + b"".join(doubled)).ok
            moved = [*rest[:place], block, *rest[place:]]
            assert audited(header + b"".join(moved)).ok == (moved == blocks)


def test_a_problem_is_placed_and_what_was_verified_before_it_is_counted() -> None:
    """Height, event and byte are in the report, and the heights before it stand."""
    history = talk()
    blocks = list(blocks_of(history))
    index = [kind for kind, _ in blocks].index("signature", 12)
    event, signature = blocks[index - 1][1], canonical.decode(blocks[index][1], size_max=1000)
    blocks[index] = ("signature", canonical.encode({**signature, "s": bytes(64)}))
    report = audited(rebuilt(history, blocks))
    assert report.problem is not None
    assert report.problem.code == "bad_signature"
    assert "height 2" in report.problem.where
    assert str(Cid.of(event)) in report.problem.where
    assert "byte" in report.problem.where
    assert (report.height, report.events) == (1, 3)
    assert str(report.problem).startswith("height 2")


# -- lies with right hashes ---------------------------------------------------------------------------------


def rebuilt(
    history: History, blocks: Sequence[tuple[Kind, bytes]], roots: Sequence[Cid] | None = None
) -> bytes:
    """An archive of any blocks, each with its true hash: what a liar can write without any key."""
    return car.header(roots_of(history) if roots is None else roots) + b"".join(
        car.block(data) for _, data in blocks
    )


def code_of(data: bytes, net: Cid | None = None) -> str | None:
    problem = audited(data, net).problem
    return None if problem is None else problem.code


def exchanged(kind: Kind, data: bytes) -> bytes:
    """The archive with its first block of a kind exchanged for another one."""
    history = talk()
    blocks = list(blocks_of(history))
    index = [block[0] for block in blocks].index(kind)
    blocks[index] = (kind, data)
    return rebuilt(history, blocks)


def test_a_changed_byte_under_a_right_hash_is_found() -> None:
    """Every eighth byte of every block, with the block's hash (and the genesis root) made right again."""
    history = talk()
    blocks = list(blocks_of(history))
    for index, (kind, data) in enumerate(blocks):
        for position in range(index % 8, len(data), 8):
            changed = bytearray(data)
            changed[position] ^= 1 << position % 7
            roots = roots_of(history)
            if kind == "genesis":
                roots[-1] = Cid.of(bytes(changed))
            lie = [*blocks[:index], (kind, bytes(changed)), *blocks[index + 1 :]]
            assert not audited(rebuilt(history, lie, roots)).ok, (kind, index, position)


def test_another_network_is_refused_when_one_was_asked_for() -> None:
    """Without a wish any network is audited, and the report says which."""
    history = talk()
    assert code_of(archive_of(history), Cid.of(b"another")) == "wrong_network"
    assert audited(archive_of(history)).net == history.net


def test_roots_must_be_the_last_checkpoint_and_genesis() -> None:
    """Swapped, missing, too many, or an earlier checkpoint: the header is part of what is audited."""
    history = talk()
    blocks = list(blocks_of(history))
    last, genesis = roots_of(history)
    first = Cid.of(next(data for kind, data in blocks if kind == "checkpoint"))
    for roots in ([genesis, last], [genesis], [last], [], [last, last, genesis], [first, genesis]):
        assert code_of(rebuilt(history, blocks, roots)) == "bad_archive"


def test_an_archive_cut_at_a_height_says_so_only_with_other_roots() -> None:
    """Older history is true history, but not under the newer root."""
    history = talk()
    blocks = list(blocks_of(history))
    cut = [kind for kind, _ in blocks].index("checkpoint", 2)
    older = [*blocks[:cut], ("finality", blocks[cut + 1][1])]  # what shows a parent may be what made it final
    assert code_of(rebuilt(history, older)) == "bad_archive"
    first = Cid.of(older[1][1])
    assert code_of(rebuilt(history, older, [first, history.net])) is None


def test_an_exchanged_body_signature_or_certificate_is_found() -> None:
    """Each with a true hash, none the one that was signed for."""
    history = talk()
    checkpoint = msgspec.structs.replace(talk().finalize(), height=1)
    assert code_of(exchanged("body", canonical.encode({"text": "bye"}))) == "bad_body"
    assert (
        code_of(exchanged("signature", canonical.encode({"h": history.net, "s": bytes(64)})))
        == "bad_signature"
    )
    assert (
        code_of(exchanged("certificate", certify(key("anchor"), checkpoint, 1).encode())) == "bad_certificate"
    )
    assert code_of(exchanged("event", history.draft("dave").header_bytes)) == "bad_delta"
    assert code_of(exchanged("genesis", History(name="other").genesis.encode())) == "bad_archive"
    assert code_of(exchanged("delta", canonical.encode([history.net] * 3))) == "bad_delta"


def test_a_certificate_by_a_stranger_is_found() -> None:
    """Signed well, but not by the validator."""
    history = talk()
    first = next(step.final[0].checkpoint for step in history.steps if step.final)
    assert (
        code_of(exchanged("certificate", certify(key("stranger"), first, CREATED).encode()))
        == "bad_certificate"
    )


def lie(**lies: object) -> History:
    """The voter itself lies about one field of its second checkpoint."""
    history = History()
    one = history.say("alice")
    history.finalize()
    two = history.say("bob", after=[one])
    history.finalize_so([two], [two], **lies)
    return history


@pytest.mark.parametrize(
    ("lies", "code"),
    [
        ({}, None),
        ({"sroot": bytes(32)}, "wrong_roots"),
        ({"rroot": bytes(32)}, "wrong_roots"),
        ({"eroot": bytes(32)}, "wrong_roots"),
        ({"n": 5}, "wrong_roots"),
        ({"T": CREATED + 7_000}, "bad_checkpoint"),
        ({"slot": 1}, "bad_checkpoint"),
        ({"epoch": 1}, "bad_checkpoint"),
        ({"parent": Cid.of(b"")}, "bad_checkpoint"),
        ({"vnext": Cid.of(b"")}, "bad_validators"),
        ({"cert": Cid.of(b"")}, "bad_certificate"),
        ({"height": 3}, "bad_checkpoint"),
        ({"net": Cid.of(b"")}, "wrong_network"),
        ({"tips": ()}, "bad_delta"),
        ({"tips": (Cid.of(b""),)}, "bad_delta"),
        ({"delta": Cid.of(b"")}, "bad_delta"),
    ],
)
def test_a_quorum_s_own_lie_is_found(lies: dict[str, object], code: str | None) -> None:
    """Signed by all the stake there is, and still not what follows from the events."""
    assert code_of(archive_of(lie(**lies))) == code


@pytest.mark.parametrize(
    ("tips", "ordered", "code"),
    [
        ("c", "abc", None),
        ("b", "ab", None),
        ("ab", "ab", "bad_checkpoint"),
        ("b", "abc", "bad_delta"),
        ("", "a", "bad_delta"),
        ("c", "ac", "not_closed"),
        ("c", "bac", "not_closed"),
        ("c", "bc", "not_closed"),
    ],
)
def test_a_quorum_cannot_leave_out_add_or_reorder(tips: str, ordered: str, code: str | None) -> None:
    """Of a chain a, b, c the delta is what the tips reach, in the one order."""
    history = History()
    a = history.say("alice")
    b = history.say("bob", after=[a])
    said = {"a": a, "b": b, "c": history.say("carol", after=[b])}
    history.finalize_so([said[name] for name in tips], [said[name] for name in ordered])
    assert code_of(archive_of(history)) == code


def test_of_two_events_that_know_nothing_of_each_other_one_order_is_right() -> None:
    """Which one comes first is not the voter's choice."""

    def code(first: str, then: str) -> str | None:
        history = History()
        events = [history.say(first), history.say(then)]
        history.finalize_so(events, events)
        return code_of(archive_of(history))

    assert {code("alice", "bob"), code("bob", "alice")} == {None, "bad_delta"}


def test_an_event_ordered_twice_is_found() -> None:
    """Nothing takes effect twice, even if the whole quorum wants it."""
    history = History()
    one = history.say("alice")
    history.finalize()
    *blocks, (_, shown) = blocks_of(history)
    history.finalize_so([one], [])
    second = history.last
    assert second is not None
    doubled = msgspec.structs.replace(second.checkpoint, delta=Cid.of(canonical.encode([one.id])))
    certificate = certify(history.voter, doubled, CREATED + 2_000)
    blocks += [
        ("checkpoint", doubled.encode()),
        ("certificate", shown),
        ("delta", canonical.encode([one.id])),
        *blocks[-3:],
        ("finality", certificate.encode()),
    ]
    assert code_of(rebuilt(history, blocks, [doubled.id, history.net])) == "bad_delta"


@pytest.mark.parametrize(
    ("lies", "code"),
    [
        ({}, None),
        ({"lc": 3}, "bad_lc"),
        ({"ts": CREATED - 1}, "bad_ts"),
        ({"seq": 2}, "bad_prev"),
        ({"parents": (Cid.of(b""),)}, "not_closed"),
        ({"net": Cid.of(b"")}, "wrong_network"),
        ({"body": b"\xff"}, "non_canonical"),
        ({"body": b"\xfb" + bytes(8)}, "non_canonical"),
    ],
)
def test_a_misshapen_event_is_found_though_author_and_quorum_signed_it(
    lies: dict[str, object], code: str | None
) -> None:
    """Structure is checked for every event, not taken from the checkpoint."""
    history = History()
    one = history.say("alice")
    wrong = history.draft("alice", **lies)  # type: ignore[arg-type]
    history.arrive(wrong)
    history.finalize_so([wrong], [one, wrong])
    assert code_of(archive_of(history)) == code


# -- signatures lag behind ----------------------------------------------------------------------------------


def unsigned(history: History, number: int) -> list[tuple[Kind, bytes]]:
    """The blocks, with the signature of one event, counted from 0 in the archive, exchanged for zeros."""
    blocks = list(blocks_of(history))
    at = [index for index, (kind, _) in enumerate(blocks) if kind == "signature"][number]
    id = canonical.decode(blocks[at][1], size_max=1_000)["h"]
    blocks[at] = ("signature", canonical.encode({"h": id, "s": bytes(64)}))
    return blocks


def lying(*heights: int, lie: int) -> History:
    """Events by one author in checkpoints of these sizes; the checkpoint of height `lie` has a wrong root."""
    history = History(name="lying")
    for height, size in enumerate(heights, 1):
        said = [history.say("alice") for _ in range(size)]
        lies: dict[str, object] = {"sroot": bytes(32)} if height == lie else {}
        history.finalize_so([said[-1]], said, **lies)
    return history


def test_a_bad_signature_is_the_first_problem_although_what_follows_was_noticed_first() -> None:
    """The root of its own height, or of the one before: only what comes first in the log is told."""
    history = lying(2, 3, 2, lie=2)
    event = [event for step in history.steps for event in step.events][3]  # the second of height 2
    report = audited(rebuilt(history, unsigned(history, 3)))
    assert report.problem is not None
    assert (report.problem.code, report.height, report.events) == ("bad_signature", 1, 2)
    assert report.problem.where.startswith(f"height 2, body, event {event.id}")
    later = audited(rebuilt(history, unsigned(history, 5)))
    assert later.problem is not None
    assert (later.problem.code, later.height, later.events) == ("wrong_roots", 1, 2)
    assert later.problem == audited(archive_of(history)).problem


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "lie"), [(None, 0), (2_350, 0), (2_350, 2), (900, 2), (2_399, 1), (None, 2)]
)
def test_the_report_does_not_depend_on_how_many_processes_there_are(number: int | None, lie: int) -> None:
    """A log long enough for other processes to be started, true or with one or two lies."""
    history = lying(1_200, 1_200, lie=lie)
    data = archive_of(history) if number is None else rebuilt(history, unsigned(history, number))
    assert len(data) >= WORTH_WORKERS
    alone = audited(data)
    assert [audit(data, CountingRules(), net=None, jobs=jobs) for jobs in (2, 3)] == [alone, alone]
    assert alone.ok is (number is None and lie == 0)
