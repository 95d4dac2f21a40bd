"""Certificates and keys: from PEM, in a file or after `data:`, to DER with a digest as the id.

Results are cached by a file's path and stamp, or by the text itself, so that any number of servers
that share a file read it once, and a virtual server added later reads it again only if it changed.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from qanat.compiler import plan

_CACHED = 4096
_DATA = "data:"


class CertificateError(ValueError):
    """A certificate or key that cannot be used; the message is nginx's."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where PEM comes from: `data:` text, or an absolute path with the stamp of the file at that
    moment."""

    text: str
    stamp: tuple[int, int, int] = (0, 0, 0)

    @property
    def name(self) -> str:
        """The source as messages show it: never the text of a key."""
        return "data:" if self.text.startswith(_DATA) else self.text


def source_of(text: str, what: str) -> Source:
    """Look at a file (or take `data:` text) without reading it; `what` is `certificate` or
    `certificate key`."""
    if text.startswith(_DATA):
        return Source(text)
    try:
        status = Path(text).stat()
    except OSError as error:
        raise _cannot_open(text, what, error) from None
    return Source(text, (status.st_mtime_ns, status.st_size, status.st_ino))


def _cannot_open(name: str, what: str, error: OSError) -> CertificateError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return CertificateError(
        f'cannot load {what} "{name}": BIO_new_file() failed ({reason}:calling fopen({name}, r))'
    )


def _read(source: Source, what: str) -> bytes:
    if source.text.startswith(_DATA):
        return source.text.removeprefix(_DATA).encode()
    try:
        return Path(source.text).read_bytes()
    except OSError as error:
        raise _cannot_open(source.text, what, error) from None


@lru_cache(maxsize=_CACHED)
def load_pair(certificate: Source, key: Source) -> plan.Certificate:
    """Load a chain and its key, and make sure that they belong together."""
    chain = load_chain(certificate)
    der, public = _load_key(key)
    leaf = chain[0]
    if leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public:
        raise CertificateError(
            f'SSL_CTX_use_PrivateKey("{key.name}") failed '
            f'(key values mismatch: the key does not belong to certificate "{certificate.name}")'
        )
    blobs = tuple(one.public_bytes(Encoding.DER) for one in chain)
    digest = hashlib.sha256()
    for blob in (*blobs, der):
        digest.update(len(blob).to_bytes(8, "big"))
        digest.update(blob)
    return plan.Certificate(id=digest.hexdigest(), chain=blobs, key=der, origin=certificate.name)


def load_chain(source: Source) -> list[x509.Certificate]:
    """Load all certificates of a source, the leaf first."""
    try:
        chain = x509.load_pem_x509_certificates(_read(source, "certificate"))
        for one in chain:
            one.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f'cannot load certificate "{source.name}": PEM_read_bio_X509_AUX() failed ({error})'
        ) from None
    return chain


@lru_cache(maxsize=_CACHED)
def load_authorities(source: Source) -> tuple[bytes, ...]:
    """Load trusted certificates as DER."""
    return tuple(one.public_bytes(Encoding.DER) for one in load_chain(source))


def _load_key(source: Source) -> tuple[bytes, bytes]:
    try:
        key = load_pem_private_key(_read(source, "certificate key"), password=None)
    except TypeError:
        raise _bad_key(source, "the key is encrypted, which this version cannot read") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _bad_key(source, str(error)) from None
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der, public


def _bad_key(source: Source, reason: str) -> CertificateError:
    return CertificateError(
        f'cannot load certificate key "{source.name}": PEM_read_bio_PrivateKey() failed ({reason})'
    )
