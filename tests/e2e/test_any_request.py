"""Whatever a request holds, it is done whole or refused with a reason, and the gateway goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.harness.clients import ask
from tests.harness.stream_srv import SUCCESS, add, dynamic_servers, remove_all, send

from qanat.config.tables import BY_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    upstream group { server 127.0.0.1:9; }
    server { listen 127.0.0.1:@front; return "default"; }
}
"""
DIRECTIVES = [*sorted(BY_CONTEXT["server"]), "upstream", "map", "worker_processes", "listen"]
WORDS = st.sampled_from(
    [
        *("{", "}", ";", '"', "'", "$", "${", "${a}", "\\", "#", "\n", "\r\n", "\t", "", "\0"),
        *("on", "off", "all", "group", "ssl", "udp", "0", "1", "-1", "1s", "1k", "1e9", "9" * 30),
        *("127.0.0.1:9", "[::1]:9", "unix:", "unix:/s", "127.0.0.1:1-9", "0.0.0.0/0", "data:"),
        *("$remote_addr", "$nothing", "~(", "*.a", "é", "名", "\u2003", "\ufeff", "weight=0"),
    ]
)
STATEMENTS = st.builds(
    lambda name, words, end: " ".join([name, *words]) + end,
    st.sampled_from(DIRECTIVES),
    st.lists(WORDS | st.text(max_size=6), max_size=4),
    st.sampled_from([";", ";\n", "", " {", " { }", "}"]),
)
BODIES = st.lists(STATEMENTS | WORDS, max_size=4).map(" ".join)
NAMES = st.text(max_size=12) | st.sampled_from(["a", "*.a.b", ".a", "a.*", "~^a", "~", "A" * 300])
OPTIONS = st.lists(
    st.sampled_from(
        [
            *("ssl", "mesh", "udp", "proxy_protocol", "reuseport", "backlog=9", "backlog=", ";"),
            *("so_keepalive=1m::3", "fastopen=3", "ipv6only=on", "bind", "default_server", "x"),
        ]
    ),
    max_size=3,
).map(" ".join)
ANY = settings(
    max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def api(served: Gateway) -> Iterator[httpx.Client]:
    with served.api() as client:
        yield client


def check(served: Gateway, api: httpx.Client, **fields: str) -> None:
    """Add; see that it is there or that nothing has changed; remove it."""
    response = send(api, {"type": "add", "server_name": "a", **fields})
    answer = response.json()
    there = dynamic_servers(api)
    if answer == SUCCESS:
        assert len(there) == 1
        remove_all(api)
    else:
        assert (response.status_code, answer["code"]) in {(200, 4), (200, 5), (400, 4)}
        assert answer["msg"]
        assert there == []
    assert ask(served.port("front")) == b"default"


@ANY
@given(body=BODIES)
@example(body='return "$remote_addr"')
def test_any_body(served: Gateway, api: httpx.Client, body: str) -> None:
    check(served, api, addr_port=f"127.0.0.1:{served.port('front')}", server_body=body)


@ANY
@given(name=NAMES)
def test_any_name(served: Gateway, api: httpx.Client, name: str) -> None:
    where = f"127.0.0.1:{served.port('front')}"
    check(served, api, addr_port=where, server_name=name, server_body='return "x";')


@ANY
@given(host=st.sampled_from(["127.0.0.1:", "[::1]:", "*:", ""]), words=OPTIONS, option=OPTIONS)
def test_any_listener(
    served: Gateway, api: httpx.Client, host: str, words: str, option: str
) -> None:
    where = f"{host}{served.port('new')} {words}"
    check(served, api, addr_port=where, listen_option=option, server_body='return "x";')


def test_nothing_is_left_of_them(served: Gateway, api: httpx.Client) -> None:
    assert api.get("/v1/status").json()["skipped"] == []
    where = f"127.0.0.1:{served.port('new')}"
    assert add(api, where, "a", 'return "a";') == SUCCESS
    assert ask(served.port("new")) == b"a"
    served.stop()
    served.start_with_api()
    assert [server["names"] for server in dynamic_servers(api)] == [["a"]]
