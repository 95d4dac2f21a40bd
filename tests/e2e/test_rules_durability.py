"""Kill -9 while rules are written: what was acknowledged decides after it."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.harness.clients import ask
from tests.harness.servers import serve, tagged

if TYPE_CHECKING:
    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    upstream one { server 127.0.0.1:@one; }
    upstream two { server 127.0.0.1:@two; }
    rules edge { }
    server { listen 127.0.0.1:@front; proxy_pass rules:edge; }
}
"""
ROUNDS = 3
SOURCES = [f"127.0.6.{number}" for number in range(1, 9)]
pytestmark = pytest.mark.slow


def change(api: httpx.Client, kept: dict[str, str], chance: random.Random) -> None:
    """Change rules, keeping what was acknowledged, until the gateway is gone."""
    while True:
        source = chance.choice(SOURCES)
        name = f"/v1/rules/edge/r{source.rpartition('.')[2]}"
        target = None if source in kept and chance.random() < 0.3 else chance.choice(["one", "two"])
        pending = kept.pop(source, None)
        try:
            if target is None:
                answer = api.delete(name)
            else:
                answer = api.put(name, json={"source": [source], "pass": target})
        except httpx.TransportError:
            # It may have been made or not: either is right.
            kept[f"?{source}"] = f"{pending or ''},{target or ''}"
            return
        assert answer.status_code == 200, answer.text
        if target is not None:
            kept[source] = target


def test_what_was_acknowledged_is_there_after_a_crash(gateway: Gateway) -> None:
    chance = random.Random(7)
    kept: dict[str, str] = {}
    with serve(tagged("one")) as one, serve(tagged("two")) as two:
        gateway.write(CONFIG, one=one, two=two)
        gateway.start_with_api()
        for _ in range(ROUNDS):
            with gateway.api() as api:
                writer = threading.Thread(target=change, args=(api, kept, chance))
                writer.start()
                threading.Event().wait(0.2 + chance.random())
                gateway.kill()
                writer.join()
            gateway.start_with_api()
            port = gateway.port("front")
            (unsure,) = (source for source in kept if source.startswith("?"))
            allowed = kept.pop(unsure).split(",")
            for source in SOURCES:
                found = ask(port, source=source).decode()
                if source == unsure[1:]:
                    assert found in allowed
                    kept.pop(source, None)
                    if found:
                        kept[source] = found
                else:
                    assert found == kept.get(source, "")
            with gateway.api() as api:
                assert api.get("/v1/status").json()["skipped_rules"] == []
