"""Key files: never written over, never shared, and clear about what is wrong with them."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from fog import keys
from ledger.errors import UsageError
from ledger.signing import Domain, SigningKey, verify

PASSPHRASE = "grüße aus dem nebel"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device.key"


def code_of(attempt: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as refused:
        attempt()
    assert refused.value.next_step, "a usage error says what to do"
    return refused.value.code


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_a_created_key_comes_back(path: Path, passphrase: str | None):
    """The same identity, and it signs."""
    made = keys.create(path, passphrase=passphrase)
    loaded = keys.load(path, passphrase=passphrase)
    assert loaded.public == made.public
    assert verify(Domain.EVENT, made.public, b"m", loaded.sign(Domain.EVENT, b"m"))
    assert keys.is_encrypted(path) == (passphrase is not None)


def test_two_keys_are_never_the_same(tmp_path: Path):
    """They come from the system's random source."""
    assert keys.create(tmp_path / "a").public != keys.create(tmp_path / "b").public


def test_a_given_key_can_be_saved(path: Path):
    """One that was derived, or moved here from elsewhere."""
    keys.save(path, SigningKey(b"s" * 32))
    assert keys.load(path).seed == b"s" * 32


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_the_file_is_for_its_owner_alone(path: Path, umask: int):
    """Mode 0600 whatever the umask."""
    before = os.umask(umask)
    try:
        keys.create(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys.load(path)


def test_an_existing_file_is_never_written_over(path: Path):
    """Not even an empty one, and not through a link that leads nowhere."""
    path.write_bytes(b"")
    assert code_of(lambda: keys.create(path)) == "key_exists"
    assert path.read_bytes() == b""
    link = path.with_name("link")
    link.symlink_to(path.with_name("elsewhere"))
    assert code_of(lambda: keys.create(link)) == "key_exists"
    assert not path.with_name("elsewhere").exists()


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path):
    """Folders are made by whoever decides where things are."""
    assert code_of(lambda: keys.create(tmp_path / "nowhere" / "device.key")) == "key_unwritable"


def test_a_key_that_could_not_be_made_durable_is_not_left_behind(path: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk that fails at fsync: the caller hears it, and can try again at the same place."""

    def broken(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        assert code_of(lambda: keys.create(path)) == "key_unwritable"
    assert not path.exists()
    keys.create(path)


def test_a_missing_file_is_said_so(path: Path):
    """With the name that was looked for."""
    assert code_of(lambda: keys.load(path)) == "key_missing"
    with pytest.raises(UsageError, match=r"device\.key"):
        keys.load(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o700 | 0o010])
def test_a_file_that_others_may_use_is_not_used(path: Path, mode: int):
    """Whoever could read it could be us: the owner has to look, and to say that it is all right."""
    keys.create(path)
    path.chmod(mode)
    assert code_of(lambda: keys.load(path)) == "key_mode"
    path.chmod(0o400)
    keys.load(path)


def test_a_passphrase_must_be_the_right_one(path: Path):
    """Wrong, absent and empty are told apart."""
    keys.create(path, passphrase=PASSPHRASE)
    assert code_of(lambda: keys.load(path, passphrase="not this")) == "wrong_passphrase"
    assert code_of(lambda: keys.load(path)) == "passphrase_needed"
    assert code_of(lambda: keys.load(path, passphrase="")) == "passphrase_needed"


def test_a_passphrase_for_an_open_key_is_a_mistake(path: Path):
    """Somebody believes the key is protected, and it is not."""
    keys.create(path)
    assert code_of(lambda: keys.load(path, passphrase=PASSPHRASE)) == "passphrase_not_needed"


def test_an_empty_passphrase_protects_nothing(path: Path):
    """So no key is made under one."""
    assert code_of(lambda: keys.create(path, passphrase="")) == "empty_passphrase"
    assert not path.exists()


def test_a_passphrase_typed_in_another_way_is_the_same(path: Path):
    """`ü` as one character or as two."""
    made = keys.create(path, passphrase="gr\u00fc\u00dfe")
    assert keys.load(path, passphrase="gru\u0308\u00dfe").public == made.public


def pem_of(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


OTHER_CURVE = pem_of(ec.generate_private_key(ec.SECP256R1()))
GOOD = pem_of(ed25519.Ed25519PrivateKey.generate())


@pytest.mark.parametrize(
    "contents",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"hello", id="text"),
        pytest.param(bytes(64), id="zeros"),
        pytest.param(GOOD[:60], id="cut off"),
        pytest.param(GOOD.replace(b"PRIVATE", b"PUBLIC"), id="the wrong label"),
        pytest.param(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", id="an empty shell"),
        pytest.param(OTHER_CURVE, id="a key of another algorithm"),
        pytest.param(GOOD + bytes(keys.KEY_FILE_SIZE_MAX), id="far too long"),
    ],
)
def test_a_file_that_is_no_key_is_said_so(path: Path, contents: bytes):
    """In our words, not in those of a library."""
    path.write_bytes(contents)
    path.chmod(0o600)
    assert code_of(lambda: keys.load(path)) == "not_a_key"


def test_a_damaged_encrypted_key_is_not_a_key(path: Path):
    """A file cut off is not blamed on the passphrase."""
    keys.create(path, passphrase=PASSPHRASE)
    path.write_bytes(path.read_bytes()[:150])
    assert code_of(lambda: keys.load(path, passphrase=PASSPHRASE)) == "not_a_key"


def test_what_is_not_a_file_is_not_a_key(tmp_path: Path):
    """A folder, and a pipe, which would make a careless reader wait for ever."""
    tmp_path.chmod(0o700)
    assert code_of(lambda: keys.load(tmp_path)) == "not_a_key"
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert code_of(lambda: keys.load(tmp_path / "pipe")) == "not_a_key"


def test_no_message_shows_key_material(path: Path):
    """Errors end in logs and in bug reports."""
    made = keys.create(path, passphrase=PASSPHRASE)
    with pytest.raises(UsageError) as refused:
        keys.load(path, passphrase="secret guess")
    shown = f"{refused.value} {refused.value.next_step}"
    assert "secret guess" not in shown
    assert made.seed.hex() not in shown


def test_openssl_reads_the_same_key(path: Path):
    """The file is an ordinary PKCS#8 file: `openssl pkey` shows our public key."""
    assert shutil.which("openssl"), "openssl is needed to test that it reads our key files"
    made = keys.create(path, passphrase="abc")
    shown = subprocess.run(
        ["openssl", "pkey", "-in", str(path), "-passin", "pass:abc", "-pubout", "-outform", "DER"],
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert shown.stdout.endswith(made.public)
