"""Readers of what travels alone and must convince a stranger: warrants, vouchers, notes, proofs."""

from __future__ import annotations

from random import Random
from typing import Any

from domain import vouchers
from fog import voucher_line
from ledger import canonical, notes, proofs, warrants, witness
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError
from ledger.notes import VerifierKey
from ledger.proofs import Certified, Proof, Trust
from ledger.signing import Domain
from tests.fuzz.cast import NET, SIGNERS, closed, opened, signer
from tests.fuzz.target import CANONICAL, SCHEMA, Target
from tests.fuzz.targets_events import EVENT
from tests.ledger.histories import History

PROOF_SIZE_MAX = 64 * 1024
TRUST = Trust(History().genesis)
KNOWN = [
    *(notes.validator_key(NET, key.public) for key in SIGNERS[:2]),
    notes.witness_key("example.org/witness", SIGNERS[2].public),
]


def read_warrant(data: bytes) -> bytes:
    return warrants.parse(data, net=NET).encode()


def read_voucher(data: bytes) -> bytes:
    return vouchers.parse(data).encode()


def read_voucher_line(data: bytes) -> bytes | None:
    text = data.decode("utf-8", "replace")
    try:
        signed = voucher_line.read(text)
    except RemoteError as error:
        raise UsageError(str(error), code=error.code) from error
    line = voucher_line.write(signed)
    return None if "".join(text.split()).lower() == line else line.encode()


def read_note(data: bytes) -> bytes:
    note = notes.parse(data)
    note.head()
    notes.signers(note, KNOWN)
    return note.encode()


def read_verifier_key(data: bytes) -> bytes:
    return str(VerifierKey.parse(data.decode("utf-8", "replace"))).encode()


def read_witness_request(data: bytes) -> bytes:
    request = witness.parse_request(data)
    request.note.head()
    return witness.request(request.old, request.proof, request.note)


def read_proof(data: bytes) -> bytes:
    """All the way, as `fog proof` does: the checkpoint final, each row and the receipt as it says."""
    proof = canonical.decode_as(Proof, data, size_max=PROOF_SIZE_MAX)
    checkpoint = TRUST.check_final(proof.final)
    for row in proof.rows:
        proofs.check_row(row, checkpoint)
    if proof.receipt is not None:
        proofs.check_receipt(proof.receipt, checkpoint)
    assert isinstance(proof.final, Certified)
    return canonical.encode(proof)


def mend_warrant(data: bytes, rng: Random) -> bytes:
    """All headers are signed again, and the accused names the parents that are there."""
    warrant: Any = opened(data)
    if (
        type(warrant) is not dict
        or type(warrant.get("h")) is not bytes
        or type(warrant.get("parents")) is not list
    ):
        return data
    for signed in warrant["parents"]:
        if type(signed) is dict and type(signed.get("h")) is bytes:
            signed["s"] = _by(signed["h"], rng).sign(Domain.EVENT, signed["h"])
    accused = opened(warrant["h"])
    if type(accused) is dict and rng.random() < 0.7:
        ids = [
            Cid.of(one["h"])
            for one in warrant["parents"]
            if type(one) is dict and type(one.get("h")) is bytes
        ]
        ids = ids[1:] if "prev" in accused else ids
        accused = accused | {"par": sorted(ids)} if ids else accused
        warrant["h"] = closed(accused)
    warrant["s"] = _by(warrant["h"], rng).sign(Domain.EVENT, warrant["h"])
    return closed(warrant)


def _by(header: bytes, rng: Random) -> Any:
    fields = opened(header)
    return signer(fields.get("by") if type(fields) is dict else None, rng)


def mend_voucher(data: bytes, rng: Random) -> bytes:
    signed = opened(data)
    if type(signed) is not dict or type(signed.get("voucher")) is not dict:
        return data
    key = signer(signed.get("by"), rng)
    return closed(signed | {"by": key.public, "sig": key.sign(Domain.VOUCHER, closed(signed["voucher"]))})


NOTE = frozenset({"bad_note"})

TARGETS = (
    Target("warrant", read_warrant, EVENT | {"bad_proof"}, mend=mend_warrant, share=0.4),
    Target("voucher", read_voucher, SCHEMA | {"bad_signature"}, mend=mend_voucher, size_max=1024, share=0.4),
    Target(
        "voucher-line",
        read_voucher_line,
        frozenset({"bad_voucher_line", "bad_signature"}),
        error=UsageError,
        is_raw=True,
        size_max=1024,
        share=0.3,
    ),
    Target("note", read_note, NOTE, is_raw=True, share=0.3),
    Target("verifier-key", read_verifier_key, frozenset({"bad_key"}), is_raw=True, size_max=512, share=0.4),
    Target("witness-request", read_witness_request, NOTE | {"bad_request"}, is_raw=True, share=0.3),
    Target(
        "proof",
        read_proof,
        EVENT | CANONICAL | {"bad_proof", "bad_certificate"},
        size_max=16 * 1024,
        share=0.5,
    ),
)
