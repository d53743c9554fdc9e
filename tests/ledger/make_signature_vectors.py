"""Builds tests/vectors/ed25519-zip215.json: odd signatures, and what noble says of each.

    python -m tests.ledger.make_signature_vectors

The cases are made here, without randomness; the verdicts are noble's and not ours, so the file is a second
opinion. `test_signing_interop` builds it again and compares.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import nacl.bindings

from ledger import zip215
from ledger.zip215 import L, P, Point
from tests.interop import javascript

VECTORS = Path(__file__).parent.parent / "vectors"
SPECCHECK = VECTORS / "ed25519-speccheck.json"
ZIP215 = VECTORS / "ed25519-zip215.json"

TORSION_VARIANTS = 500


class Case(NamedTuple):
    name: str
    public: bytes
    message: bytes
    signature: bytes


def compress(point: Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, P)
    return (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")


def _torsion_points() -> list[Point]:
    """The 8 points of small order: multiples of a generator of order 8."""
    for y in range(2, 100):
        point = zip215.decompress(y.to_bytes(32, "little"))
        if point is None:
            continue
        generator = zip215.IDENTITY
        for bit in bin(L)[2:]:
            generator = zip215.double(generator)
            if bit == "1":
                generator = zip215.add(generator, point)
        if compress(zip215.double(zip215.double(generator))) != compress(zip215.IDENTITY):
            multiples = [zip215.IDENTITY]
            while len(multiples) < 8:
                multiples.append(zip215.add(multiples[-1], generator))
            return multiples
    raise AssertionError("no generator of the torsion subgroup below y = 100")


TORSION = _torsion_points()


def _small_order_encodings() -> list[bytes]:
    """Every 32 bytes that decompress to a point of small order: 8 canonical spellings, 6 others."""
    spellings = set()
    for point in TORSION:
        canonical = compress(point)
        number = int.from_bytes(canonical, "little")
        y, x_is_zero = number & (2**255 - 1), point[0] % P == 0
        for same_y in (y, y + P):
            for sign in (0, 1) if x_is_zero else (number >> 255,):
                if same_y < 2**255:
                    spellings.add((same_y | sign << 255).to_bytes(32, "little"))
    return sorted(spellings)


SMALL_ORDER = _small_order_encodings()


def challenge(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


def scalar(*label: object) -> int:
    """A secret for a test: fixed by its label."""
    return challenge(repr(label).encode())


def times_base(secret: int) -> Point:
    """[secret]B by libsodium, so that the cases do not rest on the arithmetic they test."""
    if secret == 0:
        return zip215.IDENTITY
    point = zip215.decompress(
        nacl.bindings.crypto_scalarmult_ed25519_base_noclamp(secret.to_bytes(32, "little"))
    )
    assert point is not None
    return point


def small_order_pairs() -> Iterator[Case]:
    """All A x R of small order with S = 0: valid under ZIP215 whatever the message."""
    for i, public in enumerate(SMALL_ORDER):
        for j, r in enumerate(SMALL_ORDER):
            yield Case(f"small order A{i} R{j}", public, b"Zcash", r + bytes(32))


def torsion_variant(number: int) -> Case:
    """Signature `number`, made by somebody who knows the secrets and mixes torsion into A and R.

    Eight kinds, each with all 64 pairs of torsion (the last kind with as many as are left).
    """
    i, j, kind = number % 8, number // 8 % 8, number // 64
    a, r = scalar("a", number), scalar("r", number)
    message = f"torsion variant {number}".encode()
    if kind == 1:
        a = 0
    if kind in (2, 3):
        r = 0
    public = compress(zip215.add(times_base(a), TORSION[i]))
    commitment = compress(zip215.add(times_base(r), TORSION[j]))
    if kind in (2, 3):
        commitment = SMALL_ORDER[number % len(SMALL_ORDER)]  # spelled in all the ways there are
    hashed = commitment
    if kind == 3:
        point = zip215.decompress(commitment)
        assert point is not None
        hashed = compress(point)  # the signer hashed another spelling than it sent
    s = (r + challenge(hashed, public, message) * a) % L
    if kind == 4:
        s += L
    if kind == 5:
        s = (s + 1) % L
    if kind == 6:
        message += b"!"
    kinds = (
        "signed", "A of small order", "R of small order", "R respelled before hashing", "S + L", "S + 1",
        "another message", "signed",
    )  # fmt: skip
    return Case(f"{kinds[kind]}, A+{i}T R+{j}T", public, message, commitment + s.to_bytes(32, "little"))


def speccheck() -> list[Case]:
    rows = json.loads(SPECCHECK.read_text())["cases"]
    return [
        Case(f"speccheck {number}", *(bytes.fromhex(row[k]) for k in ("pub_key", "message", "signature")))
        for number, row in enumerate(rows)
    ]


def all_cases() -> list[Case]:
    variants = (torsion_variant(number) for number in range(TORSION_VARIANTS))
    return [*speccheck(), *small_order_pairs(), *variants]


def verdicts_of_noble(cases: Sequence[Case]) -> list[bool]:
    rows = [[case.public.hex(), case.message.hex(), case.signature.hex()] for case in cases]
    answers = json.loads(javascript.run("zip215.mjs", json.dumps(rows).encode()))
    assert len(answers) == len(cases)
    return list(answers)


def build() -> str:
    """The whole file: one case a line, so that a changed verdict is one changed line."""
    cases = all_cases()
    lines = (
        json.dumps([case.name, case.public.hex(), case.message.hex(), case.signature.hex(), valid])
        for case, valid in zip(cases, verdicts_of_noble(cases), strict=True)
    )
    about = (
        "name, public key, message, signature, valid under ZIP215 (verdict of @noble/curves ed25519.verify)"
    )
    return f'{{"columns": {json.dumps(about)},\n"cases": [\n' + ",\n".join(lines) + "\n]}\n"


def read() -> list[tuple[Case, bool]]:
    """The frozen file: cases and verdicts."""
    rows = json.loads(ZIP215.read_text())["cases"]
    return [(Case(row[0], *(bytes.fromhex(part) for part in row[1:4])), row[4]) for row in rows]


if __name__ == "__main__":
    ZIP215.write_text(build())
