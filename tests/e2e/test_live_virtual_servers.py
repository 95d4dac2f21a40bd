"""Virtual servers added and removed while traffic runs: TCP, UDP, TLS, IPv6, unix sockets."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from tests.harness.certificates import name_of
from tests.harness.clients import (
    ask,
    ask_tls,
    ask_udp,
    connect,
    connect_tls,
    connect_unix,
    read_all,
    read_exactly,
    udp,
)
from tests.harness.servers import echo, serve, serve_udp
from tests.harness.stream_srv import SUCCESS, add, dynamic_servers, remove
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from tests.harness.certificates import Authority
    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    map $remote_addr $mesh_server_name { 127.0.0.2 named; 127.0.0.3 123; default ""; }
    upstream group { server 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@file; return "default"; }
    server { listen 127.0.0.1:@file udp; return "default"; }
}
"""


@pytest.fixture
def api(gateway: Gateway) -> Iterator[httpx.Client]:
    with serve(echo) as peer:
        gateway.write(CONFIG, peer=peer)
        gateway.start_with_api()
        with gateway.api() as client:
            yield client


def local(gateway: Gateway, name: str) -> str:
    return f"127.0.0.1:{gateway.port(name)}"


def test_on_an_address_of_the_file(gateway: Gateway, api: httpx.Client) -> None:
    where, port = local(gateway, "file"), gateway.port("file")
    assert ask(port, source="127.0.0.2") == b"default"
    assert add(api, where, "named", 'return "named";') == SUCCESS
    assert ask(port, source="127.0.0.2") == b"named"
    assert ask(port) == b"default"
    assert ask_udp(port, b"?", source="127.0.0.2") == b"default"
    assert remove(api, where, "NAMED") == SUCCESS
    assert ask(port, source="127.0.0.2") == b"default"
    # The next body of that name is served at once.
    assert add(api, where, "named", 'return "again";') == SUCCESS
    assert ask(port, source="127.0.0.2") == b"again"


def test_on_a_new_address(gateway: Gateway, api: httpx.Client) -> None:
    where, port = local(gateway, "new"), gateway.port("new")
    with pytest.raises(ConnectionRefusedError):
        ask(port)
    assert add(api, where, "first", 'return "first";') == SUCCESS
    assert add(api, where, "named", 'return "named";') == SUCCESS
    assert ask(port) == b"first"
    assert ask(port, source="127.0.0.2") == b"named"
    # The next one is the default when the first goes; the last one closes the socket.
    assert remove(api, where, "first") == SUCCESS
    assert ask(port) == b"named"
    assert remove(api, where, "named") == SUCCESS
    with pytest.raises(ConnectionRefusedError):
        ask(port)
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_tcp_and_udp_of_one_port_are_independent(gateway: Gateway, api: httpx.Client) -> None:
    where, port = local(gateway, "new"), gateway.port("new")
    assert add(api, f"{where} udp", "a", 'return "datagram";') == SUCCESS
    with pytest.raises(ConnectionRefusedError):
        ask(port)
    assert add(api, where, "a", 'return "stream";') == SUCCESS
    assert ask(port) == b"stream"
    assert ask_udp(port, b"?") == b"datagram"
    assert remove(api, where, "a") == SUCCESS
    assert ask_udp(port, b"?") == b"datagram"
    with pytest.raises(ConnectionRefusedError):
        ask(port)
    assert remove(api, f"{where} udp", "a") == SUCCESS
    with pytest.raises(ConnectionRefusedError):
        ask_udp(port, b"?")


def test_ipv6(gateway: Gateway, api: httpx.Client) -> None:
    where, port = f"[::1]:{gateway.port('new')}", gateway.port("new")
    assert add(api, where, "a", 'return "$remote_addr";') == SUCCESS
    assert add(api, f"{where} udp", "a", 'return "$remote_addr";') == SUCCESS
    assert ask(port, host="::1") == b"::1"
    assert ask_udp(port, b"?", host="::1") == b"::1"
    assert remove(api, where, "a") == SUCCESS
    assert remove(api, f"{where} udp", "a") == SUCCESS
    with pytest.raises(ConnectionRefusedError):
        ask(port, host="::1")


