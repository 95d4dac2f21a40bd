"""A session in the access phase."""

from __future__ import annotations

from qanat.handlers.sessions.base import Rejecting


class AccessSession(Rejecting):
    """A client that has connected; nothing was read yet."""

    __slots__ = ()
