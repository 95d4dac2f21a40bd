"""`when_down=refuse`: nobody seems to listen while no tunnel leads on, and the port stays kept."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness.forwarding import Forwarding, is_refused, seconds_to_reset, talks
from tests.harness.servers import echo, serve
from tests.harness.tunnels import configure, new_secret, reload, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from tests.harness.tunnels import Node


@pytest.fixture
def way(pair: tuple[Node, Node]) -> Iterator[Forwarding]:
    """Give a service that refuses while it is down, of which nothing else is there."""
    with serve(echo) as target:
        way = Forwarding(*pair, target)
        assert way.local(when_down="refuse").status_code == 200
        yield way


def test_visitors_are_refused_until_the_tunnel_is_up_and_again_when_it_is_gone(
    way: Forwarding,
) -> None:
    way.make(without="tunnel").local(when_down="refuse")
    for _ in range(3):
        assert is_refused(way.port)
        assert way.tunnel().status_code == 200
        # The answer says that the tunnel is up: from then on nobody is refused.
        assert way.is_served()
        assert way.near.delete("/tunnel", name="t").status_code == 200
    assert is_refused(way.port)


def test_a_service_that_is_not_bound_refuses(way: Forwarding) -> None:
    way.tunnel()
    assert is_refused(way.port)
    way.remote()
    way.bind_remote()
    assert is_refused(way.port)
    way.bind_local()
    assert way.is_served()


def test_one_of_several_tunnels_is_enough(way: Forwarding) -> None:
    way.make().local(when_down="refuse")
    way.near.post("/bind", tunnel="other", service="s", type="local")
    assert way.is_served()
    way.near.delete("/bind", tunnel="t", service="s", type="local")
    assert is_refused(way.port)


def test_refusing_cuts_no_stream_that_is_open(way: Forwarding) -> None:
    way.make().local(when_down="refuse")
    with way.visit() as visitor:
        assert talks(visitor)
        way.near.delete("/bind", tunnel="t", service="s", type="local")
        assert is_refused(way.port)
        assert talks(visitor)


def test_the_port_stays_kept_while_it_refuses(way: Forwarding) -> None:
    def claim() -> int | None:
        with socket.socket() as rival:
            rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                rival.bind(("127.0.0.1", way.port))
            except OSError as error:
                return error.errno
            return None

    assert is_refused(way.port)
    assert claim() == errno.EADDRINUSE
    way.make().local(when_down="refuse")
    assert way.is_served()
    way.near.delete("/tunnel", name="t")
    assert is_refused(way.port)
    assert claim() == errno.EADDRINUSE


def test_when_down_changes_live(way: Forwarding) -> None:
    way.make(without="tunnel")
    for _ in range(2):
        way.local(when_down="refuse")
        assert is_refused(way.port)
        way.local(when_down="close")
        assert seconds_to_reset(way.port) < 1
        way.local(when_down="refuse")
        assert is_refused(way.port)
        way.local(when_down="hold")
        with way.visit() as visitor:
            visitor.sendall(b"held")
            assert way.tunnel().status_code == 200
            assert visitor.recv(4) == b"held"
            way.local(when_down="refuse")
            assert talks(visitor)
        assert way.is_served()
        way.near.delete("/tunnel", name="t")


def test_a_far_end_that_dies_is_enough_to_refuse(tmp_path: Path) -> None:
    secret = new_secret()
    more = "service s local 127.0.0.1:@visitors_s when_down=refuse; bind t s local;"
    a = start_node(tmp_path / "a", "a", secret, more)
    b = start_node(tmp_path / "b", "b", secret, "service s remote 127.0.0.1:9; bind t s remote;")
    way = Forwarding(a, b, 9)

    def refuses() -> bool:
        # Whoever comes while it turns, or whose target refuses, is reset.
        with contextlib.suppress(ConnectionResetError):
            return is_refused(way.port)
        return False

    assert refuses()
    # Carriers that the other end dials count as well.
    assert way.tunnel(by=b).status_code == 200
    until(lambda: not refuses(), "the service listens")
    stop_node(b)
    until(refuses, "the service refuses")
    stop_node(a)


def test_a_worker_has_nothing_to_do_while_gates_stay_as_they_are(way: Forwarding) -> None:
    way.make().local(when_down="refuse")
    for _ in range(20):
        way.near.delete("/bind", tunnel="t", service="s", type="local")
        way.bind_local()
    assert way.is_served()
    assert way.near.gateway.process is not None
    pid = way.near.gateway.process.pid
    before = cpu_seconds(pid)
    time.sleep(0.5)  # What is measured is what happens in this time.
    assert cpu_seconds(pid) - before < 0.25


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_reload_turns_refusing_on_and_off(tmp_path: Path) -> None:
    secret = new_secret()
    service = "service s local 127.0.0.1:@visitors_s {}; bind t s local;"
    a = start_node(tmp_path / "a", "a", secret, service.format("when_down=close"))
    way = Forwarding(a, a, 9)
    assert not is_refused(way.port)
    for when_down, refuses in (("refuse", True), ("hold", False), ("refuse", True)):
        configure(a.gateway, "a", secret, service.format(f"when_down={when_down}"))
        assert "reconfigured" in reload(a)
        assert is_refused(way.port) is refuses
    stop_node(a)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": "udp"}, "datagrams are not refused"),
        ({"addr": "unix:visitors.sock"}, "unix sockets"),
    ],
)
def test_what_cannot_refuse_says_so(
    pair: tuple[Node, Node], changes: dict[str, object], reason: str
) -> None:
    def ask(when_down: str) -> httpx.Response:
        return Forwarding(*pair, 9).local(when_down=when_down, **changes)

    answer = ask("refuse")
    assert (answer.status_code, reason in answer.json()["reason"]) == (400, True)
    assert ask("close").status_code == 200
