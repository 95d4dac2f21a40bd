"""`GET /metrics`: what a monitoring system reads of sessions, peers, rules and tunnels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.harness.clients import ask
from tests.harness.forwarding import Forwarding
from tests.harness.servers import echo, serve, tagged
from tests.harness.waiting import until

if TYPE_CHECKING:
    from tests.harness.gateway import Gateway
    from tests.harness.tunnels import Node

DOCS = Path(__file__).parents[2] / "docs/metrics.md"
CONFIG = """
stream {
    upstream app { server 127.0.0.1:@peer; server 127.0.0.1:9 down; }
    server { listen 127.0.0.1:@app; proxy_pass app; }
}
"""

Labels = dict[str, str]


def samples(base: str) -> dict[str, list[tuple[Labels, float]]]:
    """Read all samples, by name."""
    answer = httpx.get(f"{base}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(base: str, name: str, **labels: str) -> float:
    """Read the one sample that has these labels."""
    [found] = [
        number for known, number in samples(base)[name] if known.items() >= labels.items()
    ]  # fmt: skip
    return found


def test_sessions_and_peers_are_counted(gateway: Gateway) -> None:
    with serve(tagged("hello")) as peer:
        gateway.write(CONFIG.replace("@peer", str(peer)))
        gateway.start_with_api()
        base = f"http://127.0.0.1:{gateway.ports['control_api']}"
        for _ in range(3):
            assert ask(gateway.port("app")) == b"hello"
        until(lambda: value(base, "qanat_sessions") == 0, "the sessions to end")
        assert value(base, "qanat_sessions_accepted_total") == 3
        up = f"127.0.0.1:{peer}"
        assert value(base, "qanat_peer_selected_total", upstream="app", address=up) == 3
        assert value(base, "qanat_peer_up", address=up) == 1
        assert value(base, "qanat_peer_up", address="127.0.0.1:9") == 0
        assert value(base, "qanat_uptime_seconds") > 0


def test_tunnels_and_their_carriers_are_counted(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        assert way.is_served(bytes(100_000))
        base = str(way.near.client.base_url).rstrip("/")
        assert value(base, "qanat_tunnel_up", tunnel="t") == 1
        assert value(base, "qanat_tunnel_streams_opened_total", tunnel="t") >= 1
        sent = samples(base)["qanat_carrier_sent_bytes_total"]
        assert {labels["role"] for labels, _ in sent} == {"dialler"}
        assert sum(number for _, number in sent) > 100_000


def test_who_asks_for_openmetrics_gets_it(nodes: tuple[Node, Node]) -> None:
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    answer = nodes[0].client.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def _stem(suffix: re.Match[str]) -> str:
    return "" if suffix[1] == "info" else "_seconds"


def test_all_metrics_are_in_the_documentation(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        assert way.is_served()
        named = samples(str(way.near.client.base_url).rstrip("/")).keys()
    families = {re.sub(r"_(info|seconds_(bucket|count|sum))$", _stem, name) for name in named}
    assert families <= set(re.findall(r"^\| `(\w+)` \|", DOCS.read_text(), re.MULTILINE))
