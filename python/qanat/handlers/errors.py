"""What is raised in handlers. Those that the client is to blame for end the session without a
traceback, if no handler catches them."""

from __future__ import annotations

import asyncio
import ssl


class ClientClosedError(asyncio.IncompleteReadError):
    """The client ended before it sent what was asked for.

    `partial` is what came, `expected` how many bytes were asked for, `None` if up to a separator.
    If no handler catches it, the session ends with status 200.
    """


class HandshakeError(ssl.SSLError):
    """The client did not finish the handshake that `start_tls` began; the text says why.

    If no handler catches it, the session ends with status 500.
    """


class ClientTimeoutError(TimeoutError):
    """The client was silent for `preread_timeout`.

    If no handler catches it, the session ends with status 200.
    """


class BufferLimitError(asyncio.LimitOverrunError, ValueError):
    """What was asked for is more than `preread_buffer_size`, or 64 KiB in content.

    `consumed` is how many bytes there are. If no handler catches it, the session ends with status
    400.
    """


class RejectedError(Exception):
    """Ends a handler after `session.reject`; catching it changes nothing. `args` is the status."""
