"""Qanat, a programmable layer-4 gateway.

What handlers and programs import is loaded when it is first asked for (PEP 562): commands that need
none of it start without waiting for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qanat.config.errors import ConfigError
    from qanat.gateway import Gateway, Server, Upstream
    from qanat.handlers import (
        AccessSession,
        BackgroundFullError,
        Balancer,
        BalanceSession,
        BufferLimitError,
        Certificate,
        CertificateSession,
        ClientClosedError,
        ClientHelloSession,
        ClientTimeoutError,
        ConsistentHash,
        ContentSession,
        DatagramSession,
        Failure,
        Frame,
        FrameError,
        FrameFormat,
        HandshakeError,
        LeastConnections,
        LogRecord,
        Maglev,
        Peer,
        PhaseError,
        PrereadSession,
        RandomTwo,
        RejectedError,
        RoundRobin,
        SharedDict,
        SmoothWeighted,
        StreamReader,
        StreamWriter,
        TlsFacts,
        Variables,
        VerifySession,
        background,
        every,
        on_shutdown,
        on_startup,
    )

__version__ = "0.1.0"

__all__ = [
    "AccessSession",
    "BackgroundFullError",
    "BalanceSession",
    "Balancer",
    "BufferLimitError",
    "Certificate",
    "CertificateSession",
    "ClientClosedError",
    "ClientHelloSession",
    "ClientTimeoutError",
    "ConfigError",
    "ConsistentHash",
    "ContentSession",
    "DatagramSession",
    "Failure",
    "Frame",
    "FrameError",
    "FrameFormat",
    "Gateway",
    "HandshakeError",
    "LeastConnections",
    "LogRecord",
    "Maglev",
    "Peer",
    "PhaseError",
    "PrereadSession",
    "RandomTwo",
    "RejectedError",
    "RoundRobin",
    "Server",
    "SharedDict",
    "SmoothWeighted",
    "StreamReader",
    "StreamWriter",
    "TlsFacts",
    "Upstream",
    "Variables",
    "VerifySession",
    "__version__",
    "background",
    "every",
    "on_shutdown",
    "on_startup",
]


_ELSEWHERE = {
    "ConfigError": "qanat.config.errors",
    **dict.fromkeys(("Gateway", "Server", "Upstream"), "qanat.gateway"),
}

if not TYPE_CHECKING:  # so that type checkers refuse names that are not here

    def __getattr__(name: str) -> object:
        if name.startswith("_") or name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # Not an import statement: the packages below import this one for its version.
        return getattr(import_module(_ELSEWHERE.get(name, "qanat.handlers")), name)
