"""Several founders of one network: who validates with which stake, and who has which credits. Pure.

Each founder gives its key to one of them; that one makes the genesis object and invites the others, who join
with the keys they have. So no key ever leaves its machine, and what all agreed on is one hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fog.quantities import credits_from, credits_text
from ledger.errors import UsageError
from ledger.genesis import VALIDATORS_MAX, Allocation, Validator
from ledger.types import INT63_MAX
from ledger.zip215 import decompress

KEY_SIZE = 32  # bytes


def read(texts: Sequence[str], stake: int, free: int) -> dict[bytes, int]:
    """`KEY[=STAKE]` of each -> stake in micro-credits by key; `stake`, one's own, where none is given.

    Raises UsageError (`bad_founder`), also when all that with `free` credits cannot be counted.
    """
    found: dict[bytes, int] = {}
    for text in texts:
        name, given, amount = text.partition("=")
        key = _key(name)
        if key in found:
            raise _bad(f"{name} is named twice")
        found[key] = credits_from(amount) if given else stake
        if not found[key]:
            raise _bad(f"{name} would have no stake, and so decide nothing")
    if (total := free + stake + sum(found.values())) > INT63_MAX:
        raise UsageError(
            f"{credits_text(total)} credits are more than can be counted",
            next_step=f"at most {credits_text(INT63_MAX)} in all",
        )
    return found


def divide(
    own: bytes, stake: int, others: Mapping[bytes, int], free: int
) -> tuple[tuple[Validator, ...], tuple[Allocation, ...]]:
    """Validators and first balances, sorted by key. `free` is shared equally; what is left over is `own`'s.

    Raises UsageError (`bad_founder`).
    """
    if own in others:
        raise _bad("your own key is among the other founders")
    stakes = {own: stake, **others}
    if len(stakes) > VALIDATORS_MAX:
        raise _bad(f"{len(stakes)} founders, at most {VALIDATORS_MAX} can validate")
    part, rest = divmod(free, len(stakes))
    amounts = {key: part + (rest if key == own else 0) for key in stakes}
    return (
        tuple(Validator(key, stakes[key]) for key in sorted(stakes)),
        tuple(Allocation(key, amounts[key]) for key in sorted(stakes)),
    )


def _key(text: str) -> bytes:
    """A public key that can be one: a slip of the keyboard gives none in every second case."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE or text != key.hex():
        raise _bad(f"{text!r} is not a key: 64 hex digits")
    if decompress(key) is None:
        raise _bad(f"{text} is no key of anybody: it was changed on the way")
    return key


def _bad(message: str) -> UsageError:
    return UsageError(message, code="bad_founder", next_step="fog init --founder KEY, as `fog key` prints it")
