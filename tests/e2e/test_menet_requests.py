"""Requests to Menet's paths: what bodies may look like, and what those are told that cannot be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness.forwarding import Forwarding
from tests.harness.servers import echo, serve

if TYPE_CHECKING:
    import httpx
    from tests.harness.gateway import Gateway
    from tests.harness.tunnels import Node

SERVICE = {"name": "s", "type": "local", "addr": ["127.0.0.1", 1]}
REMOTE = {"name": "s", "type": "remote", "addr": "127.0.0.1:9"}
BIND = {"tunnel": "t", "service": "s", "type": "local"}


def without(body: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != field}


def reason_of(answer: httpx.Response, status: int) -> str:
    """Check that it is a refusal."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert sorted(body) == ["ok", "reason"]
    assert body["ok"] is False
    return str(body["reason"])


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/tunnel", {"name": "t"}, "dest"),
        ("/tunnel", {"dest": ["127.0.0.1", "1"]}, "name"),
        ("/service", without(SERVICE, "name"), "name"),
        ("/service", without(SERVICE, "type"), "type"),
        ("/service", without(SERVICE, "addr"), "addr"),
        ("/service", SERVICE | {"type": "both"}, "type"),
        ("/service", SERVICE | {"type": "remote", "pending_timeout": 1}, "pending_timeout"),
        ("/service", SERVICE | {"type": "remote", "when_down": "close"}, "when_down"),
        ("/service", SERVICE | {"type": "local", "proxy_protocol": "v1"}, "proxy_protocol"),
        ("/service", SERVICE | {"type": "local", "max_streams": 1}, "max_streams"),
        ("/service", SERVICE | {"addr": ["127.0.0.1"]}, "addr"),
        ("/service", SERVICE | {"addr": ["127.0.0.1", "http"]}, "http"),
        ("/service", SERVICE | {"addr": ["127.0.0.1", 65536]}, "65536"),
        ("/service", SERVICE | {"addr": ["127.0.0.1", -1]}, "-1"),
        ("/service", SERVICE | {"pending_timeout": "soon"}, "pending_timeout"),
        ("/service", SERVICE | {"pending_timeout": -1}, "pending_timeout"),
        ("/service", SERVICE | {"when_down": "wait"}, "when_down"),
        ("/service", SERVICE | {"name": "a/b"}, "a/b"),
        ("/service", SERVICE | {"colour": "red"}, "colour"),
        ("/service", REMOTE | {"timeout": []}, "timeout"),
        ("/service", REMOTE | {"proxy_protocol": "v3"}, "v3"),
        ("/bind", without(BIND, "type"), "type"),
        ("/bind", without(BIND, "tunnel"), "tunnel"),
        ("/bind", without(BIND, "service"), "service"),
        ("/bind", BIND | {"type": "both"}, "type"),
        ("/bind", BIND | {"tunnel": ""}, "tunnel"),
    ],
)
def test_a_body_that_lacks_something_is_refused_by_its_field(
    pair: tuple[Node, Node], path: str, body: dict[str, Any], field: str
) -> None:
    a, _ = pair
    before = a.config()
    assert field in reason_of(a.client.post(path, json=body), 400)
    assert a.config() == before


@pytest.mark.parametrize(
    ("path", "body"),
    [("/service", {"name": "s"}), ("/bind", {"tunnel": "t", "service": "s"})],
)
def test_removing_needs_a_type(pair: tuple[Node, Node], path: str, body: dict[str, Any]) -> None:
    answer = pair[0].client.request("DELETE", path, json=body)
    assert "type" in reason_of(answer, 400)


@pytest.mark.parametrize("form", ["pair of texts", "number", "text"])
def test_ports_are_numbers_or_texts(pair: tuple[Node, Node], form: str) -> None:
    a, b = pair

    def address(port: int) -> object:
        forms: dict[str, object] = {
            "pair of texts": ["127.0.0.1", str(port)],
            "number": ["127.0.0.1", port],
            "text": f"127.0.0.1:{port}",
        }
        return forms[form]

    with serve(echo) as target:
        way = Forwarding(a, b, target)
        assert a.post("/tunnel", name="t", dest=address(b.tunnel_port)).status_code == 200
        assert way.local(addr=address(way.port)).status_code == 200
        assert way.remote(addr=address(target)).status_code == 200
        way.bind_local()
        way.bind_remote()
        assert way.is_served()


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_any_valid_json_will_do(pair: tuple[Node, Node], line_end: str) -> None:
    text = json.dumps(REMOTE, indent=4).replace("\n", line_end)
    for content_type in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
        headers = {"content-type": content_type}
        answer = pair[0].client.post("/service", content=text, headers=headers)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("text", "position"),
    [('{"name": "s", ', 14), ('{"name" "s"}', 8), ("name=s", 4)],
)
def test_a_body_that_is_no_json_is_refused_with_the_position(
    pair: tuple[Node, Node], text: str, position: int
) -> None:
    answer = pair[0].client.post("/service", content=text)
    assert f"at byte {position}:" in reason_of(answer, 400)


