"""Our own resources: virtual servers, status, the description and its page."""

from pathlib import Path

import httpx
import pytest
from tests.harness.control import LOOPBACK, control_client
from tests.harness.live import live_gateway

import qanat
from qanat.api.app import create_app
from qanat.compiler.virtual_server import VirtualServerRequest


async def test_the_servers_of_file_and_api_are_listed(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, engine), control_client(gateway) as client:
        request = VirtualServerRequest("0.0.0.0:23333", "A", "proxy_pass group;")
        done = await gateway.add_virtual_server(request)
        engine.open_sessions[done.server] = 3
        response = await client.get("/v1/servers")
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert response.headers["server"] == f"qanat/{qanat.__version__}"
        body = response.json()
        assert body["revision"] == done.revision
        assert len(body["servers"]) == 4
        assert body["servers"][-1] == {
            "id": "tcp:0.0.0.0:23333/a",
            "listeners": ["tcp:0.0.0.0:23333"],
            "names": ["a"],
            "content": {"type": "proxy", "value": "group"},
            "dynamic": True,
            "sessions": 3,
            "origin": "server_body",
        }
        one = await client.get(f"/v1/servers/{done.server}")
        assert one.json() == body["servers"][-1]


@pytest.mark.parametrize("path", ["/v1/status", "/api/v1/stream_srv"])
async def test_a_fault_is_an_error_in_our_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    async with live_gateway(tmp_path) as (gateway, _):
        for method in ("status", "add_virtual_server"):
            monkeypatch.setattr(gateway, method, fail)
        transport = httpx.ASGITransport(create_app(gateway, LOOPBACK), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            if path == "/v1/status":
                response = await client.get(path)
            else:
                request = {"type": "add", "addr_port": "1.1.1.1:1", "server_name": "a"}
                response = await client.post(path, json=request)
        assert response.status_code == 500
        assert response.headers["server"] == f"qanat/{qanat.__version__}"
        assert response.json()["error"]["code"] == "internal"


async def test_an_unknown_server_is_an_error_in_our_shape(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, _), control_client(gateway) as client:
        response = await client.get("/v1/servers/tcp:1.1.1.1:1/x")
        assert response.status_code == 404
        assert response.json() == {
            "error": {
                "code": "not_found",
                "message": 'no virtual server has the id "tcp:1.1.1.1:1/x"',
                "where": "/v1/servers/tcp:1.1.1.1:1/x",
            }
        }
        assert (await client.get("/nothing")).json()["error"]["code"] == "not_found"
        assert (await client.post("/v1/status")).json()["error"]["code"] == "method_not_allowed"


async def test_the_status_shows_the_gateway_as_a_whole(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, _), control_client(gateway) as client:
        body = (await client.get("/v1/status")).json()
        assert body["version"] == qanat.__version__
        assert body["revision"] == 1
        assert body["skipped"] == []
        assert body["listeners"][0] == {
            "id": "tcp:0.0.0.0:22222",
            "protocol": "tcp",
            "address": "0.0.0.0:22222",
            "tls": False,
            "mesh": True,
            "proxy_protocol": False,
            "default_server": "tcp:0.0.0.0:22222/",
            "dynamic": False,
        }
        expected = {"node_name", "cluster_name", "pid", "uptime_s", "workers", "sessions"}
        assert expected <= body.keys()


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in references(value)]
    if isinstance(node, list):
        return [ref for value in node for ref in references(value)]
    return []


async def test_the_description_is_complete(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, _), control_client(gateway) as client:
        described = (await client.get("/v1/openapi.json")).json()
        assert described["openapi"].startswith("3.")
        paths = {
            "/v1/handlers",
            "/v1/handlers/reload",
            "/v1/servers",
            "/v1/servers/{id}",
            "/v1/status",
            "/api/v1/stream_srv",
        }
        table = "/v1/rules/{table}"
        paths |= {"/v1/rules", table, f"{table}:match", f"{table}/{{rule}}"}
        paths |= {"/v1/tunnels", "/v1/tunnels/{name}", "/v1/peers", "/v1/apply", "/metrics"}
        paths |= {"/v1/peers/{name}"}
        paths |= {f"/v1/services{end}" for end in ("", "/local/{name}", "/remote/{name}")}
        paths |= {"/v1/bindings", "/v1/bindings/{kind}/{tunnel}/{service}"}
        assert described["paths"].keys() == paths
        schemas = described["components"]["schemas"]
        named = {reference.rpartition("/")[2] for reference in references(described)}
        assert named
        assert named <= schemas.keys()


@pytest.mark.parametrize("path", ["/doc", "/doc/", "/doc/swagger/", "/doc/gui/"])
async def test_the_page_needs_nothing_from_outside(tmp_path: Path, path: str) -> None:
    async with live_gateway(tmp_path) as (gateway, _), control_client(gateway) as client:
        response = await client.get(path, follow_redirects=True)
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert "://" not in response.text
        assert "default-src 'self'" in response.headers["content-security-policy"]
        for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js", "favicon.png"):
            assert f'"/doc/{name}"' in response.text
            asset = await client.get(f"/doc/{name}")
            assert asset.status_code == 200
            assert asset.content
        assert '"/v1/openapi.json"' in (await client.get("/doc/start.js")).text