def test_unix_socket(gateway: Gateway, api: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    assert add(api, f"unix:{path}", "a", 'return "unix";') == SUCCESS
    with connect_unix(path) as client:
        assert read_all(client) == b"unix"
    assert remove(api, f"unix:{path}", "a") == SUCCESS
    assert not path.exists()


def test_a_specific_address_beside_a_wildcard(gateway: Gateway, api: httpx.Client) -> None:
    port = gateway.port("new")
    assert add(api, port, "any", 'return "any";') == SUCCESS
    assert add(api, f"127.0.0.9:{port}", "one", 'return "one";') == SUCCESS
    assert ask(port) == b"any"
    assert ask(port, host="127.0.0.9") == b"one"
    assert remove(api, port, "any") == SUCCESS
    assert ask(port, host="127.0.0.9") == b"one"
    with pytest.raises(ConnectionRefusedError):
        ask(port)


def test_established_sessions_outlive_their_server(gateway: Gateway, api: httpx.Client) -> None:
    shared, own = local(gateway, "file"), local(gateway, "new")
    assert add(api, shared, "named", "proxy_pass group;") == SUCCESS
    assert add(api, own, "only", "proxy_pass group;") == SUCCESS
    with (
        connect(gateway.port("file"), source="127.0.0.2") as through_shared,
        connect(gateway.port("new")) as through_own,
    ):
        for client in (through_shared, through_own):
            client.sendall(b"before")
            assert read_exactly(client, 6) == b"before"
        assert remove(api, shared, "named") == SUCCESS
        assert remove(api, own, "only") == SUCCESS
        with pytest.raises(ConnectionRefusedError):
            ask(gateway.port("new"))
        for client in (through_shared, through_own):
            client.sendall(b"after")
            assert read_exactly(client, 5) == b"after"
    until(lambda: api.get("/v1/status").json()["sessions"] == 0, "the sessions to end")


def test_a_datagram_session_outlives_its_server(gateway: Gateway, api: httpx.Client) -> None:
    where = f"{local(gateway, 'new')} udp"
    with serve_udp(lambda data: [data]) as peer, udp(gateway.port("new")) as client:
        assert add(api, where, "a", f"proxy_pass 127.0.0.1:{peer}; proxy_timeout 1h;") == SUCCESS
        client.send(b"before")
        assert client.recv(100) == b"before"
        assert remove(api, where, "a") == SUCCESS
        # Whoever was there first has the address again.
        assert add(api, where, "b", 'return "b";') == SUCCESS
        assert ask_udp(gateway.port("new"), b"?", source="127.0.0.8") == b"b"


def test_tls(gateway: Gateway, api: httpx.Client, authority: Authority) -> None:
    first, second = authority.issue("first.test", rsa=True), authority.issue("second.test")
    where, port = local(gateway, "new"), gateway.port("new")

    def body(pair: str, text: str) -> str:
        files = f"ssl_certificate {pair}.pem; ssl_certificate_key {pair}.key;"
        return f'{files} return "{text}";'

    assert add(api, where, "first.test", body("first.test", "1"), "ssl") == SUCCESS
    assert add(api, where, "second.test", body("second.test", "2")) == SUCCESS
    assert first.certificate.exists()
    assert second.certificate.exists()
    for name, sni, text in (
        ("first.test", None, b"1"),
        ("first.test", "other.test", b"1"),
        ("second.test", "second.test", b"2"),
    ):
        with connect_tls(port, sni) as client:
            assert name_of(client.getpeercert(binary_form=True)) == name
            assert read_all(client) == text
    assert remove(api, where, "first.test") == SUCCESS
    assert ask_tls(port, "anything.test") == b"2"


def test_a_rejecting_default(gateway: Gateway, api: httpx.Client, authority: Authority) -> None:
    gateway.stop()
    authority.issue("live.test")
    text = CONFIG.replace(
        "}\n}", "}\n    server { listen 127.0.0.1:@tls ssl; ssl_reject_handshake on; }\n}"
    )
    gateway.write(text, peer=9)
    gateway.start_with_api()
    where, port = local(gateway, "tls"), gateway.port("tls")
    body = 'ssl_certificate live.test.pem; ssl_certificate_key live.test.key; return "ok";'
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        ask_tls(port, "live.test")
    assert add(api, where, "live.test", body) == SUCCESS
    assert ask_tls(port, "live.test") == b"ok"
    for name in ("other.test", None):
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            ask_tls(port, name)
    assert remove(api, where, "live.test") == SUCCESS
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        ask_tls(port, "live.test")


def test_a_pair_that_does_not_fit_is_refused(
    gateway: Gateway, api: httpx.Client, authority: Authority
) -> None:
    authority.issue("a.test")
    authority.issue("b.test")
    where = local(gateway, "new")
    mixed = 'ssl_certificate a.test.pem;\nssl_certificate_key b.test.key;\nreturn "x";'
    answer = add(api, where, "a.test", mixed, "ssl")
    assert answer["code"] == 4
    assert " in server_body:" in answer["msg"]
    missing = "ssl_certificate a.test.pem;\nssl_certificate_key missing.key;"
    answer = add(api, where, "a.test", missing, "ssl")
    assert answer["code"] == 4
    assert "missing.key" in answer["msg"]
    assert "No such file" in answer["msg"]
    with pytest.raises(ConnectionRefusedError):
        ask(gateway.port("new"))


def test_a_server_without_content_resets(gateway: Gateway, api: httpx.Client) -> None:
    assert add(api, local(gateway, "new"), "empty") == SUCCESS
    gateway.expected_alarms.append("no handler for server")
    # The reset may come before `connect` returns.
    with pytest.raises(ConnectionResetError):
        ask(gateway.port("new"))


def test_what_is_inherited_and_what_is_the_server_s_own(
    gateway: Gateway, api: httpx.Client
) -> None:
    where, port = local(gateway, "file"), gateway.port("file")
    assert add(api, where, "named", 'deny all; return "x";') == SUCCESS
    assert ask(port) == b"default"
    assert ask(port, source="127.0.0.2") == b""
    # The map's other value selects the server of just that name.
    assert add(api, where, "123", 'return "123";') == SUCCESS
    assert ask(port, source="127.0.0.3") == b"123"


def test_a_message_says_which_line_and_why(gateway: Gateway, api: httpx.Client) -> None:
    answer = add(api, local(gateway, "new"), "a", 'return "x";\n\nproxy_timeout soon;\n')
    assert answer["code"] == 4
    assert answer["msg"].endswith("in server_body:3")
    assert '"proxy_timeout"' in answer["msg"]


def test_they_are_there_after_a_restart(
    gateway: Gateway, api: httpx.Client, tmp_path: Path
) -> None:
    path = tmp_path / "live.sock"
    assert add(api, local(gateway, "file"), "named", 'return "named";') == SUCCESS
    assert add(api, local(gateway, "new"), "first", 'return "first";') == SUCCESS
    assert add(api, local(gateway, "new"), "second", 'return "second";') == SUCCESS
    assert add(api, f"{local(gateway, 'new')} udp", "u", 'return "udp";') == SUCCESS
    assert add(api, f"unix:{path}", "s", 'return "unix";') == SUCCESS
    assert remove(api, local(gateway, "new"), "first") == SUCCESS
    before = dynamic_servers(api)
    gateway.stop()
    gateway.start_with_api()
    assert dynamic_servers(api) == before
    assert ask(gateway.port("file"), source="127.0.0.2") == b"named"
    assert ask(gateway.port("new")) == b"second"
    assert ask_udp(gateway.port("new"), b"?") == b"udp"
    with connect_unix(path) as client:
        assert read_all(client) == b"unix"


def test_one_that_cannot_be_served_after_a_restart_is_kept_and_told(
    gateway: Gateway, api: httpx.Client
) -> None:
    where, port = local(gateway, "new"), gateway.port("new")
    assert add(api, where, "a", 'return "a";') == SUCCESS
    gateway.stop()
    gateway.expected_alarms.append("is not served")
    with socket.create_server(("127.0.0.1", port)):
        gateway.start_with_api()
        skipped = api.get("/v1/status").json()["skipped"]
        assert [item["name"] for item in skipped] == ["a"]
        assert "98: " in skipped[0]["message"]
        assert ask(gateway.port("file")) == b"default"
        gateway.stop()
    gateway.start_with_api()
    assert ask(port) == b"a"
    assert api.get("/v1/status").json()["skipped"] == []