@pytest.mark.parametrize("path", ["/tunnel", "/service", "/bind"])
def test_without_a_body_nothing_is_done(pair: tuple[Node, Node], path: str) -> None:
    assert "empty" in reason_of(pair[0].client.post(path), 400)
    assert "empty" in reason_of(pair[0].client.delete(path), 400)


@pytest.mark.parametrize(
    ("query", "path", "body"),
    [
        ("?streams=cut", "/service", {"name": "s", "type": "local"}),
        ("?streams=cut", "/bind", BIND),
        ("?drain=long", "/tunnel", {"name": "t"}),
    ],
)
def test_a_parameter_that_means_nothing_is_refused(
    pair: tuple[Node, Node], query: str, path: str, body: dict[str, Any]
) -> None:
    answer = pair[0].client.request("DELETE", path + query, json=body)
    assert query[1:].partition("=")[0] in reason_of(answer, 400)


def test_a_body_that_is_too_large_is_refused(pair: tuple[Node, Node]) -> None:
    answer = pair[0].client.post("/tunnel", content=b"x" * (9 << 20))
    assert "larger than" in reason_of(answer, 413)


def test_what_there_is_can_be_read_and_keys_are_masked(pair: tuple[Node, Node]) -> None:
    a, b = pair
    with serve(echo) as target:
        way = Forwarding(a, b, target).make()
        config = a.client.get("/config")
        assert config.headers["content-type"] == "application/json"
        assert int(config.headers["content-length"]) == len(config.content)
        shown = config.json()
        assert sorted(shown) == ["bind", "connections", "services", "tunnels"]
        assert shown["tunnels"]["t"]["dest"] == f"127.0.0.1:{b.tunnel_port}"
        assert shown["tunnels"]["t"]["state"] == "up"
        assert shown["services"]["local"]["s"]["addr"] == f"127.0.0.1:{way.port}"
        assert shown["bind"] == {"local": {"s": ["t"]}, "remote": {}}
        far = b.config()
        assert far["services"]["remote"]["s"]["addr"] == f"127.0.0.1:{target}"
        assert far["bind"] == {"local": {}, "remote": {"s": ["t"]}}
        for node in pair:
            for path in ("/config", "/tunnel", "/service", "/bind"):
                answer = node.client.get(path)
                assert answer.status_code == 200
                assert "UHI@" not in answer.text
            assert "UHI@" not in node.gateway.error_log() + node.gateway.stderr()
        assert a.client.get("/tunnel").json()["t"]["state"] == "up"
        assert a.client.get("/service").json() == shown["services"] | {"remote": {}}
        assert a.client.get("/bind").json() == shown["bind"]


@pytest.mark.parametrize("path", ["/config", "/tunnel", "/service", "/bind"])
def test_head_answers_as_get_without_the_body(pair: tuple[Node, Node], path: str) -> None:
    answer = pair[0].client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/config", {"GET", "HEAD"})]
    + [(path, {"GET", "HEAD", "POST", "DELETE"}) for path in ("/tunnel", "/service", "/bind")],
)
def test_other_methods_are_answered_with_those_that_are_allowed(
    pair: tuple[Node, Node], path: str, allowed: set[str]
) -> None:
    for method in {"PUT", "PATCH", "POST", "DELETE"} - allowed:
        answer = pair[0].client.request(method, path)
        reason_of(answer, 405)
        assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/tunnels", "/tunnel/", "/config/x"])
def test_unknown_paths_are_not_found(pair: tuple[Node, Node], path: str) -> None:
    assert pair[0].client.get(path).status_code == 404


def test_a_gateway_without_tunnels_says_so(served: Gateway) -> None:
    with served.api() as api:
        answer = api.post("/service", json=REMOTE)
        assert '"tunnels" block' in reason_of(answer, 400)


CONFIG = "stream { }\n"
