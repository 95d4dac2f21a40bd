"""`user`: the gateway gives up the rights of root, and needs nothing that only root may read."""

from __future__ import annotations

import os
import pwd
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask
from tests.harness.gateway import MAIN, Gateway
from tests.harness.stream_srv import SUCCESS, add

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the user")

CONFIG = 'stream { server { listen 127.0.0.1:@first; return "first"; } }'


@pytest.fixture
def nobody() -> Iterator[Gateway]:
    """Give a gateway in a directory that any user may enter."""
    with tempfile.TemporaryDirectory() as directory:
        prefix = Path(directory)
        prefix.chmod(0o755)
        gateway = Gateway(prefix, expected_alarms=["^import time:"])
        yield gateway
        gateway.close()


def test_serving_needs_nothing_but_what_the_user_may_read(
    nobody: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever is imported from now on might lie where the user may not read.
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    nobody.write(CONFIG, "user nobody;\n" + MAIN)
    nobody.start_with_api()
    assert nobody.process is not None
    uid = pwd.getpwnam("nobody").pw_uid
    assert Path(f"/proc/{nobody.process.pid}").stat().st_uid == uid
    imported = nobody.stderr().count("import time:")
    assert imported > 0

    with nobody.api() as api:
        address = f"127.0.0.1:{nobody.port('first')}"
        assert add(api, address, "named", "proxy_pass localhost:80;") == SUCCESS
        assert api.get("/v1/status").json()["revision"] == 2
        for path in ("/doc/", "/doc/swagger-ui-bundle.js", "/v1/openapi.json"):
            assert api.get(path).status_code == 200
        assert api.get("/v1/nothing").status_code == 404
        assert api.post("/v1/status").status_code == 405

        nobody.write(CONFIG.replace('"first"', '"second"'), "user nobody;\n" + MAIN)
        nobody.signal(signal.SIGHUP)
        nobody.wait_for_log("reconfigured")
        assert ask(nobody.port("first")) == b"second"
        assert len(api.get("/v1/servers").json()["servers"]) == 2

    nobody.signal(signal.SIGQUIT)
    assert nobody.wait() == 0
    assert nobody.stderr().count("import time:") == imported
