"""Certificates made on the spot by an authority of the test's own."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """Files of a certificate chain and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates and writes them under a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA()
        self.path = directory / "authority.pem"
        self._ca.cert_pem.write_to_path(self.path)

    def issue(self, *names: str, rsa: bool = False, stem: str | None = None) -> Pair:
        """Issue a certificate for names or addresses, as `stem.pem` and `stem.key`."""
        stem = stem or names[0].replace("*", "any")
        pair = Pair(self.directory / f"{stem}.pem", self.directory / f"{stem}.key")
        self.issue_to(pair, *names, rsa=rsa)
        return pair

    def issue_to(self, pair: Pair, *names: str, rsa: bool = False) -> None:
        """Issue a certificate into the files of `pair`."""
        kind = trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA
        issued = self._ca.issue_cert(*names, key_type=kind)
        for path in (pair.certificate, pair.key):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
        for blob in issued.cert_chain_pems:
            blob.write_to_path(pair.certificate, append=True)
        issued.private_key_pem.write_to_path(pair.key)


def server_context(pair: Pair) -> ssl.SSLContext:
    """Return a context for a TLS server with this pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


def name_of(certificate: bytes | None) -> str:
    """Return the first DNS name of a DER certificate."""
    assert certificate is not None
    from cryptography import x509  # noqa: PLC0415 - only the tests that look need it

    parsed = x509.load_der_x509_certificate(certificate)
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return str(names.get_values_for_type(x509.DNSName)[0])
