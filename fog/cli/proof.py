"""`fog proof check`, `fog proof note`: what an API says, checked offline against the genesis of a network."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from fog.cli.session import examples, session_of
from fog.exits import AuditFailed
from ledger import genesis as geneses
from ledger import notes
from ledger.canonical import words_of
from ledger.errors import RemoteError, UsageError
from ledger.genesis import GENESIS_SIZE_MAX, Genesis
from ledger.notes import Note, TreeHead, VerifierKey
from ledger.validators import genesis_set

if TYPE_CHECKING:
    from ledger.checkpoint import Checkpoint
    from ledger.proofs import Proof

ANSWER_SIZE_MAX: Final = 32 * 1024 * 1024
"""Bytes of an answer: one receipt may have 16 MiB, and base64 makes more of them."""

proof = typer.Typer(
    help="Answers that prove themselves.",
    no_args_is_help=True,
    epilog=examples("fog proof check answer.json"),
)


def add_to(app: typer.Typer) -> None:
    app.add_typer(proof, name="proof")


@proof.command(
    epilog=examples(
        "curl 'http://127.0.0.1:7420/v1/balances/3b6a…29?proof=1' > answer.json",
        "fog proof check answer.json",
        "fog proof check answer.json --genesis genesis.cbor --json",
        "fog proof check answer.json --note note --grown grown.json",
    )
)
def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="An answer to a question with proof=1, from any node.")],
    genesis: Annotated[
        Path | None, typer.Option(help="The network's genesis object (else that of this node).")
    ] = None,
    note: Annotated[
        Path | None, typer.Option(help="A younger note that you trust: the answer must be of its history.")
    ] = None,
    grown: Annotated[
        Path | None, typer.Option(help="That one of both trees grew from the other: from proofs/consistency.")
    ] = None,
) -> None:
    """Check an answer offline, trusting only a genesis object, and a note if there is one. Exit 5 if it is
    not true, or not proven."""
    session = session_of(context)
    network = session.home.read_genesis() if genesis is None else read_genesis(genesis)
    answer = _answer(file)
    try:
        found, head = _checked(answer, network)
        if note is not None:
            found |= _in_history(head, notes.parse(_read(note, notes.NOTE_SIZE_MAX)).head(), grown)
    except RemoteError as error:
        is_open = error.code == "unproven"
        raise AuditFailed(
            f"{file} is not {'proven' if is_open else 'a true answer'}: {error}",
            code=error.code,
            next_step=_ASK_ELSE if is_open else "ask another node; keep this answer as evidence",
        ) from error
    session.say(found, *_lines(found))


@proof.command(
    epilog=examples(
        "curl 'http://127.0.0.1:7420/v1/checkpoint?cosigned=1' > note",
        "fog proof note note --witness example.org/w+5e0ac9f1+BE… --needed 1",
        "fog proof note north.note east.note south.note --quorum",
    )
)
def note(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Signed notes of one checkpoint, from any nodes.")],
    witness: Annotated[
        list[str] | None, typer.Option(help="Verifier key of a witness that you trust. Repeat.")
    ] = None,
    needed: Annotated[
        int | None, typer.Option(min=0, help="How many of them must have cosigned (else 1).")
    ] = None,
    quorum: Annotated[
        bool, typer.Option("--quorum", help="Insist on more than two thirds of the stake at genesis.")
    ] = False,
    genesis: Annotated[
        Path | None, typer.Option(help="The network's genesis object (else that of this node).")
    ] = None,
) -> None:
    """Check who stands behind a checkpoint: validators of the genesis, and witnesses. Exit 5 if too few."""
    session = session_of(context)
    network = session.home.read_genesis() if genesis is None else read_genesis(genesis)
    try:
        trusted = [VerifierKey.parse(word) for word in witness or []]
    except RemoteError as error:
        raise UsageError(str(error), code=error.code, next_step="`fog witness` prints its key") from error
    least = min(1, len(trusted)) if needed is None else needed
    if least > len(trusted):
        raise UsageError(
            f"{least} of {len(trusted)} witnesses", code="bad_policy", next_step="name more, or need fewer"
        )
    try:
        whole = notes.merged(notes.parse(_read(file, notes.NOTE_SIZE_MAX)) for file in files)
        found = _signed_by(whole, network, trusted)
    except RemoteError as error:
        raise AuditFailed(str(error), code=error.code, next_step="ask another node for its note") from error
    enough = len(found["witnesses"]) >= least and (found["witnesses"] or found["stake"])
    if not enough or (quorum and not found["quorum"]):
        raise AuditFailed(
            f"signed by {found['stake']} of {network.stake} stake and {len(found['witnesses'])} of "
            f"{len(trusted)} witnesses",
            code="too_few_signatures",
            next_step="ask more validators, or wait for the witnesses",
        )
    session.say(found, *[f"{name:<12}{value}" for name, value in found.items()])


def _signed_by(note: Note, network: Genesis, witnesses: list[VerifierKey]) -> dict[str, Any]:
    head, validators = note.head(), genesis_set(network)
    stake = notes.stake_behind(note, network.net, validators)
    return {
        "ok": True,
        "network": str(network.net),
        "leaves": head.size,
        "event_root": head.root.hex(),
        "stake": stake,
        "quorum": validators.is_quorum(stake),
        "witnesses": {key.name: time for key, time in notes.signers(note, witnesses).items()},
    }


def _checked(answer: dict[str, Any], network: Genesis) -> tuple[dict[str, Any], TreeHead]:
    """What was proven, and the event tree as of then. Raises RemoteError for anything in the answer that does
    not follow."""
    from ledger.proofs import Proof, Trust

    try:
        given = msgspec.convert(answer.get("proof"), Proof, strict=True)
    except msgspec.ValidationError as error:
        raise RemoteError(f"its proof cannot be read: {error}", code="bad_proof") from error
    checkpoint = Trust(network).check_final(given.final)
    found: dict[str, Any] = {
        "ok": True,
        "height": checkpoint.height,
        "time": checkpoint.T,
        "checkpoint": str(checkpoint.id),
    }
    head = TreeHead(notes.origin_of(network.net), checkpoint.n, checkpoint.eroot)
    if ("item" in answer) == ("items" in answer) or (given.receipt is not None and given.rows):
        raise RemoteError(
            "one item or a list, and a receipt or rows: not both, nor neither", code="bad_proof"
        )
    around = _around(answer, checkpoint, exactly=given.receipt is None)
    if given.receipt is not None:
        proven, left = _event(answer, given, checkpoint)
    else:
        proven, left = _rows(answer, given, checkpoint)
    return found | proven | {"unproven": [*around, *left]}, head


def _around(answer: dict[str, Any], checkpoint: Checkpoint, *, exactly: bool) -> list[str]:
    """Names of the fields around the answer's items that nothing decides. Raises RemoteError for other times.

    `exactly`: as of this checkpoint. That of an event is of any height: it stays as it is.
    """
    from projections.told import differing

    names = [name for name in answer if name not in ("proof", "item", "items")]
    if strange := [name for name in names if name not in ("height", "time", "next")]:
        raise RemoteError(f"no answer has a field {strange[0][:40]!r}", code="unproven")
    if not exactly and answer.get("height") != checkpoint.height:
        return names
    now = {"height": checkpoint.height, "time": checkpoint.T}
    if wrong := differing({name: answer.get(name) for name in now}, now):
        raise RemoteError(f"proven is height {now['height']} at {now['time']}: not {wrong}", code="bad_proof")
    return [name for name in names if name not in now]


def _in_history(proven: TreeHead, trusted: TreeHead, grown: Path | None) -> dict[str, Any]:
    """That one tree is the beginning of the other. Raises RemoteError (`other_history`, …)."""
    from ledger.merkle import PROOF_HASHES_MAX, verify_consistency

    if proven.origin != trusted.origin:
        raise RemoteError(f"a note of {trusted.origin[:100]}, not of {proven.origin}", code="wrong_network")
    first, second = sorted((proven, trusted), key=lambda head: head.size)
    path: tuple[bytes, ...] = ()
    if first.size != second.size:
        if grown is None:
            raise UsageError(
                f"{first.size} and {second.size} leaves: did the one tree grow from the other?",
                code="needs_consistency",
                next_step=f"ask any node for /v1/proofs/consistency?first={first.size}&second={second.size}, "
                "and give the answer with --grown",
            )
        try:
            given = msgspec.json.decode(_read(grown, ANSWER_SIZE_MAX), type=_Grown)
            path = tuple(map(bytes.fromhex, given.path[: PROOF_HASHES_MAX + 1]))
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
            raise RemoteError(f"{grown} is no proof of consistency: {error}", code="bad_proof") from error
    if not verify_consistency(first.size, second.size, first.root, second.root, path):
        raise RemoteError(f"not of the history of the note, of {trusted.size} leaves", code="other_history")
    return {"note": trusted.size}


class _Grown(msgspec.Struct):
    """Of the answer of proofs/consistency."""

    path: list[str]


def _rows(
    answer: dict[str, Any], given: Proof, checkpoint: Checkpoint
) -> tuple[dict[str, Any], Iterable[str]]:
    """What the rows say, and the fields of the answer that they leave open."""
    from ledger.proofs import check_row
    from projections.told import mismatches, told, unproven

    for row in given.rows:
        check_row(row, checkpoint)
    if not given.rows:
        raise RemoteError("nothing is proven beside it", code="unproven")
    if "items" in answer:
        where = "items"
        parts = [(item, [row]) for item, row in zip_longest(_list(answer["items"]), given.rows)]
    else:
        where = "item"
        parts = [(answer["item"], list(given.rows))]
    left: dict[str, None] = {}
    for item, rows in parts:
        if item is None or None in rows:
            raise RemoteError("not a row for each item, and an item for each row", code="bad_proof")
        left |= dict.fromkeys(f"{where}.{name}" for name in unproven(item, rows))
        if wrong := mismatches(item, rows):
            raise RemoteError(f"it says something else than its rows: {', '.join(wrong)}", code="bad_proof")
    said = [
        {"table": row.table, "key": row.key.hex(), "there": row.value is not None, "says": told(row)}
        for row in given.rows
    ]
    return {"rows": said}, left


def _list(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    raise RemoteError("its items are no list", code="bad_proof")


def _event(
    answer: dict[str, Any], given: Proof, checkpoint: Checkpoint
) -> tuple[dict[str, Any], Iterable[str]]:
    """What header and receipt say, and the fields of the answer that they leave open.

    `index` is one: it proves itself only together with `receipts`, of which nobody knows how many there were.
    """
    from ledger.proofs import check_receipt
    from projections import answers
    from projections.told import differing, left_open

    assert given.receipt is not None
    proven = check_receipt(given.receipt, checkpoint)
    header = proven.header
    says = {
        "event": str(proven.id),
        "kind": header.k,
        "account": (header.by if header.acct is None else header.acct).hex(),
        "device": header.by.hex(),
        "lane": header.lane,
        "seq": header.seq,
        "signed": header.ts,
        "code": proven.receipt.code,
        "height": proven.height,
        "status": "final",
    }
    if proven.height == checkpoint.height:
        says["time"] = checkpoint.T
    item = answer.get("item")
    left = [f"item.{name}" for name in left_open(item, says, answers.Event)]
    if wrong := differing(item, says):
        raise RemoteError(f"it says something else than its receipt: {', '.join(wrong)}", code="bad_proof")
    return {"position": proven.position, "event": says}, left


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [f"final at height {found['height']}, checkpoint {found['checkpoint']}"]
    for row in found.get("rows", []):
        what = json.dumps(row["says"]) if row["there"] else "is not there"
        lines.append(f"{json.dumps(row['table'])[1:-1]}/{row['key']}  {what}")
    if "event" in found:
        lines.append(f"event {found['event']['event']}  {json.dumps(found['event'])}")
    if found["unproven"]:
        lines.append(f"not proven, whatever they say: {', '.join(found['unproven'])}")
    return lines


def _answer(file: Path) -> dict[str, Any]:
    data = _read(file, ANSWER_SIZE_MAX)
    try:
        answer = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f"{file} is not JSON: {words_of(error)}", code="no_answer", next_step=_ASK
        ) from error
    if not isinstance(answer, dict) or "proof" not in answer:
        raise UsageError(f"{file} has no proof in it", code="no_answer", next_step=_ASK)
    return answer


def read_genesis(file: Path) -> Genesis:
    """Raises UsageError (`bad_genesis`, `file`)."""
    try:
        return geneses.parse(_read(file, GENESIS_SIZE_MAX))
    except RemoteError as error:
        raise UsageError(
            f"{file} is not a genesis object: {error}",
            code="bad_genesis",
            next_step="give the genesis.cbor of a node's data directory",
        ) from error


def _read(file: Path, size_max: int) -> bytes:
    with file.open("rb") as stream:
        data = stream.read(size_max + 1)
    if len(data) > size_max:
        raise UsageError(
            f"{file} has more than {size_max} bytes", code="file", next_step="is it the right file?"
        )
    return data


_ASK_ELSE: Final = (
    "what is not in the state is asked for with proofs/state, and how it ended with that event and proof=1; "
    "a newer node may have fields that this version cannot judge"
)
_ASK: Final = "ask the API with proof=1 and keep the whole answer"
