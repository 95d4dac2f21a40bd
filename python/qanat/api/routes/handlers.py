"""`/v1/handlers`: the handlers in Python, and new code for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from qanat.api.errors import ErrorBody, error_response
from qanat.api.responses import as_json, describe
from qanat.config.errors import ConfigError
from qanat.control.errors import ChangeRefused
from qanat.store.base import StoreError

if TYPE_CHECKING:
    from qanat.control.gateway import LiveGateway


class ReloadedView(msgspec.Struct, frozen=True):
    """New code is live: the load of the handlers that sessions get now, and the revision."""

    generation: int
    revision: int


def router(gateway: LiveGateway) -> APIRouter:
    """Make the routes of this resource."""
    routes = APIRouter(prefix="/v1/handlers", tags=["handlers"])

    @routes.get("", response_class=Response, responses=describe("HandlersView"))
    async def list_handlers() -> Response:
        """List the handlers, and the loads of their modules that sessions still have."""
        return as_json(gateway.handlers.view())

    @routes.post(
        "/reload", response_class=Response, responses=describe("ReloadedView", 409, 422, 500)
    )
    async def reload_handlers() -> Response:
        """Load all modules of handlers anew, without reading the configuration again.

        New sessions get the new code once this is answered; those that are open keep theirs. If a
        module cannot be loaded, or a function of its start fails, nothing changes.
        """
        try:
            revision = await gateway.reload_handlers()
        except ConfigError as error:
            first = error.problems[0]
            where = f"{first.file}:{first.line}" if first.line else first.file
            return error_response(422, ErrorBody("handlers", str(error), where))
        except ChangeRefused as error:
            return error_response(409, ErrorBody(error.code, str(error)))
        except StoreError as error:
            return error_response(500, ErrorBody("store", str(error)))
        return as_json(ReloadedView(gateway.handlers.view().generation, revision))

    return routes
