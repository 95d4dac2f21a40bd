"""A session in the access phase."""

from __future__ import annotations

from qanat.handlers.sessions.base import Rejecting


class AccessSession(Rejecting):
    """A client that has connected and passed `allow` and `deny`; nothing was read of it yet.

    The handler returns nothing: whoever is not rejected is admitted. As OpenResty's `preaccess`
    and `access` phases, of the server that the listener selects.
    """

    __slots__ = ()
