"""PEM to DER. Apart from `certificate.py`, because loading the package for it takes longer than a
configuration without certificates should have to wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_UNKNOWN_KIND = "the key is of a kind that this version cannot read"


@dataclass(frozen=True, slots=True)
class Chain:
    """Certificates as DER, the leaf first, and the public key of the leaf."""

    certificates: tuple[bytes, ...]
    public: bytes


@dataclass(frozen=True, slots=True)
class Key:
    """A private key as PKCS #8, and its public half."""

    private: bytes
    public: bytes


def read_chain(pem: bytes) -> Chain:
    """Read all certificates of a text. Raise `ValueError`."""
    return _chain_of(_certificates(pem))


def read_any_chain(data: bytes) -> Chain:
    """Read all certificates of a PEM text, or one as DER. Raise `ValueError`."""
    if b"-----BEGIN " in data:
        return read_chain(data)
    try:
        leaf = x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise ValueError("this is no certificate, neither as PEM nor as DER") from error
    return _chain_of([leaf])


def _chain_of(chain: list[x509.Certificate]) -> Chain:
    try:
        publics = [
            one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for one in chain
        ]
    except (UnsupportedAlgorithm, ValueError) as error:
        message = "the certificate has a key of a kind that this version cannot read"
        raise ValueError(message) from error
    return Chain(tuple(one.public_bytes(Encoding.DER) for one in chain), publics[0])


def _certificates(pem: bytes) -> list[x509.Certificate]:
    # The words of the package are for its callers, with addresses of its documentation.
    if b" CERTIFICATE-----" not in pem:
        raise ValueError("no start line: there is no certificate in PEM form")
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ValueError("a certificate is damaged, or no X.509") from error


def read_key(pem: bytes) -> Key:
    """Read a private key. Raise `ValueError`."""
    if b"PRIVATE KEY-----" not in pem:
        raise ValueError("no start line: there is no private key in PEM form")
    try:
        return _key_of(load_pem_private_key(pem, password=None))
    except TypeError as error:
        raise ValueError("the key is encrypted, which this version cannot read") from error
    except UnsupportedAlgorithm as error:
        raise ValueError(_UNKNOWN_KIND) from error
    except ValueError as error:
        raise ValueError("the key is damaged") from error


def read_any_key(data: bytes, password: bytes | None) -> Key:
    """Read a private key, as PEM or DER, encrypted or not. Raise `ValueError`."""
    load = load_pem_private_key if b"-----BEGIN " in data else load_der_private_key
    is_open = password is None
    try:
        return _key_of(load(data, password))
    except TypeError as error:
        needs = "encrypted: it needs its password" if is_open else "not encrypted, and needs none"
        raise ValueError(f"the key is {needs}") from error
    except UnsupportedAlgorithm as error:
        raise ValueError(_UNKNOWN_KIND) from error
    except ValueError as error:
        guess = "" if is_open else "the password is wrong, or "
        raise ValueError(f"{guess}the key is damaged") from error


def _key_of(key: PrivateKeyTypes) -> Key:
    return Key(
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )
