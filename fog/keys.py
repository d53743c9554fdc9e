"""Key files: where a device's identity rests.

A key file is PKCS#8 PEM of an Ed25519 private key, mode 0600, optionally under a passphrase, so `openssl
pkey` reads it too. Knows files and their permissions; does not know what the key signs.

What must always hold: an existing file is never written over; a file that others may read is not used; a
key that `create` returned is on the disk; no message shows key material.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.errors import UsageError
from ledger.signing import SigningKey

KEY_FILE_SIZE_MAX: Final = 4096
"""Bytes. An encrypted key takes about 300; more than this is some other file."""

_ENCRYPTED: Final = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
_ENCRYPTED_END: Final = b"-----END ENCRYPTED PRIVATE KEY-----"


def create(path: Path, *, passphrase: str | None = None) -> SigningKey:
    """A new key from the system's random source, written to a new file. Raises like `save`."""
    key = SigningKey(os.urandom(32))
    save(path, key, passphrase=passphrase)
    return key


def save(path: Path, key: SigningKey, *, passphrase: str | None = None) -> None:
    """Write `key` to a new file in an existing folder; durable on return.

    Raises UsageError: `key_exists`, `key_unwritable`, `empty_passphrase`.
    """
    pem = Ed25519PrivateKey.from_private_bytes(key.seed).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, _encryption(passphrase)
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise UsageError(
            f"{path} exists already and is never written over",
            code="key_exists",
            next_step="choose another file name, or move the old key away and keep it",
        ) from error
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask took away
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)  # ours, and incomplete
        raise _unwritable(path, error) from error


def load(path: Path, *, passphrase: str | None = None) -> SigningKey:
    """The key in the file.

    Raises UsageError: `key_missing`, `key_unreadable`, `key_mode`, `not_a_key`, `passphrase_needed`,
    `passphrase_not_needed`, `wrong_passphrase`.
    """
    pem = _read(path)
    _check_passphrase(path, passphrase, is_encrypted=pem.startswith(_ENCRYPTED))
    try:
        private = serialization.load_pem_private_key(pem, _password(passphrase))
    except ValueError as error:
        # A wrong passphrase and damage inside look the same from here; a file cut off does not.
        if pem.rstrip().endswith(_ENCRYPTED_END):
            raise UsageError(
                f"the passphrase does not open {path}",
                code="wrong_passphrase",
                next_step="try again; if it is the right one, the file is damaged: use a copy of it",
            ) from error
        raise _not_a_key(path, "cannot be read as PKCS#8 PEM") from error
    except UnsupportedAlgorithm as error:
        raise _not_a_key(path, "is encrypted or made in a way that this program does not know") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _not_a_key(path, "holds a key of another algorithm")
    return SigningKey(private.private_bytes_raw())


def is_encrypted(path: Path) -> bool:
    """Whether `load` will need a passphrase: ask for one only then. Raises like `load`."""
    return _read(path).startswith(_ENCRYPTED)


def _read(path: Path) -> bytes:
    try:
        # Without O_NONBLOCK a named pipe in place of the file would hang us here.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no key file {path}",
            code="key_missing",
            next_step="create one, or name the right file",
        ) from error
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}",
            code="key_unreadable",
            next_step="check who owns the file and its folder",
        ) from error
    try:
        _check_file(path, os.fstat(descriptor))
        return os.read(descriptor, KEY_FILE_SIZE_MAX)
    finally:
        os.close(descriptor)


def _check_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _not_a_key(path, "is not a regular file")
    if status.st_size > KEY_FILE_SIZE_MAX:
        raise _not_a_key(path, f"has {status.st_size} bytes, a key file at most {KEY_FILE_SIZE_MAX}")
    if status.st_mode & 0o077:
        raise UsageError(
            f"others may use {path}: its mode is {stat.S_IMODE(status.st_mode):04o}, it must be 0600",
            code="key_mode",
            next_step=f"chmod 600 {path}",
        )


def _check_passphrase(path: Path, passphrase: str | None, *, is_encrypted: bool) -> None:
    if is_encrypted and not passphrase:
        raise UsageError(
            f"{path} is under a passphrase", code="passphrase_needed", next_step="give the passphrase"
        )
    if not is_encrypted and passphrase is not None:
        raise UsageError(
            f"{path} is not under a passphrase",
            code="passphrase_not_needed",
            next_step="leave the passphrase out",
        )


def _encryption(passphrase: str | None) -> serialization.KeySerializationEncryption:
    if passphrase is None:
        return serialization.NoEncryption()
    if not passphrase:
        raise UsageError(
            "an empty passphrase protects nothing",
            code="empty_passphrase",
            next_step="give a passphrase, or none at all",
        )
    return serialization.BestAvailableEncryption(_utf8(passphrase))


def _password(passphrase: str | None) -> bytes | None:
    return None if passphrase is None else _utf8(passphrase)


def _utf8(passphrase: str) -> bytes:
    """The same passphrase typed on another keyboard must give the same bytes."""
    return unicodedata.normalize("NFC", passphrase).encode()


def _sync_folder(folder: Path) -> None:
    """Make the file's name durable, not only its contents."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot write {path}: {error.strerror}",
        code="key_unwritable",
        next_step="check that the folder exists, is yours and has space",
    )


def _not_a_key(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} is not an Ed25519 key file: it {why}",
        code="not_a_key",
        next_step="name a file made by `fog`, or PKCS#8 PEM of an Ed25519 key",
    )
