"""Ed25519 verification under ZIP215, complete and slow: the judge for what libsodium refuses.

The rule (https://zips.z.cash/zip-0215), in full:
    S            little-endian, S < L
    A and R      any 32 bytes that decompress: y >= p, x = 0 with the sign bit, and small order included
    equation     [8][S]B = [8]R + [8][k]A, with k = SHA-512(R || A || M) over the bytes as they came

Knows the curve and nothing else. No secret passes through here, so nothing needs constant time: about
3 ms a signature. What must always hold: every signature that libsodium accepts is accepted here, and the
answer for any 32 + 64 bytes equals that of noble's `ed25519.verify` with its default, `zip215: true`.

Points are extended coordinates (X, Y, Z, T), x = X/Z, y = Y/Z, xy = T/Z (RFC 8032, section 5.1.4).
"""

from __future__ import annotations

import hashlib
from typing import Final

Point = tuple[int, int, int, int]

P: Final = 2**255 - 19
L: Final = 2**252 + 27742317777372353535851937790883648493
D: Final = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_1: Final = pow(2, (P - 1) // 4, P)
IDENTITY: Final[Point] = (0, 1, 1, 0)


def decompress(encoded: bytes) -> Point | None:
    """32 bytes -> a point, by RFC 8032 section 5.1.3 without its refusals of odd encodings.

    None when no point of the curve has this y.
    """
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, (number & (2**255 - 1)) % P
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    if (v * x * x + u) % P == 0:
        x = x * SQRT_MINUS_1 % P
    if (v * x * x - u) % P != 0:
        return None
    if x & 1 != sign:
        x = -x % P  # x = 0 stays 0: "minus zero" is accepted
    return (x, y, 1, x * y % P)


def add(p: Point, q: Point) -> Point:
    """Complete: also right for p = q, for the identity and for small order."""
    x1, y1, z1, t1 = p
    x2, y2, z2, t2 = q
    a, b = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * D * t1 * t2 % P, 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def double(p: Point) -> Point:
    x, y, z, _ = p
    a, b = x * x % P, y * y % P
    h = a + b
    e, g = h - (x + y) * (x + y) % P, a - b
    f = 2 * z * z % P + g
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def negate(p: Point) -> Point:
    x, y, z, t = p
    return (-x % P, y, z, -t % P)


def _combination(m: int, p: Point, n: int, q: Point) -> Point:
    """[m]p + [n]q in one pass over the bits of both (Straus)."""
    table = (IDENTITY, p, q, add(p, q))
    total = IDENTITY
    for bit in range(max(m.bit_length(), n.bit_length()) - 1, -1, -1):
        total = double(total)
        index = (m >> bit & 1) | (n >> bit & 1) << 1
        if index:
            total = add(total, table[index])
    return total


def _base_point() -> Point:
    base = decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    assert base is not None
    return base


BASE: Final = _base_point()


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` is by `public` (32 bytes). Never raises."""
    if len(public) != 32 or len(signature) != 64:
        return False
    s = int.from_bytes(signature[32:], "little")
    a, r = decompress(public), decompress(signature[:32])
    if s >= L or a is None or r is None:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    # k may be reduced by L although A can have torsion: what that changes is killed by the cofactor.
    rest = add(_combination(s, BASE, k, negate(a)), negate(r))
    x, y, z, _ = double(double(double(rest)))
    return x == 0 and y == z
