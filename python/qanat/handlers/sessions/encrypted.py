"""What phases after the handshake know of the TLS session with the client."""

from __future__ import annotations

from dataclasses import dataclass

from qanat.handlers.sessions.base import Phase


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What the TLS session with a client has agreed on, in OpenSSL's words: the `$ssl_*` variables
    of nginx, as values."""

    version: str
    """The version, as `$ssl_protocol` has it: `TLSv1.2` or `TLSv1.3`."""
    cipher_suite: str
    """The cipher suite, as `$ssl_cipher` has it: `TLS_AES_256_GCM_SHA384`."""
    curve: str | None
    """The group of the key exchange, as `$ssl_curve` has it: `X25519`; `None` if there was none."""
    server_name: str | None
    """The host name that the client asked for (SNI, RFC 6066), in lower case; `None` without."""
    alpn: bytes | None
    """The application protocol that was agreed on (ALPN, RFC 7301); `None` without."""
    is_resumed: bool
    """Whether the client has resumed an earlier session, as `$ssl_session_reused` says."""


class Encrypted(Phase):
    """A phase that comes after the handshake with the client, if the listener speaks TLS."""

    __slots__ = ()

    @property
    def tls(self) -> TlsFacts | None:
        """The TLS session with the client, read anew each time.

        `None` if the client speaks in the clear (also where `ssl_preread` looks at TLS that is for
        the peer), over UDP, or if its handshake has failed.
        """
        vars = self.vars
        if "ssl_protocol" not in vars:
            return None
        alpn = vars.get("ssl_alpn_protocol")
        return TlsFacts(
            version=vars["ssl_protocol"],
            cipher_suite=vars.get("ssl_cipher"),
            curve=vars.get("ssl_curve") or None,
            server_name=vars.get("ssl_server_name") or None,
            alpn=alpn.encode() if alpn else None,
            is_resumed=vars.get("ssl_session_reused") == "r",
        )
