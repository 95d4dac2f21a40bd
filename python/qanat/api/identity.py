"""Who answers: the `Server` header of every response."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qanat

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SERVER = f"qanat/{qanat.__version__}"
_HEADER = (b"server", SERVER.encode())


class Identity:
    """Puts the header on whatever the application below answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [_HEADER, *message.get("headers", ())]
            await send(message)

        await self._app(scope, receive, send_named if scope["type"] == "http" else send)
