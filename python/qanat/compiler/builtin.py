"""Names of the variables that the data plane computes; must equal `_native.variable_names()`."""

from __future__ import annotations

# A name that ends in `_` stands for all names that begin with it.
FRAME = "frame_"
PREFIXES = ("proxy_protocol_tlv_", FRAME)

NAMES = frozenset(
    {
        "binary_remote_addr",
        "remote_addr",
        "remote_port",
        "realip_remote_addr",
        "realip_remote_port",
        "proxy_protocol_addr",
        "proxy_protocol_port",
        "proxy_protocol_server_addr",
        "proxy_protocol_server_port",
        "server_addr",
        "server_port",
        "server_name",
        "connection",
        "pid",
        "hostname",
        "nginx_version",
        "msec",
        "time_iso8601",
        "time_local",
        "protocol",
        "bytes_received",
        "bytes_sent",
        "session_time",
        "status",
        "upstream_addr",
        "upstream_bytes_sent",
        "upstream_bytes_received",
        "upstream_connect_time",
        "upstream_first_byte_time",
        "upstream_session_time",
        "ssl_protocol",
        "ssl_cipher",
        "ssl_ciphers",
        "ssl_curve",
        "ssl_curves",
        "ssl_session_id",
        "ssl_session_reused",
        "ssl_server_name",
        "ssl_alpn_protocol",
        "ssl_preread_protocol",
        "ssl_preread_server_name",
        "ssl_preread_alpn_protocols",
        "njtmesh_port",
        "njtmesh_ip",
        "njtmesh_dest",
        "tunnel_name",
        "tunnel_service",
        "rule",
        "mesh_server_name",
    }
)

# A configuration may define these itself, with `map` or `set`.
DEFINABLE = frozenset({"mesh_server_name"})


def is_builtin(name: str) -> bool:
    """Tell whether the data plane computes the variable; `name` is lower case."""
    return name in NAMES or name.startswith(PREFIXES)
