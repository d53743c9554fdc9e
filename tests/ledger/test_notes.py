"""Signed notes of checkpoints: what is a note, who signed it, and what a known key's broken line means."""

from __future__ import annotations

import contextlib
import hashlib
from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from ledger import notes
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.genesis import Validator
from ledger.notes import Note, TreeHead, VerifierKey
from ledger.validators import ValidatorSet
from tests.ledger.histories import key

NET = Cid.of(b"a network")
HEAD = TreeHead(notes.origin_of(NET), 4_711, hashlib.sha256(b"root").digest())
VALIDATOR, SECOND, WITNESS = key("validator"), key("second"), key("witness")
VALIDATORS = [notes.validator_key(NET, one.public) for one in (VALIDATOR, SECOND)]
COSIGNER = notes.witness_key("example.org/witness", WITNESS.public)
TIME = 1_700_000_000


def signed() -> Note:
    note = Note(HEAD.text(), (notes.sign(HEAD, VALIDATOR), notes.sign(HEAD, SECOND)))
    return Note(note.text, (*note.lines, notes.cosign(note, COSIGNER.name, WITNESS, TIME)))


def test_a_note_is_its_text_an_empty_line_and_signatures() -> None:
    """By hand, as c2sp.org/signed-note and c2sp.org/tlog-checkpoint describe it."""
    text = f"fog/{NET}\n4711\n{b64encode(HEAD.root).decode()}\n"
    lines = signed().encode().decode().removeprefix(f"{text}\n").split("\n")
    assert len(lines) == 4
    assert [line.split(" ")[:2] for line in lines[:3]] == [
        ["—", f"fog/{NET}"],
        ["—", f"fog/{NET}"],
        ["—", "example.org/witness"],
    ]


def test_anybody_can_verify_a_line_with_a_plain_ed25519_library() -> None:
    """A validator signs the text as it is; a witness signs two lines more. Ids as specified."""
    note = signed()
    for line, name, kind, public, header in (
        (note.lines[0], HEAD.origin, 1, VALIDATOR.public, ""),
        (note.lines[2], COSIGNER.name, 4, WITNESS.public, f"cosignature/v1\ntime {TIME}\n"),
    ):
        data = b64decode(str(line).split(" ")[2])
        assert data[:4] == hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]
        if kind == 4:
            assert int.from_bytes(data[4:12], "big") == TIME
        Ed25519PublicKey.from_public_bytes(public).verify(data[-64:], (header + note.text).encode())


def test_what_was_written_is_read() -> None:
    note = signed()
    assert notes.parse(note.encode()) == note
    assert note.head() == HEAD
    assert notes.parse_lines(str(note.lines[2]).encode()) == (note.lines[2],)


def test_known_signers_are_found_and_others_passed_over() -> None:
    stranger = notes.validator_key(NET, key("stranger").public)
    assert notes.signers(signed(), [*VALIDATORS, COSIGNER, stranger]) == {
        VALIDATORS[0]: 0,
        VALIDATORS[1]: 0,
        COSIGNER: TIME,
    }
    assert notes.signers(signed(), [stranger]) == {}


def test_a_key_of_one_type_does_not_count_as_the_other() -> None:
    """The same name and key for a cosigner is another id, so its line is unknown."""
    assert notes.signers(signed(), [notes.witness_key(HEAD.origin, VALIDATOR.public)]) == {}


def test_a_broken_line_of_a_known_key_spoils_the_note() -> None:
    """Another root under the same signatures."""
    other = TreeHead(HEAD.origin, HEAD.size, bytes(32)).text()
    for known in (VALIDATORS[0], COSIGNER):
        with pytest.raises(RemoteError, match="not signed by"):
            notes.signers(Note(other, signed().lines), [known])


def test_enough_witnesses_is_a_count_of_keys() -> None:
    """One witness twice is one."""
    note = signed()
    again = Note(note.text, (*note.lines, notes.cosign(note, COSIGNER.name, WITNESS, TIME + 1)))
    other = notes.witness_key("example.org/other", key("other").public)
    assert notes.is_witnessed(again, [COSIGNER, other], 1)
    assert not notes.is_witnessed(again, [COSIGNER, other], 2)
    assert notes.signers(again, [COSIGNER]) == {COSIGNER: TIME + 1}


