"""PEM to DER. Apart from `certificate.py`, because loading the package for it takes longer than a
configuration without certificates should have to wait."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


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
    chain = _certificates(pem)
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
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ValueError("the key is encrypted, which this version cannot read") from error
    except UnsupportedAlgorithm as error:
        raise ValueError("the key is of a kind that this version cannot read") from error
    except ValueError as error:
        raise ValueError("the key is damaged") from error
    return Key(
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )
