"""Directives of `stream`, its virtual servers, and what they listen on."""

from __future__ import annotations

from qanat.config.tables.row import (
    LEVELS,
    MANY,
    SERVER,
    STREAM,
    STREAM_SERVER,
    UNCHECKED,
    Row,
    flag,
)

NAME = "Virtual servers"

_RESOLVER = ("stream", "server", "upstream")
_JS = "Scripting in JavaScript."

ROWS = (
    Row("server", STREAM, (0, 0), "A virtual server.", block="server", repeats=True),
    Row(
        "listen",
        SERVER,
        (1, MANY),
        "Address that sessions arrive at: `ADDRESS:PORT`, `PORT`, a range of ports or `unix:PATH`; "
        "then `default_server udp ssl mesh proxy_protocol bind reuseport deferred backlog= rcvbuf= "
        "sndbuf= ipv6only= fastopen= so_keepalive=`.",
        repeats=True,
    ),
    Row(
        "server_name",
        SERVER,
        (1, MANY),
        "Names that select this server on a shared address: exact, `*.x`, `x.*`, `.x` or `~regex`.",
        '""',
        repeats=True,
    ),
    Row(
        "server_names_hash_max_size",
        STREAM,
        (1, 1),
        "Accepted for compatibility, without effect.",
        "512",
    ),
    Row(
        "server_names_hash_bucket_size",
        STREAM,
        (1, 1),
        "Accepted for compatibility, without effect.",
    ),
    Row(
        "variables_hash_max_size",
        STREAM,
        (1, 1),
        "Accepted for compatibility, without effect.",
        "1024",
    ),
    Row(
        "variables_hash_bucket_size",
        STREAM,
        (1, 1),
        "Accepted for compatibility, without effect.",
        "64",
    ),
    Row(
        "preread_buffer_size",
        LEVELS,
        (1, 1),
        "Most bytes read before the content phase.",
        "16k",
    ),
    Row("preread_timeout", LEVELS, (1, 1), "Time for the preread phase.", "30s"),
    Row(
        "proxy_protocol_timeout", STREAM_SERVER, (1, 1), "Time for an incoming PROXY header.", "30s"
    ),
    flag("tcp_nodelay", LEVELS, "Send small pieces at once, on both sides.", "on"),
    Row("resolver", _RESOLVER, (1, MANY), "Name servers for names met at run time.", planned=True),
    Row("resolver_timeout", _RESOLVER, (1, 1), "Time for one name.", "30s", planned=True),
    Row("status_zone", SERVER, (1, 1), "Name of the counters of a server.", planned=True),
    flag("ssl_preread", STREAM_SERVER, "Read the names in a ClientHello without ending TLS."),
    Row("return", SERVER, (1, 1), "Send a text, which may hold variables, and close."),
    Row(
        "pass",
        SERVER,
        (1, 1),
        "Hand the session to another listener of this process.",
        planned=True,
    ),
    Row(
        "set_real_ip_from",
        STREAM_SERVER,
        (1, 1),
        "Peers whose PROXY header is believed.",
        repeats=True,
        planned=True,
    ),
    flag(
        "mqtt_preread", STREAM_SERVER, "Read client id and user of an MQTT CONNECT.", planned=True
    ),
    flag("mqtt", STREAM_SERVER, "Rewrite fields of MQTT.", planned=True),
    Row("mqtt_buffers", STREAM_SERVER, (2, 2), "Buffers for MQTT.", "100 1k", planned=True),
    Row(
        "mqtt_set_connect",
        STREAM_SERVER,
        (2, 2),
        "Field of CONNECT to set.",
        repeats=True,
        planned=True,
    ),
    *(
        Row(name, STREAM_SERVER, (1, MANY), _JS, repeats=True, planned=True)
        for name in (
            *("js_import", "js_path", "js_set", "js_var", "js_preload_object", "js_engine"),
            *("js_context_reuse", "js_fetch_buffer_size", "js_fetch_ciphers"),
            *("js_fetch_max_response_buffer_size", "js_fetch_protocols", "js_fetch_proxy"),
            *("js_fetch_timeout", "js_fetch_trusted_certificate", "js_fetch_verify"),
            *("js_fetch_verify_depth", "js_fetch_keepalive"),
        )
    ),
    Row("js_shared_dict_zone", STREAM, (1, MANY), _JS, repeats=True, planned=True),
    *(
        Row(name, SERVER, (1, MANY), _JS, repeats=True, planned=True)
        for name in ("js_access", "js_preread", "js_filter", "js_periodic")
    ),
    Row(
        "match",
        STREAM,
        (1, 1),
        "Probe of a health check.",
        block=UNCHECKED,
        repeats=True,
        planned=True,
    ),
    Row("health_check", SERVER, (0, MANY), "Probe the peers.", planned=True),
    Row("health_check_timeout", STREAM_SERVER, (1, 1), "Time for a probe.", "5s", planned=True),
)