def test_verifier_keys_have_a_text_form() -> None:
    for known in (*VALIDATORS, COSIGNER):
        assert VerifierKey.parse(str(known)) == known


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+",
        str(COSIGNER).replace("example", "exemple"),
        str(COSIGNER)[:-4],
        f"+{COSIGNER.id.hex()}+AAAA",
        str(VerifierKey("example.org/pq", 6, bytes(32))),
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(RemoteError) as caught:
        VerifierKey.parse(text)
    assert caught.value.code == "bad_key"


GOOD = signed().encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        GOOD[:-1],
        GOOD.replace(b"\n\n", b"\n"),
        GOOD.replace(b"\n\n", b"\n\t\n\n"),
        GOOD.replace("—".encode(), b"-", 1),
        GOOD.replace(b"example.org/witness", b"example+org"),
        GOOD.replace(b"example.org/witness ", b""),
        GOOD + "— x AAAA\n".encode(),
        GOOD + "— x AAAAAAB=\n".encode(),
        GOOD + b"\xff\n",
        HEAD.text().encode() + b"\n" + str(signed().lines[0]).encode() * 161,
        b"x" * notes.NOTE_SIZE_MAX + GOOD,
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteError) as caught:
        notes.parse(data)
    assert caught.value.code == "bad_note"


@pytest.mark.parametrize(
    "text",
    [
        "a\n1\n",
        "a\n01\n" + b64encode(bytes(32)).decode() + "\n",
        "a\n-1\n" + b64encode(bytes(32)).decode() + "\n",
        "a\n9223372036854775808\n" + b64encode(bytes(32)).decode() + "\n",
        "a\n1\n" + b64encode(bytes(31)).decode() + "\n",
        "\n1\n" + b64encode(bytes(32)).decode() + "\n",
        "a\n1\n" + b64encode(bytes(32)).decode() + "\n\nx\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(RemoteError):
        Note(text, signed().lines).head()


def test_the_empty_tree_and_extension_lines_of_others_are_read() -> None:
    root = b64encode(bytes(32)).decode()
    assert Note(f"log\n0\n{root}\nmore\n", ()).head() == TreeHead("log", 0, bytes(32))


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode) | st.binary().map(GOOD.__add__))
def test_garbage_is_refused_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(RemoteError):
        notes.signers(notes.parse(data), [*VALIDATORS, COSIGNER])


def test_notes_of_several_validators_add_up_to_a_quorum() -> None:
    """Each serves its own; together they are as good as a certificate."""
    names = ("validator", "second", "third", "fourth")
    stakes = zip(names, (3, 2, 2, 2), strict=True)
    validators = ValidatorSet.of(Validator(key(name).public, stake) for name, stake in stakes)
    single = [Note(HEAD.text(), (notes.sign(HEAD, key(name)),)) for name in names]
    assert [notes.stake_behind(note, NET, validators) for note in single] == [3, 2, 2, 2]
    three = notes.merged([single[0], single[1], single[0], single[2]])
    assert len(three.lines) == 3
    assert validators.is_quorum(notes.stake_behind(three, NET, validators))
    stranger = Note(HEAD.text(), (notes.sign(HEAD, key("stranger")),))
    assert notes.stake_behind(notes.merged([single[0], stranger]), NET, validators) == 3


def test_notes_that_say_something_else_do_not_add_up() -> None:
    other = TreeHead(HEAD.origin, HEAD.size, bytes(32))
    with pytest.raises(RemoteError) as caught:
        notes.merged([signed(), Note(other.text(), (notes.sign(other, SECOND),))])
    assert caught.value.code == "different_notes"
    with pytest.raises(RemoteError) as caught:
        notes.stake_behind(signed(), Cid.of(b"another network"), ValidatorSet({}))
    assert caught.value.code == "wrong_network"
