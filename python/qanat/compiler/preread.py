"""The preread phase and the other settings of how a session begins."""

from __future__ import annotations

from qanat.compiler import plan
from qanat.compiler.frame import FRAME, make_frame
from qanat.compiler.inherit import Level, Setting, flag, positive_size, time_ms

SSL_PREREAD = Setting("ssl_preread", flag, False)
BUFFER_SIZE = Setting("preread_buffer_size", positive_size, 16384)
TIMEOUT = Setting("preread_timeout", time_ms, 30_000)
PROXY_PROTOCOL_TIMEOUT = Setting("proxy_protocol_timeout", time_ms, 30_000)
TCP_NODELAY = Setting("tcp_nodelay", flag, True)

SETTINGS = (SSL_PREREAD, BUFFER_SIZE, TIMEOUT, PROXY_PROTOCOL_TIMEOUT, TCP_NODELAY, FRAME)


def make_preread(level: Level) -> plan.Preread:
    """Make the preread part of a server."""
    buffer_size, timeout_ms = level.get(BUFFER_SIZE), level.get(TIMEOUT)
    return plan.Preread(
        tls=level.get(SSL_PREREAD),
        buffer_size=buffer_size,
        timeout_ms=timeout_ms,
        frame=make_frame(level, buffer_size, timeout_ms),
    )
