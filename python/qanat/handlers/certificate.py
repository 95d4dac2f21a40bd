"""Certificates that handlers choose: read once, and then a handle that costs nothing to show."""

# ruff: noqa: PLC0415 - what has no certificates of its own does not wait for `cryptography`

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from qanat._native import CertifiedKey

if TYPE_CHECKING:
    from datetime import datetime
    from os import PathLike

    from cryptography import x509

    Text = bytes | str | PathLike[str]


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """A certificate chain with its key, for `ssl_certificate_by_python`."""

    names: tuple[str, ...]
    """The host names and addresses that it is for; the common name if it lists none."""
    not_after: datetime
    """Until when it is valid, with its time zone."""
    handle: CertifiedKey = field(repr=False)
    """What the data plane signs with."""

    @classmethod
    def load(cls, certificate: Text, key: Text, password: bytes | str | None = None) -> Certificate:
        """Read a chain, its leaf first, and the private key of the leaf.

        Each is PEM or DER: `bytes` are the text itself, anything else the path of a file, which is
        read at once. `password` opens an encrypted key. Raise `OSError` if a file cannot be read,
        and `ValueError` if the texts are no certificate and key, or do not belong together.
        """
        from cryptography import x509

        from qanat.compiler.pem import read_any_chain, read_any_key

        chain = read_any_chain(_bytes_of(certificate))
        secret = password.encode() if isinstance(password, str) else password
        private = read_any_key(_bytes_of(key), secret)
        if chain.public != private.public:
            raise ValueError("the key does not belong to the certificate")
        leaf = x509.load_der_x509_certificate(chain.certificates[0])
        handle = CertifiedKey(chain.certificates, private.private)
        return cls(_names_of(leaf), leaf.not_valid_after_utc, handle)


def _bytes_of(text: Text) -> bytes:
    return text if isinstance(text, bytes) else Path(text).read_bytes()


def _names_of(leaf: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        listed = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        common = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return tuple(str(one.value) for one in common)
    hosts = listed.get_values_for_type(x509.DNSName)
    addresses = listed.get_values_for_type(x509.IPAddress)
    return (*hosts, *(str(address) for address in addresses))
