"""The directive tables: consistent, complete enough to document, and what this version supports."""

from __future__ import annotations

import pytest

from qanat.config.tables import AREAS, BY_CONTEXT, UNCHECKED, Row

ROWS = [row for _, rows in AREAS for row in rows]


def test_no_directive_has_two_rows_in_one_context() -> None:
    places = [(row.name, context) for row in ROWS for context in row.contexts]
    assert len(places) == len(set(places))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.contexts[0]}-{row.name}")
def test_every_row_can_be_documented(row: Row) -> None:
    assert row.meaning.endswith(".")
    least, most = row.args
    assert 0 <= least <= (least if most is None else most)
    assert row.block in {None, UNCHECKED, *BY_CONTEXT}
    if row.flag:
        assert row.args == (1, 1)
        assert row.default in {"on", "off"}


def test_what_an_everyday_stream_proxy_needs_is_supported() -> None:
    wanted = """
        listen server_name proxy_pass proxy_connect_timeout proxy_timeout proxy_buffer_size
        proxy_next_upstream proxy_next_upstream_tries proxy_next_upstream_timeout proxy_protocol
        proxy_half_close proxy_bind tcp_nodelay return allow deny ssl_certificate
        ssl_certificate_key ssl_protocols ssl_ciphers ssl_alpn ssl_reject_handshake
        ssl_session_cache ssl_session_tickets ssl_session_timeout ssl_handshake_timeout proxy_ssl
        proxy_ssl_name proxy_ssl_verify ssl_preread preread_buffer_size preread_timeout access_log
        error_log proxy_requests proxy_responses set
    """
    planned = [name for name in wanted.split() if BY_CONTEXT["server"][name].planned]
    assert planned == []
