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
    try:
        chain = x509.load_pem_x509_certificates(pem)
        publics = [
            one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for one in chain
        ]
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    return Chain(tuple(one.public_bytes(Encoding.DER) for one in chain), publics[0])


def read_key(pem: bytes) -> Key:
    """Read a private key. Raise `ValueError`."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ValueError("the key is encrypted, which this version cannot read") from error
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    return Key(
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )
