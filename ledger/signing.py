"""Ed25519 identities and the one signature rule of the network: ZIP215.

Every signature is over `domain prefix + message`, so a signature made for one purpose is never valid
for another. No prefix is a prefix of another, and none is libp2p's.

The rule (https://zips.z.cash/zip-0215): S < L; A and R any encoding that decompresses, small order
included; the cofactored equation [8][S]B = [8]R + [8][k]A. What libsodium accepts is a subset of it, so
its yes is final and quick; its no is decided by `ledger.zip215`. An honest signer never needs the second.

Where it is installed (extra `fast`), ed25519-zebra, the library that ZIP215 was written after, says yes in
two thirds of libsodium's time. But it holds the interpreter's lock: it serves where no other thread waits.
"""

from __future__ import annotations

import enum

import nacl.bindings
import nacl.exceptions

from ledger import zip215

try:
    from ed25519_zebra import ed_verify as _zebra
except ImportError:  # the extra `fast` is not installed
    _zebra = None


class Domain(bytes, enum.Enum):
    """What a signature is for. The value is the prefix that is signed with the message."""

    EVENT = b"fogledger/v1/event\n"
    VOTE = b"fogledger/v1/vote\n"
    VOUCHER = b"fogledger/v1/voucher\n"
    NOTE = b"fog/"
    """Begins the text of a checkpoint note of ours, which is signed as it is (`ledger.notes`)."""
    COSIGNATURE = b"cosignature/v1\n"
    """Of a witness: the prefix that c2sp.org/tlog-cosignature asks for."""


class SigningKey:
    """An Ed25519 private key, held as its 32-byte seed. `repr` shows only the public half."""

    __slots__ = ("_secret", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        """`seed` is 32 bytes from the system's random source, or from a key file."""
        assert len(seed) == 32, "an Ed25519 seed has 32 bytes"
        self.seed = seed
        self.public, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)

    def sign(self, domain: Domain, message: bytes) -> bytes:
        """64 bytes, deterministic (RFC 8032)."""
        return nacl.bindings.crypto_sign(domain.value + message, self._secret)[:64]

    def __repr__(self) -> str:
        return f"<SigningKey {self.public.hex()[:16]}>"


def verify(domain: Domain, public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) over `domain + message` is by `public` (32 bytes), under ZIP215."""
    return verify_raw(public, domain.value + message, signature)


def verify_raw(public: bytes, message: bytes, signature: bytes) -> bool:
    """The rule itself, without a domain: for test vectors and for keys of other protocols."""
    if len(public) != 32 or len(signature) != 64:
        return False
    return is_surely_good(public, signature + message) or zip215.verify(public, message, signature)


def is_surely_good(public: bytes, signed: bytes) -> bool:
    """libsodium's answer about `signature + domain + message`: its yes is final, its no is not.

    For key and signature of the right length. Other threads run meanwhile.
    """
    try:
        nacl.bindings.crypto_sign_open(signed, public)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def verify_alone(public: bytes, message: bytes, signature: bytes) -> bool:
    """`verify_raw` for a process that has nothing to do meanwhile: quicker, but no other thread runs.

    For key and signature of the right length.
    """
    quick = _zebra(signature, message, public) if _zebra else is_surely_good(public, signature + message)
    return quick or zip215.verify(public, message, signature)
