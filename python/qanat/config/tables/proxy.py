"""Directives of proxying: where a session goes, how it is carried, and TLS towards the peer."""

from __future__ import annotations

from qanat.config.tables.row import LEVELS, MANY, SERVER, STREAM_SERVER, Row, flag

NAME = "Proxying"

ROWS = (
    Row(
        "proxy_pass",
        SERVER,
        (1, 1),
        "Where sessions go: `HOST:PORT`, `unix:PATH`, an upstream, `rules:NAME`, or a text with "
        "variables.",
    ),
    Row(
        "proxy_bind",
        STREAM_SERVER,
        (1, 2),
        "Source address of connections to peers, with `transparent` any address; or `off`.",
    ),
    Row("proxy_buffer_size", STREAM_SERVER, (1, 1), "Buffer of each direction.", "16k"),
    Row("proxy_downstream_buffer", STREAM_SERVER, (1, 1), "Old name of `proxy_buffer_size`."),
    Row("proxy_upstream_buffer", STREAM_SERVER, (1, 1), "Old name of `proxy_buffer_size`."),
    Row(
        "proxy_connect_timeout",
        STREAM_SERVER,
        (1, 1),
        "Time to connect to a peer, TLS included.",
        "60s",
    ),
    Row("proxy_timeout", LEVELS, (1, 1), "Longest silence on both sides together.", "10m"),
    Row(
        "proxy_upload_rate",
        STREAM_SERVER,
        (1, 1),
        "Bytes a second from the client.",
        "0",
        planned=True,
    ),
    Row(
        "proxy_download_rate",
        STREAM_SERVER,
        (1, 1),
        "Bytes a second to the client.",
        "0",
        planned=True,
    ),
    Row(
        "proxy_requests",
        STREAM_SERVER,
        (1, 1),
        "Datagrams of a client in one session; 0 is no limit.",
        "0",
    ),
    Row("proxy_responses", STREAM_SERVER, (1, 1), "Datagrams expected back for each one sent."),
    flag(
        "proxy_next_upstream", STREAM_SERVER, "Try another peer when one cannot be connected.", "on"
    ),
    Row("proxy_next_upstream_tries", STREAM_SERVER, (1, 1), "Most attempts; 0 is no limit.", "0"),
    Row(
        "proxy_next_upstream_timeout",
        STREAM_SERVER,
        (1, 1),
        "Time within which another attempt may begin; 0 is no limit.",
        "0",
    ),
    Row(
        "proxy_protocol",
        STREAM_SERVER,
        (1, 1),
        "Send a PROXY header: `off`, `on` (version 1) or `v2`.",
        "off",
    ),
    flag("proxy_half_close", STREAM_SERVER, "Keep each direction open until its own end."),
    flag("proxy_socket_keepalive", LEVELS, "Keepalive on the sockets to peers."),
    Row(
        "proxy_socket_rcvbuf",
        STREAM_SERVER,
        (1, 1),
        "Receive buffer towards peers.",
        "0",
        planned=True,
    ),
    Row(
        "proxy_socket_sndbuf",
        STREAM_SERVER,
        (1, 1),
        "Send buffer towards peers.",
        "0",
        planned=True,
    ),
    flag("proxy_session_drop", STREAM_SERVER, "End sessions of removed peers.", planned=True),
    flag("proxy_ssl", STREAM_SERVER, "Speak TLS to the peer."),
    Row("proxy_ssl_alpn", STREAM_SERVER, (1, MANY), "Application protocols offered to the peer."),
    Row(
        "proxy_ssl_certificate",
        STREAM_SERVER,
        (1, 1),
        "Our certificate towards the peer: a file or `data:`.",
    ),
    Row("proxy_ssl_certificate_key", STREAM_SERVER, (1, 1), "Key of that certificate."),
    Row(
        "proxy_ssl_certificate_cache",
        STREAM_SERVER,
        (1, 3),
        "Cache of certificates.",
        "off",
        planned=True,
    ),
    Row("proxy_ssl_password_file", STREAM_SERVER, (1, 1), "Passphrases of keys.", planned=True),
    Row(
        "proxy_ssl_ciphers",
        STREAM_SERVER,
        (1, 1),
        "Ciphers of TLS 1.2 towards the peer.",
        "DEFAULT",
    ),
    Row(
        "proxy_ssl_conf_command",
        STREAM_SERVER,
        (2, 2),
        "A command of OpenSSL.",
        repeats=True,
        planned=True,
    ),
    Row("proxy_ssl_crl", STREAM_SERVER, (1, 1), "Revocation lists.", planned=True),
    Row(
        "proxy_ssl_name",
        STREAM_SERVER,
        (1, 1),
        "Name that is verified and sent; the host of `proxy_pass` by default.",
    ),
    Row(
        "proxy_ssl_protocols",
        STREAM_SERVER,
        (1, MANY),
        "Versions of TLS towards the peer.",
        "TLSv1.2 TLSv1.3",
    ),
    flag("proxy_ssl_server_name", STREAM_SERVER, "Send the name to the peer (SNI)."),
    flag("proxy_ssl_session_reuse", STREAM_SERVER, "Resume TLS sessions with the peer.", "on"),
    Row(
        "proxy_ssl_trusted_certificate",
        STREAM_SERVER,
        (1, 1),
        "File of authorities that the peer is verified by.",
    ),
    flag("proxy_ssl_verify", STREAM_SERVER, "Verify chain and name of the peer's certificate."),
    Row(
        "proxy_ssl_verify_depth",
        STREAM_SERVER,
        (1, 1),
        "How many authorities may stand between the peer's certificate and a trusted one.",
        "1",
    ),
    Row("proxy_ssl_key_log", STREAM_SERVER, (1, 1), "File for TLS secrets.", planned=True),
)
