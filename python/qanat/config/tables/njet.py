"""Directives that NJet adds, and the names of its modules, which are built in or need nothing."""

from __future__ import annotations

from qanat.config.tables.row import MAIN, Row, flag

NAME = "NJet"

ROWS = (
    Row(
        "helper",
        MAIN,
        (2, 3),
        "`helper ctrl MODULE FILE` serves the control API that FILE describes; others are accepted "
        "without effect.",
        repeats=True,
    ),
    Row("cluster_name", MAIN, (1, 1), "Name of the fleet, shown in the status."),
    Row("node_name", MAIN, (1, 1), "Name of this node, shown in the status."),
    Row("dyn_kv_conf", MAIN, (0, 1), "Accepted for compatibility, without effect."),
    Row("dyn_sendmsg_conf", MAIN, (0, 1), "Accepted for compatibility, without effect."),
    Row(
        "dyn_sendmsg_rpc_timeout",
        MAIN,
        (1, 1),
        "Time that a change over the control API has, in milliseconds.",
        "5000",
    ),
    Row(
        "config_req_pool_size",
        MAIN,
        (1, 1),
        "How many changes over the control API may be in progress or waiting.",
        "500",
    ),
    Row("shared_slab_pool_size", MAIN, (1, 1), "Accepted for compatibility, without effect."),
    flag("privileged_agent", MAIN, "Accepted for compatibility, without effect."),
    Row(
        "server_traffic_status_zone",
        ("stream",),
        (0, 1),
        "Accepted for compatibility, without effect.",
    ),
    flag(
        "server_traffic_status",
        ("stream", "server"),
        "Accepted for compatibility, without effect.",
        "on",
    ),
)

MODULES = frozenset(
    {
        "njt_helper_broker_module.so",
        "njt_helper_ctrl_module.so",
        "njt_stream_dyn_server_module.so",
        "njt_stream_dyn_server_api_module.so",
        "njt_http_sendmsg_module.so",
        "njt_ctrl_config_api_module.so",
        "njt_http_location_api_module.so",
        "njt_http_location_module.so",
        "njt_doc_module.so",
        "njt_http_vtsc_module.so",
        "njt_http_kv_module.so",
        "njt_http_dyn_upstream_module.so",
        "njt_http_dyn_upstream_api_module.so",
        "njt_stream_dyn_upstream_module.so",
        "njt_stream_dyn_upstream_api_module.so",
        "njt_http_upstream_api_module.so",
        "njt_http_upstream_member_module.so",
        "njt_stream_sts_module.so",
        "njt_dyn_ssl_module.so",
        "njt_dyn_ssl_api_module.so",
    }
)

NO_DYNAMIC = frozenset(
    {
        *("zone", "ssl_ocsp", "ssl_stapling", "quic"),
        # Code in the body of a request needs a permission of its own, which nobody can have yet.
        *(f"{phase}_by_python" for phase in ("access", "preread", "log")),
        *(f"{phase}_by_python_block" for phase in ("access", "preread", "log")),
    }
)
"""Directives that are refused by name in the body of a dynamic virtual server: NJet's, and code."""
