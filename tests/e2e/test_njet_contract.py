"""NJet's `stream_srv` over real HTTP, answer for answer: the vectors, and what they cannot hold.

The vectors speak of NJet's example ports; the kernel's take their place in request and answer.
"""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness.clients import LOCALHOST, ask, connect, read_all
from tests.harness.stream_srv import (
    RESOURCE,
    SUCCESS,
    add,
    dynamic_servers,
    remove,
    remove_all,
    send,
)

import qanat

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from tests.harness.gateway import Gateway

VECTORS = json.loads((Path(__file__).parents[1] / "conformance" / "njet.json").read_text())
PORTS = re.compile(r"(?<![\d-])(22222|22223|23333)(?!\d)")
"""The example's ports, which also stand in host names."""
CONFIG = PORTS.sub(r"@\1", VECTORS["config"].removeprefix("events {}\n"))


@pytest.fixture
def api(served: Gateway) -> Iterator[httpx.Client]:
    with served.api() as client:
        yield client
        remove_all(client)


def with_ports(gateway: Gateway, text: str) -> str:
    """Put the kernel's ports in place of the example's."""
    return PORTS.sub(lambda found: str(gateway.ports[found[0]]), text)


@pytest.mark.conformance
@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_the_answer_to(served: Gateway, api: httpx.Client, case: dict[str, Any]) -> None:
    for given in case.get("given", ()):
        assert send(api, json.loads(with_ports(served, json.dumps(given)))).json() == SUCCESS
    before = api.get("/v1/servers").json()
    request = case["request"] or {}
    content = request["raw"] if "raw" in request else json.dumps(request, ensure_ascii=False)
    content = with_ports(served, content)
    response = api.request(case["method"], case["path"], content=content.encode())
    answer = with_ports(served, case["answer"])
    assert response.text == answer
    assert response.status_code == case["status"]
    assert response.headers["content-type"] == case["content_type"]
    assert response.headers["server"] == f"qanat/{qanat.__version__}"
    if case["method"] != "HEAD":
        assert int(response.headers["content-length"]) == len(answer.encode())
    if '"code":0' not in case["answer"]:
        assert api.get("/v1/servers").json() == before


def test_success_is_27_bytes_and_keeps_the_connection(served: Gateway, api: httpx.Client) -> None:
    # What the example's curl sends: no JSON content type.
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    content = json.dumps({"type": "add", "addr_port": served.ports["22222"], "server_name": "a"})
    content = content.replace(f" {served.ports['22222']},", f' "{served.ports["22222"]}",')
    response = api.post(RESOURCE, content=content, headers=headers)
    assert response.content == b'{"code":0,"msg":"success."}'
    assert response.headers["content-length"] == "27"
    assert response.headers.get("connection") != "close"


