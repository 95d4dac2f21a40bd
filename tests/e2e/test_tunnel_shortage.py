"""An end of a tunnel that runs out of descriptors: it refuses, tells, and recovers."""

from __future__ import annotations

import re
import resource
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness.forwarding import Forwarding, seconds_to_reset, talks
from tests.harness.servers import echo, serve
from tests.harness.tunnels import Node, new_secret, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOM = 12
"""Descriptors that a gateway may open beside those that it has."""


@pytest.fixture
def own_pair(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Give two gateways, one of which may run out of descriptors."""
    secret = new_secret()
    a, b = (start_node(tmp_path / name, name, secret) for name in "ab")
    b.gateway.expected_alarms.append("Too many open files")
    yield a, b
    stop_node(a)
    stop_node(b)


@contextmanager
def few_files(node: Node) -> Iterator[None]:
    """Let a gateway open few more files for a while."""
    process = node.gateway.process
    assert process is not None
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    count = len(list(Path(f"/proc/{process.pid}/fd").iterdir())) + ROOM
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)


def metrics(node: Node) -> str:
    return node.client.get("/metrics").text


def test_streams_beyond_the_descriptors_are_refused_and_others_go_on(
    own_pair: tuple[Node, Node],
) -> None:
    a, b = own_pair
    with serve(echo) as target, ExitStack() as visitors:
        way = Forwarding(a, b, target).make()
        until(lambda: len(b.config()["tunnels"]["t"]["carriers"]) == 2, "both carriers")
        served = []
        with few_files(b):
            for _ in range(4 * ROOM):
                try:
                    visitor = visitors.enter_context(way.visit())
                    assert talks(visitor)
                except ConnectionResetError:
                    break
                served.append(visitor)
            else:
                pytest.fail("nobody was refused")
            assert served
            assert all(talks(visitor) for visitor in served)
            b.gateway.wait_for_log(r"\[crit\].*Too many open files.*accepting pauses")
            assert a.config()["connections"]["t"]["rejected"] > 0
            # Nobody is left hanging, and the tunnel stays up.
            assert seconds_to_reset(way.port, 1) < 1
            assert a.state_of("t") == "up"
        # A pause is half a second.
        until(way.is_served, "new visitors to be served again")
        assert all(talks(visitor) for visitor in served)
        [paused] = re.findall(r"^qanat_accept_pauses_total (.+)$", metrics(b), re.MULTILINE)
        assert float(paused) > 0


def test_tunnels_that_come_meanwhile_are_up_once_there_is_room(own_pair: tuple[Node, Node]) -> None:
    a, b = own_pair
    with serve(echo) as target, ExitStack() as visitors:
        way = Forwarding(a, b, target).make()
        until(lambda: len(b.config()["tunnels"]["t"]["carriers"]) == 2, "both carriers")
        with few_files(b):
            while "accepting pauses" not in b.gateway.error_log():
                with suppress(ConnectionResetError):
                    talks(visitors.enter_context(way.visit()))
            body = {"dest": f"127.0.0.1:{b.tunnel_port}"}
            assert a.client.put("/v1/tunnels/later", json=body).status_code in {201, 202}
        until(lambda: a.state_of("later") == "up", "the tunnel")
