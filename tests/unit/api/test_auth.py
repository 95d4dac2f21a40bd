"""Who may use the control API: a token where other hosts can connect, never another web site."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.harness.control import LOOPBACK, control_client
from tests.harness.live import live_gateway

from qanat.compiler.control import ControlEndpoint

OUTSIDE = ControlEndpoint("0.0.0.0:8081")
ADD = b'{"type":"add","addr_port":"22222","server_name":"a"}'


async def statuses(directory: Path, endpoint: ControlEndpoint, **headers: str) -> list[int]:
    async with live_gateway(directory) as (gateway, _), control_client(gateway, endpoint) as client:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        answers = [
            await client.get("/v1/servers", headers=names),
            await client.post("/api/v1/stream_srv", content=ADD, headers=names),
        ]
        return [answer.status_code for answer in answers]


@pytest.mark.parametrize("address", ["127.0.0.1:8081", "[::1]:8081", "unix:/run/qanat.sock"])
async def test_local_addresses_are_open(tmp_path: Path, address: str) -> None:
    assert await statuses(tmp_path, ControlEndpoint(address)) == [200, 200]


async def test_other_addresses_are_open_only_if_the_configuration_says_so(tmp_path: Path) -> None:
    assert await statuses(tmp_path, OUTSIDE) == [401, 401]
    insecure = replace(OUTSIDE, allow_unauthenticated=True)
    assert await statuses(tmp_path, insecure) == [200, 200]


async def test_a_token_opens_and_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret\n")
    endpoint = replace(OUTSIDE, token_file=file)
    async with live_gateway(tmp_path) as (gateway, _), control_client(gateway, endpoint) as client:

        async def status(authorization: str) -> int:
            headers = {"Authorization": authorization}
            return (await client.get("/v1/status", headers=headers)).status_code

        refused = await client.get("/v1/status")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert refused.headers["server"].startswith("qanat/")
        assert refused.json()["error"]["code"] == "unauthorized"
        assert await status("Bearer secret") == 200
        assert await status("bearer secret") == 200
        assert await status("Basic secret") == 401
        assert await status("Bearer secre") == 401
        assert await status("Bearer ") == 401
        file.write_text("another")
        assert await status("Bearer secret") == 401
        assert await status("Bearer another") == 200
        file.write_text("")
        assert await status("Bearer ") == 401
        file.unlink()
        assert await status("Bearer another") == 401


async def test_a_token_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = replace(LOOPBACK, token_env="QANAT_TEST_TOKEN")
    monkeypatch.delenv("QANAT_TEST_TOKEN", raising=False)
    assert await statuses(tmp_path, endpoint, authorization="Bearer ") == [401, 401]
    monkeypatch.setenv("QANAT_TEST_TOKEN", "secret")
    assert await statuses(tmp_path, endpoint) == [401, 401]
    assert await statuses(tmp_path, endpoint, authorization="Bearer secret") == [200, 200]


async def test_the_page_is_readable_without_a_token(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, _), control_client(gateway, OUTSIDE) as client:
        for path in ("/doc", "/doc/", "/doc/swagger-ui.css", "/doc/start.js", "/v1/openapi.json"):
            assert (await client.get(path)).status_code == 200
        assert (await client.get("/doc/../v1/servers")).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "http://evil.example:8081", "host": "evil.example:8081"}, 403),
        ({"host": "evil.example:8081"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"origin": "http://127.0.0.1:8081"}, 200),
        ({"origin": "http://localhost:8081", "host": "localhost:8081"}, 200),
        ({"sec_fetch_site": "same-origin"}, 200),
    ],
)
async def test_pages_of_other_sites_are_refused(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    assert await statuses(tmp_path, LOOPBACK, **headers) == [status, status]
