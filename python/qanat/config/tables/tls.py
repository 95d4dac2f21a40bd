"""Directives of TLS towards the client."""

from __future__ import annotations

from qanat.config.tables.row import MANY, STREAM_SERVER, Row, flag

NAME = "TLS"

ROWS = (
    Row(
        "ssl_certificate",
        STREAM_SERVER,
        (1, 1),
        "Certificate with its chain: a file, or PEM text after `data:`; one for each kind of key.",
        repeats=True,
    ),
    Row(
        "ssl_certificate_key",
        STREAM_SERVER,
        (1, 1),
        "Key of the certificate of the same rank.",
        repeats=True,
    ),
    Row(
        "ssl_certificate_cache",
        STREAM_SERVER,
        (1, 3),
        "Cache of certificates.",
        "off",
        planned=True,
    ),
    flag("ssl_certificate_compression", STREAM_SERVER, "Compress certificates.", planned=True),
    Row("ssl_password_file", STREAM_SERVER, (1, 1), "Passphrases of keys.", planned=True),
    Row(
        "ssl_protocols",
        STREAM_SERVER,
        (1, MANY),
        "Versions of TLS; 1.2 and 1.3 are spoken, older ones are left out with a warning.",
        "TLSv1.2 TLSv1.3",
    ),
    Row(
        "ssl_ciphers",
        STREAM_SERVER,
        (1, 1),
        "Ciphers of TLS 1.2, as OpenSSL names them.",
        "HIGH:!aNULL:!MD5",
    ),
    flag(
        "ssl_prefer_server_ciphers", STREAM_SERVER, "Prefer our order of ciphers to the client's."
    ),
    Row("ssl_alpn", STREAM_SERVER, (1, MANY), "Application protocols accepted, in order."),
    flag("ssl_reject_handshake", STREAM_SERVER, "Refuse every handshake with `unrecognized_name`."),
    Row("ssl_handshake_timeout", STREAM_SERVER, (1, 1), "Time for a handshake.", "60s"),
    Row(
        "ssl_session_cache",
        STREAM_SERVER,
        (1, 2),
        "`off`, `none`, `builtin` or `shared:NAME:SIZE`.",
        "none",
    ),
    flag(
        "ssl_session_tickets",
        STREAM_SERVER,
        "Resume sessions by tickets, which all workers know.",
        "on",
    ),
    Row(
        "ssl_session_ticket_key",
        STREAM_SERVER,
        (1, 1),
        "File of a ticket key, 48 or 80 bytes: the first is for new tickets, all are accepted. "
        "Without one the gateway makes its own.",
        repeats=True,
    ),
    Row("ssl_session_timeout", STREAM_SERVER, (1, 1), "Time that a session can be resumed.", "5m"),
    flag("ssl_ntls", STREAM_SERVER, "Chinese double certificates: only `off` is possible."),
    Row(
        "ssl_ecdh_curve", STREAM_SERVER, (1, 1), "Groups of the key exchange.", "auto", planned=True
    ),
    Row("ssl_dhparam", STREAM_SERVER, (1, 1), "Parameters of DHE.", planned=True),
    Row(
        "ssl_verify_client",
        STREAM_SERVER,
        (1, 1),
        "Ask for the client's certificate.",
        "off",
        planned=True,
    ),
    Row("ssl_verify_depth", STREAM_SERVER, (1, 1), "Longest chain.", "1", planned=True),
    Row(
        "ssl_client_certificate",
        STREAM_SERVER,
        (1, 1),
        "Authorities of clients, sent as names.",
        planned=True,
    ),
    Row("ssl_trusted_certificate", STREAM_SERVER, (1, 1), "Authorities of clients.", planned=True),
    Row("ssl_crl", STREAM_SERVER, (1, 1), "Revocation lists.", planned=True),
    Row(
        "ssl_ocsp",
        STREAM_SERVER,
        (1, 1),
        "Ask whether the client's certificate is revoked.",
        "off",
        planned=True,
    ),
    Row("ssl_ocsp_responder", STREAM_SERVER, (1, 1), "Whom to ask.", planned=True),
    Row("ssl_ocsp_cache", STREAM_SERVER, (1, 1), "Cache of answers.", "off", planned=True),
    flag("ssl_stapling", STREAM_SERVER, "Staple answers of OCSP.", planned=True),
    Row("ssl_stapling_file", STREAM_SERVER, (1, 1), "File of the answer to staple.", planned=True),
    Row("ssl_stapling_responder", STREAM_SERVER, (1, 1), "Whom to ask.", planned=True),
    flag("ssl_stapling_verify", STREAM_SERVER, "Verify the answer.", planned=True),
    Row(
        "ssl_conf_command",
        STREAM_SERVER,
        (2, 2),
        "A command of OpenSSL.",
        repeats=True,
        planned=True,
    ),
    Row(
        "ssl_ech_file",
        STREAM_SERVER,
        (1, 1),
        "Keys of Encrypted ClientHello.",
        repeats=True,
        planned=True,
    ),
    Row("ssl_key_log", STREAM_SERVER, (1, 1), "File for TLS secrets.", planned=True),
)
