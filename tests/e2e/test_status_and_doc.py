"""What the gateway shows of itself: servers, status, the description of the API, its page."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest
from tests.harness.clients import connect, read_exactly
from tests.harness.servers import echo, serve
from tests.harness.stream_srv import SUCCESS, add
from tests.harness.waiting import until

import qanat

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    upstream group { server 127.0.0.1:@peer; }
    server {
        listen 127.0.0.1:@front;
        listen 127.0.0.1:@second;
        server_name a.test *.b.test;
        proxy_pass group;
    }
    server { listen 127.0.0.1:@datagrams udp; return "$remote_addr!"; }
}
"""
MAIN = "error_log logs/error.log info;\nnode_name node-7;\ncluster_name east;\nevents { }\n"
BROWSER = shutil.which("chromium")


def test_servers_and_status(gateway: Gateway) -> None:
    with serve(echo) as peer:
        gateway.write(CONFIG, MAIN, peer=peer)
        gateway.start_with_api("--workers", "2")
        front, second = (f"tcp:127.0.0.1:{gateway.port(name)}" for name in ("front", "second"))
        datagrams = f"udp:127.0.0.1:{gateway.port('datagrams')}"
        with gateway.api() as api, connect(gateway.port("second")) as client:
            client.sendall(b"x")
            assert read_exactly(client, 1) == b"x"
            before = api.get("/v1/servers").json()
            assert [server["id"] for server in before["servers"]] == [
                f"{front}/a.test",
                f"{datagrams}/",
            ]
            relay, text = before["servers"]
            assert relay["listeners"] == [front, second]
            assert relay["names"] == ["a.test", "*.b.test"]
            assert relay["content"] == {"type": "proxy", "value": "group"}
            assert (relay["dynamic"], relay["sessions"]) == (False, 1)
            assert relay["origin"] == f"{gateway.prefix / gateway.conf}:8"
            assert text["content"] == {"type": "return", "value": "${remote_addr}!"}

            assert add(api, front.removeprefix("tcp:"), "Live", "proxy_pass group;") == SUCCESS
            after = api.get("/v1/servers").json()
            assert after["revision"] == before["revision"] + 1
            live = after["servers"][-1]
            assert (live["id"], live["dynamic"]) == (f"{front}/live", True)
            assert api.get(f"/v1/servers/{live['id']}").json() == live

            status = api.get("/v1/status").json()
            assert status["version"] == qanat.__version__
            assert (status["node_name"], status["cluster_name"]) == ("node-7", "east")
            assert gateway.process is not None
            assert status["pid"] == gateway.process.pid
            assert (status["servers"], status["sessions"], status["skipped"]) == (3, 1, [])
            assert status["revision"] == after["revision"]
            assert status["workers"] == 2
            assert {item["id"] for item in status["listeners"]} == {front, second, datagrams}
        with gateway.api() as api:
            until(lambda: api.get("/v1/status").json()["sessions"] == 0, "the session's end")


def test_answers_do_not_wait_for_acknowledgements(gateway: Gateway) -> None:
    gateway.write(CONFIG, peer=9)
    gateway.start_with_api()
    with gateway.api() as api:
        took = [api.get("/v1/servers").elapsed.total_seconds() for _ in range(31)]
    # A body that waits for the acknowledgement of its head takes 40 ms more.
    assert statistics.median(took) < 0.03


def test_what_is_not_there(gateway: Gateway) -> None:
    gateway.write(CONFIG, peer=9)
    gateway.start_with_api()
    with gateway.api() as api:
        for path, status, code in (
            ("/v1/servers/tcp:127.0.0.1:1/x", 404, "not_found"),
            ("/v1", 404, "not_found"),
            ("/", 404, "not_found"),
        ):
            answer = api.get(path)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/json"
            assert answer.json()["error"]["code"] == code
        refused = api.delete("/v1/status")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


def test_the_page_and_the_description_are_served_from_here(gateway: Gateway) -> None:
    gateway.write(CONFIG, peer=9)
    gateway.start_with_api()
    with gateway.api() as api:
        page = api.get("/doc/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        for path in ("/doc", "/doc/swagger/", "/doc/gui/"):
            same = api.get(path, follow_redirects=True)
            assert (same.status_code, same.text) == (200, page.text)
            assert same.headers["content-type"] == page.headers["content-type"]
        # Nothing from outside: the browser is told so, and the page asks for nothing there.
        assert "default-src 'self'" in page.headers["content-security-policy"]
        links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(links) >= 3
        for link in links:
            assert not re.match(r"(?:[a-z]+:)?//", link)
            asset = api.get(urljoin("/doc/", link))
            assert asset.status_code == 200
            assert asset.content
            if link.endswith(".css"):
                assert not re.search(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", asset.text)
        described = api.get("/v1/openapi.json").json()
        assert described["openapi"].startswith("3.")
        assert {"/v1/servers", "/v1/status", "/api/v1/stream_srv"} <= described["paths"].keys()
        assert "/v1/openapi.json" in api.get("/doc/start.js").text


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed: the page is not rendered")
def test_a_browser_renders_the_page(gateway: Gateway, tmp_path: Path) -> None:
    gateway.write(CONFIG, peer=9)
    gateway.start_with_api()
    # Every name but the gateway's leads nowhere, so whatever came from outside would be missing.
    command = [
        *(str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--virtual-time-budget=9000"),
        *(
            f"--user-data-dir={tmp_path / 'browser'}",
            f"http://127.0.0.1:{gateway.port('control_api')}/doc/",
        ),
    ]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "/api/v1/stream_srv" in shown
    assert "List Servers" in shown
