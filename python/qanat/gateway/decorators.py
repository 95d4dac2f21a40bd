"""The decorators that servers and gateways have, one for each phase, named after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qanat.gateway.phases import Block, Decorator, Functions, ServersDecorator

if TYPE_CHECKING:
    from qanat.handlers import (
        AccessSession,
        Certificate,
        CertificateSession,
        ClientHelloSession,
        ContentSession,
        DatagramSession,
        LogRecord,
        PrereadSession,
        VerifySession,
    )


class ServerDecorators:
    """The phases of one server."""

    def __init__(self, functions: Functions, block: Block) -> None:
        def of(phase: str) -> Any:  # noqa: ANN401 - of whatever session
            return Decorator(phase, functions, block)

        self.access: Decorator[AccessSession, None] = of("access")
        """Declare a handler that decides who is admitted."""
        self.ssl_client_hello: Decorator[ClientHelloSession, None] = of("ssl_client_hello")
        """Declare a handler that looks at what a TLS client offers."""
        self.ssl_certificate: Decorator[CertificateSession, Certificate | None]
        self.ssl_certificate = of("ssl_certificate")
        """Declare a handler that chooses the certificate for a TLS client."""
        self.preread: Decorator[PrereadSession, None] = of("preread")
        """Declare a handler that looks at the client's first bytes."""
        self.content: Decorator[ContentSession, None] = of("content")
        """Declare the handler that answers the clients of a TCP server, its content."""
        self.datagrams: Decorator[DatagramSession, None] = of("content")
        """Declare the handler that answers the clients of a UDP server, its content."""
        self.proxy_ssl_verify: Decorator[VerifySession, bool | None] = of("proxy_ssl_verify")
        """Declare a handler that judges the certificates of a peer."""
        self.log: Decorator[LogRecord, None] = of("log")
        """Declare a handler that sees how a session ended."""


class GatewayDecorators:
    """The phases of all servers."""

    def __init__(self, functions: Functions, stream: Block) -> None:
        def of(phase: str) -> Any:  # noqa: ANN401 - of whatever session
            return ServersDecorator(phase, functions, stream)

        self.access: ServersDecorator[AccessSession, None] = of("access")
        """Declare a handler, of all servers or of some, that decides who is admitted."""
        self.ssl_client_hello: ServersDecorator[ClientHelloSession, None] = of("ssl_client_hello")
        """Declare a handler that looks at what a TLS client offers."""
        self.ssl_certificate: ServersDecorator[CertificateSession, Certificate | None]
        self.ssl_certificate = of("ssl_certificate")
        """Declare a handler that chooses the certificate for a TLS client."""
        self.preread: ServersDecorator[PrereadSession, None] = of("preread")
        """Declare a handler that looks at the client's first bytes."""
        self.proxy_ssl_verify: ServersDecorator[VerifySession, bool | None] = of("proxy_ssl_verify")
        """Declare a handler that judges the certificates of a peer."""
        self.log: ServersDecorator[LogRecord, None] = of("log")
        """Declare a handler that sees how a session ended."""
