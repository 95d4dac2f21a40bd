"""Certificates that handlers load: from files and bytes, PEM and DER, with keys that are locked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from qanat.handlers import Certificate

if TYPE_CHECKING:
    from pathlib import Path

EXPIRES = datetime.now(tz=UTC).replace(microsecond=0) + timedelta(days=9)
AUTHORITY = trustme.CA()
ISSUED = AUTHORITY.issue_cert(
    "one.test", "*.two.test", "127.0.0.1", not_after=EXPIRES.replace(tzinfo=None)
)
CHAIN = b"".join(blob.bytes() for blob in ISSUED.cert_chain_pems)
KEY = ISSUED.private_key_pem.bytes()


def key_as(encoding: Encoding, password: bytes | None = None) -> bytes:
    locked = NoEncryption() if password is None else BestAvailableEncryption(password)
    return load_pem_private_key(KEY, None).private_bytes(encoding, PrivateFormat.PKCS8, locked)


def test_names_and_the_end_of_its_time() -> None:
    certificate = Certificate.load(CHAIN, KEY)
    assert set(certificate.names) == {"one.test", "*.two.test", "127.0.0.1"}
    assert certificate.not_after == EXPIRES
    assert "handle" not in repr(certificate)


def test_files_and_bytes_of_both_forms(tmp_path: Path) -> None:
    der = x509.load_pem_x509_certificate(CHAIN).public_bytes(Encoding.DER)
    chain, key = tmp_path / "chain.pem", tmp_path / "key.der"
    chain.write_bytes(CHAIN)
    key.write_bytes(key_as(Encoding.DER))
    names = Certificate.load(CHAIN, KEY).names
    assert Certificate.load(chain, str(key)).names == names
    assert Certificate.load(der, key_as(Encoding.PEM)).names == names


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("password", ["secret", b"secret"])
def test_a_key_that_is_locked(encoding: Encoding, password: str | bytes) -> None:
    assert Certificate.load(CHAIN, key_as(encoding, b"secret"), password).names


def test_what_cannot_be_used() -> None:
    other = AUTHORITY.issue_cert("other.test").private_key_pem.bytes()
    locked = key_as(Encoding.PEM, b"secret")
    for chain, key, password, problem in (
        (CHAIN, other, None, "does not belong to the certificate"),
        (b"nonsense", KEY, None, "no certificate, neither as PEM nor as DER"),
        (CHAIN, b"nonsense", None, "the key is damaged"),
        (CHAIN, locked, None, "the key is encrypted: it needs its password"),
        (CHAIN, locked, "wrong", "the password is wrong, or"),
        (CHAIN, KEY, "secret", "the key is not encrypted"),
    ):
        with pytest.raises(ValueError, match=problem):
            Certificate.load(chain, key, password)
    with pytest.raises(FileNotFoundError):
        Certificate.load("absent.pem", KEY)
