"""Who may use the control API: a token where others can connect, never a page of another site."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.harness.clients import connect, read_all
from tests.harness.gateway import StartError, run
from tests.harness.stream_srv import RESOURCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.gateway import Gateway

CONFIG = 'stream { server { listen 127.0.0.1:@front; return "hello"; } }\n'
MAIN = "error_log logs/error.log info;\nevents { }\n"
ADD = {"type": "add", "addr_port": "127.0.0.1:1", "server_name": "a", "server_body": "nothing;"}
CONTROL_FILE = """
events { }
http { server { listen @seed; location /api { dyn_module_api; } location /doc { doc_api; } } }
"""


def start(gateway: Gateway, control: str) -> None:
    """Start with `control ARGUMENTS;`, where @ is the port."""
    address = control.replace("@", str(gateway.port("control_api")))
    gateway.write(CONFIG, f"{MAIN}control {address};\n")
    gateway.start()


def answers(gateway: Gateway, **headers: str) -> list[int]:
    """Ask to read and to change; return both statuses."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with gateway.api() as api:
        read = api.get("/v1/servers", headers=names)
        change = api.post(RESOURCE, content=json.dumps(ADD), headers=names)
        return [read.status_code, change.status_code]


def test_loopback_is_open(gateway: Gateway) -> None:
    start(gateway, "127.0.0.1:@")
    assert answers(gateway) == [200, 200]


def test_a_unix_socket_is_its_owner_s(gateway: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    start(gateway, f"unix:{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    transport = httpx.HTTPTransport(uds=str(path))
    with httpx.Client(transport=transport, base_url="http://localhost") as api:
        assert api.get("/v1/status").status_code == 200
    gateway.stop()
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced_and_a_served_one_is_not(
    gateway: Gateway, tmp_path: Path
) -> None:
    path = tmp_path / "control.sock"
    start(gateway, f"unix:{path}")
    gateway.kill()
    assert path.exists()
    gateway.start()
    other = tmp_path / "other.conf"
    other.write_text(f"state_dir other;\nevents {{ }}\ncontrol unix:{path};\nstream {{ }}\n")
    result = run(["run", "-c", str(other)])
    assert result.returncode == 1
    assert f"bind() to unix:{path} failed (98: Address already in use)" in result.stderr


@pytest.mark.parametrize("address", ["0.0.0.0:@", "[::]:@", "*:@"])
def test_other_addresses_want_a_token_or_a_clear_word(gateway: Gateway, address: str) -> None:
    with pytest.raises(StartError) as refused:
        start(gateway, address)
    assert "can be reached from other hosts" in str(refused.value)
    assert 'it needs "token_file=PATH" or "token_env=NAME", or "insecure"' in str(refused.value)
    gateway.expected_alarms.append("can be reached")


def test_insecure_in_so_many_words(gateway: Gateway) -> None:
    start(gateway, "0.0.0.0:@ insecure")
    assert answers(gateway) == [200, 200]


def test_a_token_of_a_file(gateway: Gateway) -> None:
    token = gateway.prefix / "token"
    token.write_text("secret\n")
    start(gateway, "0.0.0.0:@ token_file=token")
    assert answers(gateway) == [401, 401]
    assert answers(gateway, authorization="Bearer wrong") == [401, 401]
    assert answers(gateway, authorization="Basic secret") == [401, 401]
    assert answers(gateway, authorization="Bearer secret") == [200, 200]
    # A new token counts at once, without a reload.
    token.write_text("changed")
    assert answers(gateway, authorization="Bearer secret") == [401, 401]
    assert answers(gateway, authorization="Bearer changed") == [200, 200]
    with gateway.api() as api:
        refused = api.get("/v1/status")
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert refused.json()["error"]["code"] == "unauthorized"
        # The page is no secret; it asks for the token.
        assert api.get("/doc/").status_code == 200


def test_a_token_of_the_environment(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QANAT_TEST_TOKEN", "secret")
    start(gateway, "127.0.0.1:@ token_env=QANAT_TEST_TOKEN")
    assert answers(gateway) == [401, 401]
    assert answers(gateway, authorization="Bearer secret") == [200, 200]


def test_a_page_of_another_site_is_refused(gateway: Gateway) -> None:
    start(gateway, "127.0.0.1:@")
    port = gateway.port("control_api")
    assert answers(gateway, origin="http://evil.example") == [403, 403]
    assert answers(gateway, origin="null") == [403, 403]
    assert answers(gateway, sec_fetch_site="cross-site") == [403, 403]
    # A name that its owner has pointed at 127.0.0.1.
    evil = f"evil.example:{port}"
    assert answers(gateway, origin=f"http://{evil}", host=evil) == [403, 403]
    assert answers(gateway, host=evil) == [403, 403]
    assert answers(gateway, host=f"localhost:{port}") == [200, 200]
    assert answers(gateway, origin=f"http://127.0.0.1:{port}") == [200, 200]


def test_a_refused_request_changes_nothing(gateway: Gateway) -> None:
    start(gateway, "127.0.0.1:@")
    change = ADD | {"addr_port": f"127.0.0.1:{gateway.port('new')}", "server_body": ""}
    with gateway.api() as api:
        headers = {"Origin": "http://evil.example"}
        assert api.post(RESOURCE, json=change, headers=headers).status_code == 403
        assert len(api.get("/v1/servers").json()["servers"]) == 1
    with pytest.raises(ConnectionRefusedError):
        connect(gateway.port("new"))


def test_the_control_file_of_njet_binds_and_warns(gateway: Gateway) -> None:
    helper = "helper ctrl modules/njt_helper_ctrl_module.so conf/ctrl.conf;\n"
    gateway.write(CONFIG, MAIN + helper)
    port = gateway.port("seed")
    control = gateway.prefix / "conf/ctrl.conf"
    control.write_text(CONTROL_FILE.replace("@seed", str(port)))
    gateway.start()
    with gateway.api(port) as api:
        assert api.get("/v1/status").status_code == 200
    warnings = [line for line in gateway.stderr().splitlines() if "token" in line]
    assert len(warnings) == 1
    conf = gateway.prefix / "conf/qanat.conf"
    advice = f"control 0.0.0.0:{port} token_file=PATH;"
    assert f'add "{advice}" to {conf}' in warnings[0]
    gateway.stop()
    # The line that it advises is the remedy.
    (gateway.prefix / "token").write_text("secret")
    gateway.write(CONFIG, MAIN + helper + advice.replace("PATH", "token") + "\n")
    gateway.start()
    with gateway.api(port) as api:
        assert api.get("/v1/status").status_code == 401
        assert api.get("/v1/status", headers={"Authorization": "Bearer secret"}).is_success
    assert gateway.stderr().count("needs no token") == 1


def test_a_flood_of_bytes_does_not_harm(gateway: Gateway) -> None:
    start(gateway, "127.0.0.1:@")
    with connect(gateway.port("control_api")) as client:
        client.sendall(os.urandom(65536) + b"\r\n\r\n")
        assert b" 400 " in read_all(client)
    assert answers(gateway) == [200, 200]
