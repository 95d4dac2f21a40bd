"""A session as each phase sees it. What a phase may not do, its class does not have."""

from __future__ import annotations

from qanat.handlers.sessions.access import AccessSession
from qanat.handlers.sessions.balance import BalanceSession, Failure
from qanat.handlers.sessions.base import Phase, Variables, note_names
from qanat.handlers.sessions.content import ContentSession
from qanat.handlers.sessions.datagram import DatagramSession
from qanat.handlers.sessions.encrypted import TlsFacts
from qanat.handlers.sessions.log import LogRecord
from qanat.handlers.sessions.preread import PrereadSession
from qanat.handlers.sessions.tls import CertificateSession, ClientHelloSession
from qanat.handlers.sessions.verify import VerifySession

__all__ = [
    "CLASSES",
    "AccessSession",
    "BalanceSession",
    "CertificateSession",
    "ClientHelloSession",
    "ContentSession",
    "DatagramSession",
    "Failure",
    "LogRecord",
    "Phase",
    "PrereadSession",
    "TlsFacts",
    "Variables",
    "VerifySession",
]

CLASSES: dict[str, type[Phase]] = {
    "access": AccessSession,
    "ssl_client_hello": ClientHelloSession,
    "ssl_certificate": CertificateSession,
    "preread": PrereadSession,
    "balance": BalanceSession,
    "content": DatagramSession,  # or a ContentSession, if the client has a connection
    "proxy_ssl_verify": VerifySession,
    "log": LogRecord,
}

note_names((*CLASSES.values(), ContentSession))
