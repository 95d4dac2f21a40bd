"""A session during its handshake: what the client offers, and which certificate it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn

from qanat.handlers.ja4 import ja4
from qanat.handlers.sessions.base import Phase, reject_with

if TYPE_CHECKING:
    from qanat._native import Session

Version = Literal["TLSv1.2", "TLSv1.3"]
"""A version of TLS that the gateway speaks."""

AlertName = Literal[
    "handshake_failure",
    "access_denied",
    "protocol_version",
    "insufficient_security",
    "internal_error",
    "unrecognized_name",
    "no_application_protocol",
]
"""An alert that tells a client why it was refused, as RFC 8446 (section 6.2) names it."""

_ALERTS: dict[str, int] = {
    "handshake_failure": 40,
    "access_denied": 49,
    "protocol_version": 70,
    "insufficient_security": 71,
    "internal_error": 80,
    "unrecognized_name": 112,
    "no_application_protocol": 120,
}
_VERSIONS = {
    0x0300: "SSLv3",
    0x0301: "TLSv1",
    0x0302: "TLSv1.1",
    0x0303: "TLSv1.2",
    0x0304: "TLSv1.3",
}


class _Hello(NamedTuple):
    """A ClientHello as the data plane describes it."""

    server_name: str | None = None
    alpn: tuple[bytes, ...] = ()
    versions: tuple[int, ...] = ()
    suites: tuple[tuple[int, str], ...] = ()
    extensions: tuple[tuple[int, bytes], ...] = ()


class Handshake(Phase):
    """A handshake that has begun: the ClientHello (RFC 8446, section 4.1.2) has arrived, and
    nothing was answered. Values that clients send to keep servers tolerant (GREASE, RFC 8701) are
    left out."""

    __slots__ = ("_hello",)

    def __init__(self, handle: Session) -> None:
        super().__init__(handle)
        self._hello: _Hello | None = None

    @property
    def server_name(self) -> str | None:
        """The host name that the client asks for (SNI, RFC 6066), in lower case; `None` without."""
        return self._read().server_name

    @property
    def alpn(self) -> tuple[bytes, ...]:
        """The protocols that the client offers (ALPN, RFC 7301), the one it prefers first."""
        return self._read().alpn

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that the client offers, the one it prefers first: `TLSv1.3`, `TLSv1.2`.

        Unknown ones are shown as `0x7f1c`.
        """
        return tuple(_VERSIONS.get(one, f"0x{one:04x}") for one in self._read().versions)

    @property
    def cipher_suites(self) -> tuple[str, ...]:
        """The cipher suites that the client offers, in OpenSSL's names, as `$ssl_ciphers` has them.

        Unknown ones are shown as `0x1304`.
        """
        return tuple(name for _, name in self._read().suites)

    @property
    def extensions(self) -> tuple[int, ...]:
        """The numbers of all extensions (RFC 8446, section 4.2), in the client's order."""
        return tuple(number for number, _ in self._read().extensions)

    def extension(self, number: int) -> bytes | None:
        """Return the content of an extension; `None` if the client has not sent it."""
        return next((data for found, data in self._read().extensions if found == number), None)

    @property
    def ja4(self) -> str:
        """The JA4 fingerprint of the client: `t13d1516h2_8daaf6152771_e5627efa2ab1`."""
        hello = self._read()
        suites = tuple(number for number, _ in hello.suites)
        return ja4(hello.versions, suites, hello.extensions, hello.alpn)

    def reject(self, status: int, *, alert: AlertName = "access_denied") -> NoReturn:
        """End the handshake with an alert (RFC 8446, section 6.2), and the session with a status
        from 100 to 599 for the log; the handler ends here.

        Raise `RejectedError`, which ends the handler, and `ValueError` for an unknown alert or
        another status.
        """
        number = _ALERTS.get(alert)
        if number is None:
            raise ValueError(f'unknown alert "{alert}"')
        self._handle.set_alert(number)
        reject_with(self._handle, status, b"")

    def _read(self) -> _Hello:
        if self._hello is None:
            found = self._handle.client_hello()
            self._hello = _Hello() if found is None else _hello(*found)
        return self._hello


def _hello(
    name: str | None,
    alpn: list[bytes],
    versions: list[int],
    suites: list[tuple[int, str]],
    extensions: list[tuple[int, bytes]],
) -> _Hello:
    return _Hello(name, tuple(alpn), tuple(versions), tuple(suites), tuple(extensions))


class ClientHelloSession(Handshake):
    """A handshake before anything is decided; handlers see each one, full or resumed.

    The handler returns nothing. As `ssl_client_hello_by_lua` in OpenResty.
    """

    __slots__ = ()

    def limit_versions(
        self, *, minimum: Version | None = None, maximum: Version | None = None
    ) -> None:
        """Take the versions below and above out of `ssl_protocols`, for this handshake.

        A client that offers none of those that are left gets the alert `protocol_version`. Raise
        `ValueError` for an unknown version. Calls of several handlers add up.
        """
        self._handle.limit_versions(minimum, maximum)


class CertificateSession(Handshake):
    """A handshake that needs a certificate; one that is resumed does not.

    The handler returns a `Certificate`, or nothing, which leaves the choice to `ssl_certificate`.
    As `ssl_certificate_by_lua` in OpenResty.
    """

    __slots__ = ()
