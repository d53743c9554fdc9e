"""The signature rule, live against noble: the library that an auditor in a browser would use."""

from __future__ import annotations

from ledger import zip215
from ledger.signing import Domain, SigningKey
from ledger.zip215 import L, P
from tests.ledger import make_signature_vectors as vectors
from tests.ledger.make_signature_vectors import Case


def test_noble_still_gives_the_frozen_verdicts():
    """The file in tests/vectors is, byte for byte, what building it now gives."""
    assert vectors.ZIP215.read_text() == vectors.build()


def _every_second_spelling() -> list[Case]:
    """A or R from the 19 values of y that can be written twice, with both signs, on the curve or not."""
    odd = [
        (y + high | sign << 255).to_bytes(32, "little")
        for y in range(19)
        for high in (0, P)
        for sign in (0, 1)
    ]
    plain = vectors.SMALL_ORDER[0]
    return [
        *(Case(f"A {n}", spelling, b"m", plain + bytes(32)) for n, spelling in enumerate(odd)),
        *(Case(f"R {n}", plain, b"m", spelling + bytes(32)) for n, spelling in enumerate(odd)),
    ]


def _damaged(count: int) -> list[Case]:
    """Valid signatures, each with one bit changed somewhere."""
    cases = []
    for number in range(count):
        case = vectors.torsion_variant(number)
        bit = vectors.scalar("bit", number) % (96 * 8)
        whole = int.from_bytes(case.public + case.signature, "little") ^ 1 << bit
        changed = whole.to_bytes(96, "little")
        cases.append(Case(f"bit {bit}", changed[:32], case.message, changed[32:]))
    return cases


def _edges_of_s() -> list[Case]:
    """S around 0, L and 2^256 on a pair of small order, where every S = 0 mod L satisfies the equation."""
    point = vectors.SMALL_ORDER[1]
    values = (0, 1, L - 1, L, L + 1, 2 * L, 8 * L, 2**253, 2**255, 2**256 - 1)
    return [Case(f"S = {s}", point, b"m", point + s.to_bytes(32, "little")) for s in values]


def test_noble_agrees_on_cases_that_no_file_holds():
    """Spellings, damage and limits of S: 300 more, judged by both sides now."""
    cases = [*_every_second_spelling(), *_damaged(138), *_edges_of_s()]
    noble = vectors.verdicts_of_noble(cases)
    ours = [zip215.verify(case.public, case.message, case.signature) for case in cases]
    disagreed = [case.name for case, a, b in zip(cases, ours, noble, strict=True) if a != b]
    assert disagreed == []
    assert len(cases) == 300
    assert 10 < sum(noble) < 290


def test_noble_verifies_what_we_sign():
    """An event's signature, checked by somebody who has only the prefix, the key and the bytes."""
    key = SigningKey(b"k" * 32)
    case = Case("ours", key.public, Domain.EVENT.value + b"header", key.sign(Domain.EVENT, b"header"))
    assert vectors.verdicts_of_noble([case]) == [True]
