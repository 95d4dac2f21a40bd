"""Certificates and keys: from PEM, in a file or after `data:`, to DER with a digest as the id.

Results are cached by a file's path and stamp, or by the text itself, so that any number of servers
that share a file read it once, and a virtual server added later reads it again only if it changed.
"""

# ruff: noqa: PLC0415 - a configuration without certificates does not wait for `pem`

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from qanat.compiler import plan

if TYPE_CHECKING:
    from qanat.compiler.pem import Chain, Key

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
    if not stat.S_ISREG(status.st_mode):
        raise CertificateError(f'cannot load {what} "{text}": not a regular file')
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
    chain = _load_chain(certificate)
    private = _load_key(key)
    if chain.public != private.public:
        raise CertificateError(
            f'SSL_CTX_use_PrivateKey("{key.name}") failed '
            f'(key values mismatch: the key does not belong to certificate "{certificate.name}")'
        )
    digest = hashlib.sha256()
    for blob in (*chain.certificates, private.private):
        digest.update(len(blob).to_bytes(8, "big"))
        digest.update(blob)
    return plan.Certificate(
        id=digest.hexdigest(),
        chain=chain.certificates,
        key=private.private,
        origin=certificate.name,
    )


@lru_cache(maxsize=_CACHED)
def load_authorities(source: Source) -> tuple[bytes, ...]:
    """Load trusted certificates as DER."""
    return _load_chain(source).certificates


def _load_chain(source: Source) -> Chain:
    from qanat.compiler.pem import read_chain

    pem = _read(source, "certificate")
    try:
        return read_chain(pem)
    except ValueError as error:
        raise CertificateError(
            f'cannot load certificate "{source.name}": PEM_read_bio_X509_AUX() failed ({error})'
        ) from None


def _load_key(source: Source) -> Key:
    from qanat.compiler.pem import read_key

    pem = _read(source, "certificate key")
    try:
        return read_key(pem)
    except ValueError as error:
        raise CertificateError(
            f'cannot load certificate key "{source.name}": '
            f"PEM_read_bio_PrivateKey() failed ({error})"
        ) from None
