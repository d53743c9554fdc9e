"""`fog proof check`: a true answer passes, every other one does not, and the shell hears it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from domain.payloads import Transfer
from fog.cli import run
from fog.exits import Exit
from ledger import notes
from ledger.checkpoint import parse_checkpoint
from ledger.cid import Cid
from ledger.genesis import Genesis, Validator
from tests.ledger.histories import key
from tests.projections.test_proofs import Told, paths
from tests.projections.world import account

pytestmark = pytest.mark.trio

Check = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    told = Told(tmp_path)
    yield told
    told.store.close()


@pytest.fixture
def check(told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs the command on an answer; exit code, and what it printed as JSON."""
    genesis, file = tmp_path / "genesis.cbor", tmp_path / "answer.json"
    genesis.write_bytes(told.genesis.encode())

    def run_it(answer: Any, *words: str) -> tuple[int, dict[str, Any]]:
        file.write_text(json.dumps(answer))
        code = run(["proof", "check", str(file), "--genesis", str(genesis), *words, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out or said.err)

    return run_it


async def test_every_kind_of_answer_passes(told: Told, check: Check) -> None:
    state = f"proofs/state?key={account('alice').hex()}&table="
    questions = [*(f"{path}?proof=1" for path in paths(told)), "offers?proof=1"]
    for question in (*questions, f"{state}account", f"{state}nothing"):
        code, said = check(await told.get(question))
        assert (code, said["ok"], said["height"]) == (Exit.OK, True, 3), question
        assert said["rows"]


@pytest.fixture
def noted(told: Told, tmp_path: Path) -> Callable[[int, bytes], str]:
    """A note in a file, of so many leaves, whoever signed it."""

    def write(size: int, root: bytes) -> str:
        head = notes.TreeHead(notes.origin_of(told.genesis.net), size, root)
        (tmp_path / "note").write_bytes(notes.Note(head.text(), (notes.sign(head, key("w")),)).encode())
        return str(tmp_path / "note")

    return write


async def test_an_answer_is_of_the_history_of_a_note_that_is_trusted(
    told: Told, check: Check, noted: Callable[[int, bytes], str], tmp_path: Path
) -> None:
    """Older, as old, or younger than the answer; what relates them is asked for, and anybody may have it."""
    answer = await told.get(f"balances/{account('bob').hex()}?proof=1")
    checkpoints = [parse_checkpoint(data, net=told.genesis.net) for data, _ in told.store.checkpoints(1, 3)]
    first, _, last = checkpoints
    assert last.height == answer["height"]
    grown = tmp_path / "grown.json"
    grown.write_text(json.dumps(await told.get(f"proofs/consistency?first={first.n}&second={last.n}")))

    assert check(answer, "--note", noted(last.n, last.eroot))[1]["note"] == last.n
    code, said = check(answer, "--note", noted(first.n, first.eroot))
    assert (code, said["error"]["code"]) == (Exit.USAGE, "needs_consistency")
    assert f"first={first.n}&second={last.n}" in said["error"]["next_step"]
    code, said = check(answer, "--note", noted(first.n, first.eroot), "--grown", str(grown))
    assert (code, said["note"]) == (Exit.OK, first.n)

    told.network.say("alice", Transfer(account("bob"), 1))
    told.network.finalize()
    younger = parse_checkpoint(told.store.checkpoints(4, 1)[0][0], net=told.genesis.net)
    grown.write_text(json.dumps(await told.get(f"proofs/consistency?first={last.n}&second={younger.n}")))
    code, said = check(answer, "--note", noted(younger.n, younger.eroot), "--grown", str(grown))
    assert (code, said["note"]) == (Exit.OK, younger.n)


async def test_an_answer_of_another_history_than_that_of_the_note_fails(
    told: Told, check: Check, noted: Callable[[int, bytes], str], tmp_path: Path
) -> None:
    """However well it is signed: that is what those can do who left long ago."""
    answer = await told.get(f"balances/{account('bob').hex()}?proof=1")
    first, _, last = (
        parse_checkpoint(data, net=told.genesis.net) for data, _ in told.store.checkpoints(1, 3)
    )
    grown = tmp_path / "grown.json"
    grown.write_text(json.dumps(await told.get(f"proofs/consistency?first={first.n}&second={last.n}")))
    for size in (first.n, last.n):
        code, said = check(answer, "--note", noted(size, bytes(32)), "--grown", str(grown))
        assert (code, said["error"]["code"]) == (Exit.AUDIT_FAILED, "other_history")
    for garbage in ("", "[]", '{"path": ["x"]}', '{"path": [1]}'):
        grown.write_text(garbage)
        code, said = check(answer, "--note", noted(first.n, first.eroot), "--grown", str(grown))
        assert (code, said["error"]["code"]) == (Exit.AUDIT_FAILED, "bad_proof")


async def test_it_says_what_was_proven(told: Told, check: Check) -> None:
    _, said = check(await told.get(f"balances/{account('bob').hex()}?proof=1"))
    (row,) = said["rows"]
    assert row["says"] == {
        "account": account("bob").hex(),
        "free": {"value": "5"},
        "escrow": {"value": "0"},
        "pledged": {"value": "0"},
    }
    _, said = check(await told.get(f"events/{told.refused}?proof=1"))
    assert said["event"]["code"] == "insufficient_funds"


async def test_it_names_what_nothing_proves(told: Told, check: Check) -> None:
    """Since when something is so, and what only read models add up; of an older event, when it was."""
    open = {
        f"balances/{account('bob').hex()}": ["item.free.height", "item.escrow.height", "item.pledged.height"],
        f"reputation/{account('carol').hex()}": ["item.height", "item.runs", "item.fuel", "item.amount"],
        f"jobs/{told.job}": ["item.height", "item.escrow"],
        f"escrows/{told.escrow}": ["item.height", "item.opened"],
        f"validators/{account('alice').hex()}": [
            *("item.height", "item.votes", "item.votes_next", "item.slashed")
        ],
        "supply": [],
        "offers": ["next", "items.height"],
        f"events/{told.payment}": ["item.index", "item.time", "item.message"],
    }
    for path, names in open.items():
        assert check(await told.get(f"{path}?proof=1"))[1]["unproven"] == names, path
    state = await told.get(f"proofs/state?key={account('alice').hex()}&table=account")
    assert check(state)[1]["unproven"] == []


async def test_the_place_of_an_event_within_its_checkpoint_is_not_proven(told: Told, check: Check) -> None:
    """Nothing says how many events a checkpoint has, and the path of leaf 4 of 6 is one of leaf 2 of 4."""
    (fifth,) = told.store.finalized(4, 1)
    answer = await told.get(f"events/{fifth.event_id}?proof=1")
    receipt = answer["proof"]["receipt"]
    assert (answer["item"]["index"], receipt["index"], receipt["receipts"]) == (4, 4, 6)
    code, honest = check(answer)
    assert code == Exit.OK
    lie = changed(changed(answer, 2, "proof", "receipt", "index"), 4, "proof", "receipt", "receipts")
    code, said = check(changed(lie, 2, "item", "index"))
    assert code == Exit.OK
    assert "item.index" in said["unproven"]
    assert "index" not in said["event"]
    assert said == honest


async def test_a_true_row_beside_an_invented_answer_proves_nothing(told: Told, check: Check) -> None:
    """What only a row could say is not said by another one, nor by none; and nothing is said beside it."""
    nobody = "07" * 32
    balance = await told.get(f"balances/{nobody}?proof=1")
    job = await told.get(f"jobs/{told.job}?proof=1")
    escrow = await told.get(f"escrows/{told.escrow}?proof=1")
    offers = await told.get("offers?proof=1")
    never = Cid.of(b"never there")
    gone = {
        table: (await told.get(f"proofs/state?table={table}&key={never.hex()}"))["proof"]["rows"]
        for table in ("job", "tally", "escrow", "nothing")
    }

    def with_rows(answer: dict[str, Any], rows: list[Any], **item: Any) -> dict[str, Any]:
        return answer | {"item": answer["item"] | item, "proof": answer["proof"] | {"rows": rows}}

    rich = {name: {"value": "999", "status": "final", "height": 1} for name in ("free", "escrow", "pledged")}
    for lie in (
        with_rows(balance, gone["job"], **rich, job=str(never)),
        with_rows(balance, gone["nothing"], **rich),
        with_rows(balance, balance["proof"]["rows"] * 2),
        with_rows(job, gone["job"] + gone["tally"], job=str(never)),
        with_rows(job, job["proof"]["rows"][:1]),
        with_rows(job, job["proof"]["rows"], account=nobody, **rich),
        with_rows(escrow, gone["escrow"], escrow=str(never)),
        with_rows(escrow, gone["escrow"], escrow=str(never), state="closed"),
        offers | {"total": "999"},
    ):
        code, said = check(lie)
        assert (code, said["error"]["code"]) == (Exit.AUDIT_FAILED, "unproven"), lie
    both = offers | {"item": balance["item"] | rich}
    code, said = check(both)
    assert (code, said["error"]["code"]) == (Exit.AUDIT_FAILED, "bad_proof")


def changed(answer: dict[str, Any], value: Any, *at: Any) -> dict[str, Any]:
    lie = copy.deepcopy(answer)
    place = lie
    for name in at[:-1]:
        place = place[name]
    place[at[-1]] = value
    return lie


async def test_any_lie_in_an_answer_fails(told: Told, check: Check) -> None:
    """In what it tells, in the row, in the roots, in the height, in whose row it is."""
    balance = await told.get(f"balances/{account('alice').hex()}?proof=1")
    other = await told.get(f"balances/{account('bob').hex()}?proof=1")
    event = await told.get(f"events/{told.payment}?proof=1")
    reputation = await told.get(f"reputation/{account('carol').hex()}?proof=1")

    for lie in (
        changed(balance, "1", "item", "free", "value"),
        changed(balance, other["item"], "item"),
        changed(balance, other["proof"], "proof"),
        changed(balance, 2, "height"),
        changed(balance, [], "proof", "rows"),
        changed(balance, None, "proof", "rows", 0, "value"),
        changed(balance, "", "proof", "final", "certificate"),
        changed(balance, None, "proof"),
        changed(balance, None, "item"),
        changed(event, "rejected", "item", "code"),
        changed(event, 2, "item", "height"),
        changed(event, account("bob").hex(), "item", "device"),
        changed(event, 1, "item", "lane"),
        changed(event, event["item"]["seq"] + 1, "item", "seq"),
        changed(event, event["item"]["signed"] + 1, "item", "signed"),
        changed(event, event["time"] + 1, "time"),
        changed(event, other["proof"]["rows"], "proof", "rows"),
        changed(balance, balance["time"] + 1, "time"),
        changed(balance, "tentative", "item", "free", "status"),
        changed(reputation, 1, "item", "check_ppm"),
        changed(reputation, False, "item", "wrong"),
        changed(event, event["item"]["index"] + 1, "proof", "receipt", "index"),
        {"items": [], "height": 3, "proof": balance["proof"]},
        {"items": 1, "height": 3, "proof": balance["proof"]},
    ):
        code, said = check(lie)
        assert (code, said["error"]["exit"]) == (Exit.AUDIT_FAILED, Exit.AUDIT_FAILED)


async def test_a_row_is_not_to_be_read_as_one_of_another_table(told: Told, check: Check) -> None:
    """A zero parts the two on its path: moved into the name with the key's own zero, the path is the same."""
    answer = await told.get("proofs/state?table=account&key=0001")
    assert check(answer)[0] == Exit.OK
    row = answer["proof"]["rows"][0]
    for place in (row, answer["item"]):
        place["table"] = "account\x00"
    row["key"], answer["item"]["key"] = "AQ==", "01"
    code, said = check(answer)
    assert (code, said["error"]["code"]) == (Exit.AUDIT_FAILED, "bad_proof")


async def test_what_has_no_proof_is_a_wrong_question(told: Told, check: Check) -> None:
    for answer in (await told.get("jobs"), [], 7):
        code, said = check(answer)
        assert (code, said["error"]["code"]) == (Exit.USAGE, "no_answer")


NAMES = ("north", "east", "south", "west")


@pytest.fixture
def signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Runs `fog proof note` on the notes of four validators, one of them cosigned by a witness."""
    keys = sorted((key(name) for name in NAMES), key=lambda one: one.public)
    network = Genesis(1, "four", 1, 4, tuple(Validator(k.public, 1) for k in keys), (), {})
    (tmp_path / "genesis.cbor").write_bytes(network.encode())
    head = notes.TreeHead(notes.origin_of(network.net), 7, bytes(32))
    for name in NAMES:
        one = notes.Note(head.text(), (notes.sign(head, key(name)),))
        if name == "north":
            one = notes.Note(one.text, (*one.lines, notes.cosign(one, "example.org/w", key("w"), 5)))
        (tmp_path / name).write_bytes(one.encode())
    stranger = notes.Note(head.text(), (notes.sign(head, key("stranger")),))
    (tmp_path / "stranger").write_bytes(stranger.encode())

    def run_it(*words: str) -> tuple[int, dict[str, Any]]:
        files = [str(tmp_path / word) if (tmp_path / word).exists() else word for word in words]
        code = run(["proof", "note", *files, "--genesis", str(tmp_path / "genesis.cbor"), "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out or said.err)

    return run_it


W, V = (str(notes.witness_key(f"example.org/{name}", key(name).public)) for name in ("w", "v"))


@pytest.mark.parametrize(
    ("words", "stake", "quorum", "witnesses"),
    [
        (("north",), 1, False, {}),
        (("north", "--witness", W), 1, False, {"example.org/w": 5}),
        (("north", "--witness", V, "--witness", W, "--needed", "1"), 1, False, {"example.org/w": 5}),
        (("north", "east", "west", "--quorum", "--witness", W), 3, True, {"example.org/w": 5}),
    ],
)
async def test_a_note_says_who_stands_behind_it(
    signed: Callable[..., tuple[int, dict[str, Any]]],
    words: tuple[str, ...],
    stake: int,
    quorum: bool,
    witnesses: Any,
) -> None:
    code, said = signed(*words)
    assert code == Exit.OK, said
    assert (said["leaves"], said["stake"], said["quorum"], said["witnesses"]) == (7, stake, quorum, witnesses)


@pytest.mark.parametrize(
    ("words", "exit", "code"),
    [
        (("north", "east", "--quorum"), Exit.AUDIT_FAILED, "too_few_signatures"),
        (("east", "--witness", W), Exit.AUDIT_FAILED, "too_few_signatures"),
        (("north", "--witness", W, "--witness", V, "--needed", "2"), Exit.AUDIT_FAILED, "too_few_signatures"),
        (("north", "--witness", W, "--needed", "2"), Exit.USAGE, "bad_policy"),
        (("north", "--needed", "2"), Exit.USAGE, "bad_policy"),
        (("stranger",), Exit.AUDIT_FAILED, "too_few_signatures"),
        (("north", "--witness", "x"), Exit.USAGE, "bad_key"),
        ((__file__,), Exit.AUDIT_FAILED, "bad_note"),
    ],
)
async def test_too_few_behind_a_note_is_a_failed_audit(
    signed: Callable[..., tuple[int, dict[str, Any]]], words: tuple[str, ...], exit: Exit, code: str
) -> None:
    ended, said = signed(*words)
    assert (ended, said["error"]["code"]) == (exit, code)
