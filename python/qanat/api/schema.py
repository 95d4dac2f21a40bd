"""OpenAPI descriptions of the API's own record types, made from the types themselves."""

from __future__ import annotations

from typing import Any

import msgspec

from qanat.api.apply_body import ApplyBody
from qanat.api.errors import ErrorView
from qanat.api.peer_bodies import PeerBody, PeerPatch
from qanat.api.routes.apply import AppliedView
from qanat.api.routes.handlers import ReloadedView
from qanat.api.routes.rules import ChangeView
from qanat.api.routes.servers import ServersView
from qanat.api.routes.services import ServiceChangeView
from qanat.api.routes.tunnels import TunnelChangeView
from qanat.api.tunnel_bodies import (
    LocalBody,
    LocalPatch,
    RemoteBody,
    RemotePatch,
    TunnelBody,
    TunnelPatch,
)
from qanat.compiler.rules import RuleSpec
from qanat.control.handlers import HandlersView
from qanat.control.peer_views import PeersView, PeerView
from qanat.control.rule_query import MatchSpec
from qanat.control.rule_views import RuleTablesView, RuleTableView, RuleView, VerdictView
from qanat.control.rules import TableSpec
from qanat.control.tunnel_views import (
    BindingsView,
    BindingView,
    LocalServiceView,
    RemoteServiceView,
    ServicesView,
    TunnelsView,
    TunnelView,
)
from qanat.control.views import ServerView, StatusView

_TYPES = (
    *(ServersView, ServerView, StatusView, HandlersView, ReloadedView, ErrorView),
    *(RuleTablesView, RuleTableView, RuleView, VerdictView, ChangeView),
    *(RuleSpec, TableSpec, MatchSpec),
    *(TunnelsView, TunnelView, TunnelChangeView, ServicesView, LocalServiceView),
    *(RemoteServiceView, ServiceChangeView, BindingsView, BindingView, PeersView),
    *(PeerView, PeerBody, PeerPatch),
    *(ApplyBody, AppliedView),
    *(TunnelBody, TunnelPatch, LocalBody, LocalPatch, RemoteBody, RemotePatch),
)
_REF = "#/components/schemas/{name}"


def components() -> dict[str, Any]:
    """Describe all record types, by name."""
    _, described = msgspec.json.schema_components(_TYPES, ref_template=_REF)
    return described
