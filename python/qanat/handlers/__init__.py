"""What handlers in Python import: the sessions of each phase, peers and ways to choose one.

Handlers run in the event loop of the main thread, one at a time between two `await`s; so a handler
must not block.
"""

from qanat._native import (
    Balancer,
    ConsistentHash,
    FrameError,
    LeastConnections,
    Maglev,
    Peer,
    PhaseError,
    RandomTwo,
    RoundRobin,
    SharedDict,
    SmoothWeighted,
)
from qanat.handlers.background import BackgroundFullError, background
from qanat.handlers.certificate import Certificate
from qanat.handlers.errors import (
    BufferLimitError,
    ClientClosedError,
    ClientTimeoutError,
    HandshakeError,
    RejectedError,
)
from qanat.handlers.frames import Frame, FrameFormat
from qanat.handlers.hooks import every, on_shutdown, on_startup
from qanat.handlers.sessions import (
    AccessSession,
    BalanceSession,
    CertificateSession,
    ClientHelloSession,
    ContentSession,
    DatagramSession,
    Failure,
    LogRecord,
    PrereadSession,
    TlsFacts,
    Variables,
    VerifySession,
)
from qanat.handlers.streams import StreamReader, StreamWriter

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
    "ConsistentHash",
    "ContentSession",
    "DatagramSession",
    "Failure",
    "Frame",
    "FrameError",
    "FrameFormat",
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
    "SharedDict",
    "SmoothWeighted",
    "StreamReader",
    "StreamWriter",
    "TlsFacts",
    "Variables",
    "VerifySession",
    "background",
    "every",
    "on_shutdown",
    "on_startup",
]
