"""OpenAPI descriptions of the API's own record types, made from the types themselves."""

from __future__ import annotations

from typing import Any

import msgspec

from qanat.api.errors import ErrorView
from qanat.api.routes.handlers import ReloadedView
from qanat.api.routes.servers import ServersView
from qanat.control.handlers import HandlersView
from qanat.control.views import ServerView, StatusView

_TYPES = (ServersView, ServerView, StatusView, HandlersView, ReloadedView, ErrorView)
_REF = "#/components/schemas/{name}"


def components() -> dict[str, Any]:
    """Describe all record types, by name."""
    _, described = msgspec.json.schema_components(_TYPES, ref_template=_REF)
    return described