def test_head_has_the_status_of_get_and_no_body(served: Gateway) -> None:
    request = f"HEAD {RESOURCE} HTTP/1.1\r\nHost: {LOCALHOST}\r\nConnection: close\r\n\r\n"
    answer = ask(served.port("control_api"), request.encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert body == b""


def test_requests_in_one_write_are_answered_in_order(served: Gateway) -> None:
    body = b'{"type":"x","addr_port":"1"}'
    post = (
        f"POST {RESOURCE} HTTP/1.1\r\nHost: {LOCALHOST}\r\nContent-Length: {len(body)}\r\n".encode()
    )
    get = f"GET {RESOURCE} HTTP/1.1\r\nHost: {LOCALHOST}\r\nConnection: close\r\n\r\n".encode()
    with connect(served.port("control_api")) as client:
        client.sendall(post + b"\r\n" + body + get)
        answer = read_all(client)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"400", b"404"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_one_mebibyte(api: httpx.Client, chunked: bool) -> None:
    body = b" " * (1024 * 1024 + 1)
    response = api.post(RESOURCE, content=iter([body]) if chunked else body)
    assert response.status_code == 413
    assert response.headers["content-type"] == "text/html"
    assert "<h1>413 Request Entity Too Large</h1>" in response.text
    response = api.post(RESOURCE, content=b" " * (1024 * 1024))
    assert (response.status_code, response.json()["msg"]) == (400, "json parser error!")


@pytest.mark.parametrize(
    "body",
    [b'{"type":"\xff\xfe"}', '{"type":"add"}'.encode("utf-16"), b'{"type":' + b"[" * 200_000],
)
def test_a_body_that_is_no_text(api: httpx.Client, body: bytes) -> None:
    response = api.post(RESOURCE, content=body)
    assert (response.status_code, response.json()["msg"]) == (400, "json parser error!")
    assert response.headers["content-type"] == "text/plain"


# What the vectors do not hold: body, and the message about it.
BODIES = [
    ('return "x', 'unexpected end of file, expecting ";" or "}" in server_body:1'),
    ('return "x";\n\nreturn "y', 'unexpected end of file, expecting ";" or "}" in server_body:3'),
    ("{", 'unexpected "{" in server_body:1'),
    ('return "x"; }', 'unexpected "}" in server_body:1'),
    ("zone z 1m;", '"zone" directive no support of dynamic! in server_body:1'),
    ("quic on;", '"quic" directive no support of dynamic! in server_body:1'),
    ("include x.conf;", '"include" directive is not allowed here in server_body:1'),
    ('# return "x";\nfoo;', 'unknown directive "foo" in server_body:2'),
]


def test_what_a_body_may_not_hold(served: Gateway, api: httpx.Client) -> None:
    for body, message in BODIES:
        answer = add(api, f"0.0.0.0:{served.ports['22222']}", "a", body)
        assert answer == {"code": 4, "msg": message}
    long = add(api, f"0.0.0.0:{served.ports['22222']}", "a", f'return "{"x" * 5000}";')
    assert long["code"] == 4
    assert long["msg"].startswith("too long parameter")


def test_names_that_are_none(served: Gateway, api: httpx.Client) -> None:
    for name in ("~", "~(", ".", "a..b", "a\u0085b"):
        answer = add(api, f"0.0.0.0:{served.ports['22222']}", name)
        assert answer["code"] == 4, name
        assert "server_name:1" in answer["msg"] or answer["msg"].startswith("njt_")


def test_the_host_s_own_name(served: Gateway, api: httpx.Client) -> None:
    """NJet stores the name it stands for, and cannot delete it by the name it was given."""
    where = f"0.0.0.0:{served.ports['22222']}"
    assert add(api, where, "$hostname") == SUCCESS
    assert dynamic_servers(api)[0]["names"] == [socket.gethostname().lower()]
    assert remove(api, where, "$hostname") == SUCCESS


def test_blanks_that_are_no_blanks_in_json(served: Gateway, api: httpx.Client) -> None:
    assert add(api, "\u0085", "a") == {"code": 4, "msg": "addr_port null!!!"}
    assert add(api, "\u3000", "a") == {"code": 4, "msg": "addr_port null!!!"}


def test_the_port_of_the_control_api(served: Gateway, api: httpx.Client) -> None:
    port = served.port("control_api")
    answer = add(api, f"127.0.0.1:{port}", "a")
    assert answer["msg"] == f"Port {port} is already in use in checking port in addr_port:1"
    # TCP and UDP are independent.
    assert add(api, f"127.0.0.1:{port} udp", "a") == SUCCESS


def test_a_configuration_without_stream(gateway: Gateway) -> None:
    """NJet needs a static virtual server to add others."""
    gateway.write("")
    gateway.start_with_api()
    with gateway.api() as api:
        assert add(api, f"127.0.0.1:{gateway.port('new')}", "a", 'return "a";') == SUCCESS
        assert ask(gateway.port("new")) == b"a"


def test_a_port_of_another_process(api: httpx.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = add(api, f"127.0.0.1:{port}", "a")
    assert answer == {
        "code": 4,
        "msg": f"Port {port} is already in use in checking port in addr_port:1",
    }
    assert dynamic_servers(api) == []


def test_an_address_of_another_host(served: Gateway, api: httpx.Client) -> None:
    answer = add(api, f"192.0.2.1:{served.ports['elsewhere']}", "a")
    assert answer["code"] == 4
    assert answer["msg"].startswith("bind failed in checking port (99: ")


def test_a_refused_request_harms_no_server_that_was_added_before(
    served: Gateway, api: httpx.Client
) -> None:
    """NJet forgets the earlier server then, and cannot delete it."""
    where = f"127.0.0.1:{served.ports['ghost']}"
    assert add(api, where, "first", 'return "first";') == SUCCESS
    other = f"127.0.0.1:{served.ports['ghost_tls']}"
    assert add(api, other, "x", 'return "x";', "ssl")["code"] == 4
    assert ask(served.port("ghost")) == b"first"
    assert remove(api, where, "first") == SUCCESS


def test_requests_that_crash_njet(served: Gateway, api: httpx.Client, tmp_path: Path) -> None:
    port = served.ports["22222"]
    assert add(api, "0.0.0.0", "a")["msg"] == "addr_port error!!!"
    assert add(api, f"unix:{tmp_path}/s", "a", 'return "unix";') == SUCCESS
    assert add(api, f"127.0.0.1:{port}", "a", 'return "specific";') == SUCCESS
    assert ask(port) == b"specific"
    assert add(api, port, "*bad")["code"] == 4


def test_a_slow_client_does_not_hold_others_up(served: Gateway, api: httpx.Client) -> None:
    head = f"POST {RESOURCE} HTTP/1.1\r\nHost: {LOCALHOST}\r\nContent-Length: 50\r\n\r\n"
    with connect(served.port("control_api")) as slow:
        slow.sendall(head.encode() + b"{")
        assert add(api, served.ports["22222"], "a") == SUCCESS
