"""What has come of the streams of a tunnel: counts by reason, and times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.harness.clients import is_reset
from tests.harness.forwarding import Forwarding, seconds_to_reset, talks
from tests.harness.servers import echo, serve
from tests.harness.waiting import until

if TYPE_CHECKING:
    from tests.harness.tunnels import Node


def see(node: Node, path: str) -> dict[str, Any]:
    found: dict[str, Any] = node.client.get(f"/v1/{path}").json()
    return found


def counts(node: Node, field: str) -> dict[str, int]:
    found: dict[str, int] = see(node, "tunnels/t")[field]
    return found


def test_a_refusal_counts_by_its_reason_at_both_ends(pair: tuple[Node, Node]) -> None:
    near, far = pair
    way = Forwarding(near, far, 9).make()
    way.remote(key="another")
    assert seconds_to_reset(way.port, 1) < 1
    until(lambda: counts(near, "rejected_by").get("key_mismatch"), "the count at the near end")
    assert counts(far, "refused_by")["key_mismatch"] >= 1
    assert see(far, "services/remote/s")["refused_by"]["key_mismatch"] >= 1
    assert see(near, "services/local/s")["refused_by"]["key_mismatch"] >= 1
    assert near.config()["connections"]["t"]["rejected_by"]["key_mismatch"] >= 1
    text = far.client.get("/metrics").text
    assert 'qanat_tunnel_refusals_total{reason="key_mismatch",tunnel="t"}' in text


def test_streams_and_their_ends_are_counted(pair: tuple[Node, Node]) -> None:
    near, far = pair
    with serve(echo) as target:
        way = Forwarding(near, far, target).make()
        before = see(near, "services/local/s")["streams"]
        with way.visit() as visitor:
            assert talks(visitor)
            assert see(near, "services/local/s")["streams"] == before + 1
            assert see(far, "services/remote/s")["streams"] >= 1
            opening = see(near, "tunnels/t")["opening"]
            assert opening["count"] >= 1
            assert 0 < opening["max_us"] <= opening["sum_us"]
            resets = counts(near, "reset_by").get("removed", 0)
            far.delete("/bind", "?streams=reset", tunnel="t", service="s", type="remote")
            assert is_reset(visitor)
        assert counts(near, "reset_by")["removed"] == resets + 1
    assert "qanat_tunnel_opening_seconds_bucket" in near.client.get("/metrics").text


def test_a_tunnel_that_comes_back_is_counted(pair: tuple[Node, Node]) -> None:
    way = Forwarding(*pair, 9)
    way.tunnel()
    before = see(way.near, "tunnels/t")
    assert before["handshakes"]["count"] >= 1
    # Its other end ends it, and it is asked for again.
    way.far.delete("/tunnel", name="t")
    until(lambda: way.near.state_of("t") == "removed", "the state of the dialler")
    way.tunnel()
    assert see(way.near, "tunnels/t")["reconnects"] == before["reconnects"] + 1


def test_lines_about_refusals_are_gathered(pair: tuple[Node, Node]) -> None:
    near, far = pair
    way = Forwarding(near, far, 9).make(without="bind_remote")
    seconds_to_reset(way.port, 20)
    assert far.gateway.wait_for_log(
        r"service s refused: not_bound, the last of \d+ within a second"
    )
    lines = far.gateway.error_log().count("service s refused: not_bound")
    assert lines < counts(far, "refused_by")["not_bound"]
