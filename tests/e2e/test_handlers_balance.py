"""Balance handlers: the sessions of a peer, what attempts failed of, and what a peer allows."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, connect, read_all, read_exactly, udp
from tests.harness.handlers import write_module
from tests.harness.servers import listen, port_of, serve, serve_udp, tagged
from tests.harness.waiting import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway
    from tests.harness.servers import Handle

MODULE = """
from qanat.handlers import Balancer, LeastConnections, Peer

least = LeastConnections(PEERS)


def fewest(session):
    return least.pick()


def loads(session):
    text = " ".join(str(Balancer.load(peer)) for peer in (*PEERS, DEAD, DATAGRAMS))
    session.reject(200, text.encode())


def all_fail(session):
    session.ctx.states = getattr(session.ctx, "states", [])
    if session.tries == 0:
        session.ctx.granted = session.more_tries(4)
    else:
        failure = session.last_failure
        session.ctx.states.append(f"{failure.state} {Balancer.load(failure.peer)}")
    return FAILING[session.tries]


def stubborn(session):
    session.more_tries(1_000_000)
    return DEAD


def note_states(record):
    record.vars["steps"] = ", ".join([f"{record.ctx.granted} more", *record.ctx.states])


def impatient(session):
    return Peer(PEERS[0], timeout=0.05)


def datagrams(session):
    return DATAGRAMS
"""

CONFIG = """
stream {
    python_path ../py;
    log_format steps '$status $upstream_addr [$steps]';
    access_log logs/access.log steps;
    upstream fewest { balance_by_python app:fewest; }
    upstream failing { balance_by_python app:all_fail; }
    upstream stubborn { balance_by_python app:stubborn; }
    upstream impatient { balance_by_python app:impatient; }
    upstream datagrams { balance_by_python app:datagrams; }
    server { listen 127.0.0.1:@fewest; proxy_pass fewest; }
    server { listen 127.0.0.1:@loads; preread_by_python app:loads; return ""; }
    server {
        listen 127.0.0.1:@failing; set $steps ""; log_by_python app:note_states;
        proxy_ssl on; proxy_connect_timeout 5s; proxy_pass failing;
    }
    server {
        listen 127.0.0.1:@limited; set $steps ""; log_by_python app:note_states;
        proxy_next_upstream_tries 3; proxy_pass failing;
    }
    server { listen 127.0.0.1:@stubborn; proxy_pass stubborn; }
    server { listen 127.0.0.1:@impatient; proxy_timeout 1h; proxy_pass impatient; }
    server { listen 127.0.0.1:@udp udp; proxy_timeout 1h; proxy_requests 2; proxy_responses 1;
        proxy_pass datagrams; }
}
"""


def stay(tag: str) -> Handle:
    """Send `tag`, and stay until the client goes."""

    def handle(connection: socket.socket) -> None:
        connection.sendall(tag.encode())
        while connection.recv(1):
            pass

    return handle


@pytest.fixture
def running(gateway: Gateway) -> Iterator[Gateway]:
    with (
        serve(stay("1")) as one,
        serve(stay("2")) as two,
        serve(tagged("no TLS")) as plain,
        serve_udp(lambda data: [data]) as datagrams,
        listen() as full,
    ):
        local = [f"127.0.0.1:{port}" for port in (one, two, plain, datagrams, port_of(full))]
        dead = f"127.0.0.1:{gateway.port('nobody_listens')}"
        failing = [dead, "unix:/nowhere/at/all", local[2]]
        facts = (
            f"PEERS = {local[:2]!r}\nDEAD = {dead!r}\nDATAGRAMS = {local[3]!r}\n"
            f"from qanat.handlers import Peer\nFAILING = {failing!r} + "
            f"[Peer({local[4]!r}, connect_timeout=0.05), DEAD]\n"
        )
        write_module(gateway, "app", facts + MODULE)
        gateway.write(CONFIG)
        yield gateway.start()


def loads(gateway: Gateway) -> list[int]:
    """Return the open sessions of the two peers, of the dead one, and of that for datagrams."""
    return [int(load) for load in ask(gateway.port("loads")).split()]


def wait_for_loads(gateway: Gateway, expected: list[int]) -> None:
    until(lambda: loads(gateway) == expected or None, f"loads of {expected}")


def test_a_new_session_goes_where_fewest_are_open(running: Gateway) -> None:
    clients = [connect(running.port("fewest")) for _ in range(4)]
    tags = [read_exactly(client, 1) for client in clients]
    assert sorted(tags) == [b"1", b"1", b"2", b"2"]
    assert loads(running) == [2, 2, 0, 0]
    for client, tag in zip(clients, tags, strict=True):
        if tag == b"2":
            client.close()
    wait_for_loads(running, [2, 0, 0, 0])
    with connect(running.port("fewest")) as one, connect(running.port("fewest")) as other:
        assert read_exactly(one, 1) == read_exactly(other, 1) == b"2"
        assert loads(running) == [2, 2, 0, 0]
    for client in clients:
        client.close()
    wait_for_loads(running, [0, 0, 0, 0])


def test_counts_outlive_a_reload_of_the_handlers(running: Gateway) -> None:
    with connect(running.port("fewest")) as held:
        assert read_exactly(held, 1) == b"1"
        running.signal(signal.SIGHUP)
        running.wait_for_log("reconfigured")
        with connect(running.port("fewest")) as client:
            assert read_exactly(client, 1) == b"2"


def test_a_handler_cannot_try_without_end(running: Gateway) -> None:
    assert ask(running.port("stubborn")) == b""
    [line] = running.log_lines(1)
    assert line.startswith("502 ")
    assert line.count(",") == 99


def test_a_handler_learns_what_an_attempt_failed_of(running: Gateway) -> None:
    assert ask(running.port("failing")) == b""
    [line] = running.log_lines(1)
    assert line.startswith("502 ")
    assert line.endswith("[4 more, refused 0, unreachable 0, tls 0, timed_out 0]")
    wait_for_loads(running, [0, 0, 0, 0])


def test_a_handler_learns_how_many_tries_are_left(running: Gateway) -> None:
    assert ask(running.port("limited")) == b"no TLS"
    assert running.log_lines(1)[0].endswith("[2 more, refused 0, unreachable 0]")


def test_a_peer_can_have_a_timeout_of_its_own(running: Gateway) -> None:
    with connect(running.port("impatient")) as client:
        assert read_all(client) == b"1"
    running.wait_for_log("connection timed out")


def test_sessions_of_datagrams_count_as_well(running: Gateway) -> None:
    with udp(running.port("udp")) as client:
        client.send(b"first")
        assert client.recv(9) == b"first"
        assert loads(running) == [0, 0, 0, 1]
        client.send(b"last")
        assert client.recv(9) == b"last"
        wait_for_loads(running, [0, 0, 0, 0])
