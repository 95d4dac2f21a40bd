"""Limits of tunnels: bytes a second, changed under open streams; streams at once; memory."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ParamSpec

import pytest
from tests.harness.clients import connect, is_reset, read_all, read_exactly, udp
from tests.harness.forwarding import Forwarding, talks
from tests.harness.servers import accept, echo, listen, port_of, serve
from tests.harness.tunnels import Node, configure, new_secret, reload, start_node, stop_node
from tests.harness.waiting import until

from qanat.control.tunnel_identity import identity_of, read_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

P = ParamSpec("P")

KIB = 1024
RATE = 100 * KIB
BURST = 16 * KIB  # at least a frame
SERVICES = "/v1/services"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def carriers(node: Node) -> list[dict[str, Any]]:
    """Show the carriers of tunnel `t`."""
    found: list[dict[str, Any]] = node.client.get("/v1/tunnels/t").json()["carriers"]
    return found


def total(node: Node, counter: str) -> int:
    return sum(int(carrier[counter]) for carrier in carriers(node))


def held_back(node: Node) -> bool:
    """Tell whether some stream waits for a limit."""
    return total(node, "throttled_now") > 0


def least_seconds(count: int, rate: int = RATE) -> float:
    """Tell how long so many bytes take at least: what a burst has is ahead."""
    return (count - max(BURST, rate // 10)) / rate


def lasted(transfer: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> float:
    """Tell how many seconds something takes."""
    began = time.monotonic()
    transfer(*args, **kwargs)
    return time.monotonic() - began


def is_turned_away(way: Forwarding) -> bool:
    """Come as one too many."""
    try:
        with way.visit() as visitor:
            return is_reset(visitor)
    except ConnectionResetError:
        return True


def upload(way: Forwarding, listener: socket.socket, count: int) -> None:
    """Send so many bytes and an end, which must arrive whole, and in order."""
    data = os.urandom(count)
    with way.visit() as visitor, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(visitor.sendall, data)
        with accept(listener) as served:
            sending.add_done_callback(lambda _: visitor.shutdown(socket.SHUT_WR))
            assert hashlib.sha256(read_all(served)).digest() == hashlib.sha256(data).digest()


def download(way: Forwarding, listener: socket.socket, count: int) -> None:
    """Let the target send so many bytes and end."""
    with way.visit() as visitor, ThreadPoolExecutor(1) as pool:
        visitor.sendall(b"x")
        with accept(listener) as served:
            sending = pool.submit(served.sendall, bytes(count))
            sending.add_done_callback(lambda _: served.shutdown(socket.SHUT_WR))
            assert len(read_all(visitor)) == count


@pytest.mark.parametrize("side", ["local", "remote"])
@pytest.mark.parametrize("direction", ["upload", "download"])
def test_a_service_keeps_to_its_rate_at_either_end(
    pair: tuple[Node, Node], side: str, direction: str
) -> None:
    with listen() as target:
        way = Forwarding(*pair, port_of(target)).make()
        node = way.near if side == "local" else way.far
        patched = node.client.patch(f"{SERVICES}/{side}/s", json={f"{direction}_rate": "100k"})
        assert patched.status_code == 200, patched.text
        limited, free = (upload, download) if direction == "upload" else (download, upload)
        assert lasted(limited, way, target, 200 * KIB) >= least_seconds(200 * KIB)
        assert node.client.get(f"{SERVICES}/{side}/s").json()[f"{direction}_rate"] == RATE
        # The other direction is free: ten times as much is there in less time.
        assert lasted(free, way, target, 2000 * KIB) < least_seconds(2000 * KIB)


def test_a_limited_service_does_not_hold_up_its_neighbour(pair: tuple[Node, Node]) -> None:
    with listen() as slow_target, serve(echo) as port, ThreadPoolExecutor(1) as pool:
        slow = Forwarding(*pair, port_of(slow_target), "s").make()
        fast = Forwarding(*pair, port, "u")
        for call in (fast.local, fast.remote, fast.bind_local, fast.bind_remote):
            assert call().status_code == 200
        slow.local(upload_rate=RATE).raise_for_status()
        limited = pool.submit(lasted, upload, slow, slow_target, 300 * KIB)
        until(lambda: held_back(slow.near), "the slow one to be held back")
        assert fast.is_served(os.urandom(1 << 20))
        assert not limited.done(), "several times as much goes by while the slow one waits"
        assert limited.result() >= least_seconds(300 * KIB)


def test_all_streams_of_a_service_share_its_rate_and_each_may_have_its_own(
    pair: tuple[Node, Node],
) -> None:
    with listen() as target, ThreadPoolExecutor(4) as pool:
        way = Forwarding(*pair, port_of(target)).make()

        def each(count: int) -> None:
            visitors = [way.visit() for _ in range(4)]
            for visitor in visitors:
                visitor.sendall(b"x")
            served = [accept(target) for _ in visitors]
            sendings = [pool.submit(connection.sendall, bytes(count)) for connection in served]
            assert [len(read_exactly(visitor, count)) for visitor in visitors] == [count] * 4
            for sending in sendings:
                sending.result()
            for connection in (*visitors, *served):
                connection.close()

        way.local(download_rate=RATE).raise_for_status()
        assert lasted(each, 50 * KIB) >= least_seconds(200 * KIB)
        way.local(stream_download_rate=RATE).raise_for_status()
        seconds = lasted(each, 150 * KIB)
        # Side by side: together they get more than one of them could.
        assert least_seconds(150 * KIB) <= seconds < least_seconds(600 * KIB)


def test_a_change_is_felt_by_streams_that_are_open(pair: tuple[Node, Node]) -> None:
    data = os.urandom(1 << 20)
    with listen() as target, ThreadPoolExecutor(1) as pool:
        way = Forwarding(*pair, port_of(target)).make()
        way.local(upload_rate=1).raise_for_status()
        before = way.near.config()["tunnels"]["t"]["connected"]
        with way.visit() as visitor:
            sending = pool.submit(visitor.sendall, data)
            with accept(target) as served:
                # A burst is through, and nothing after that.
                assert read_exactly(served, 8 * KIB) == data[: 8 * KIB]
                until(lambda: held_back(way.near), "the stream to be held back")
                way.local(upload_rate="100m").raise_for_status()
                assert read_exactly(served, len(data) - 8 * KIB) == data[8 * KIB :]
                sending.result()
                way.local(upload_rate=1).raise_for_status()
                visitor.sendall(data[: 64 * KIB])
                until(lambda: held_back(way.near), "the stream to be held back again")
                way.local().raise_for_status()
                assert read_exactly(served, 64 * KIB) == data[: 64 * KIB]
        assert way.near.config()["tunnels"]["t"]["connected"] == before


def test_a_tunnel_is_limited_without_being_dialled_again(pair: tuple[Node, Node]) -> None:
    with listen() as target:
        way = Forwarding(*pair, port_of(target)).make()
        with way.visit() as open_visitor:
            open_visitor.sendall(b"x")
            with accept(target) as served:
                assert served.recv(1) == b"x"
                connected = way.near.config()["tunnels"]["t"]["connected"]
                rates = {"send_rate": "100k", "receive_rate": RATE}
                patched = way.near.client.patch("/v1/tunnels/t", json=rates)
                assert patched.status_code == 200, patched.text
                assert lasted(upload, way, target, 200 * KIB) >= least_seconds(200 * KIB)
                assert lasted(download, way, target, 200 * KIB) >= least_seconds(200 * KIB)
                shown = way.near.client.get("/v1/tunnels/t").json()
                assert (shown["send_rate"], shown["receive_rate"]) == (RATE, RATE)
                assert way.near.config()["tunnels"]["t"]["send_rate"] == RATE
                way.tunnel().raise_for_status()
                assert lasted(upload, way, target, 2000 * KIB) < least_seconds(2000 * KIB)
                assert way.near.config()["tunnels"]["t"]["connected"] == connected
                served.sendall(b"y")
                assert open_visitor.recv(1) == b"y"


def test_a_reload_limits_peers_tunnels_and_services_under_open_streams(
    stack: ExitStack, tmp_path: Path
) -> None:
    secret = new_secret()
    folder = tmp_path / "a" / "state"
    folder.mkdir(parents=True)
    key = identity_of(read_key(folder)).public
    port = stack.enter_context(serve(echo))

    def far(peer: str = "", service: str = "") -> str:
        return (
            f"peer a {key} {peer};\nservice s remote 127.0.0.1:{port} {service};\nbind t s remote;"
        )

    b = start_node(tmp_path / "b", "b", secret, far())
    stack.callback(stop_node, b)

    def near(tunnel: str = "") -> str:
        dial = f"tunnel t 127.0.0.1:{b.tunnel_port} {tunnel};"
        return f"{dial}\nservice s local 127.0.0.1:@visitors;\nbind t s local;"

    a = start_node(tmp_path / "a", "a", secret, near())
    stack.callback(stop_node, a)
    until(lambda: a.state_of("t") == "up", "the tunnel")
    visitor = stack.enter_context(connect(a.gateway.ports["visitors"]))
    assert talks(visitor)
    connected = a.config()["tunnels"]["t"]["connected"]
    data = os.urandom(100 * KIB)

    def there_and_back() -> None:
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(visitor.sendall, data)
            assert read_exactly(visitor, len(data)) == data
            sending.result()

    for node, text in (
        (a, near("send_rate=50k")),
        (a, near("receive_rate=50k")),
        (b, far(peer="send_rate=50k")),
        (b, far(peer="receive_rate=50k")),
        (b, far(service="upload_rate=50k")),
        (b, far(service="stream_download_rate=50k")),
    ):
        configure(node.gateway, node.gateway.prefix.name, secret, text)
        assert "reconfigured" in reload(node)
        assert lasted(there_and_back) >= least_seconds(len(data), 50 * KIB), text
        configure(node.gateway, node.gateway.prefix.name, secret, near() if node is a else far())
        assert "reconfigured" in reload(node)
    assert lasted(there_and_back) < least_seconds(len(data), 50 * KIB)
    assert a.config()["tunnels"]["t"]["connected"] == connected


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_datagrams_above_a_rate_are_lost_the_oldest_first(
    pair: tuple[Node, Node], direction: str
) -> None:
    got: list[bytes] = []
    many = [number.to_bytes(4, "big") + bytes(996) for number in range(2000)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target, ThreadPoolExecutor(1) as pool:
        target.bind(("127.0.0.1", 0))
        target.settimeout(10)
        way = Forwarding(*pair, target.getsockname()[1])
        for call in (way.tunnel, way.bind_local, way.bind_remote):
            call().raise_for_status()
        way.local(protocol="udp", **{f"{direction}_rate": RATE}).raise_for_status()
        way.remote(protocol="udp").raise_for_status()
        with udp(way.port) as client:
            client.settimeout(10)
            client.send(b"hello")
            _, flow = target.recvfrom(65_536)
            target.sendto(b"hello", flow)
            assert client.recv(65_536) == b"hello"
            receiver = target if direction == "upload" else client
            began = time.monotonic()

            def receive() -> float:
                while (datagram := receiver.recv(65_536)) != b"end":
                    got.append(datagram)
                return time.monotonic() - began

            def send(datagram: bytes) -> bool:
                if direction == "upload":
                    client.send(datagram)
                else:
                    target.sendto(datagram, flow)
                return receiving.done()

            receiving = pool.submit(receive)
            for place, datagram in enumerate(many):
                send(datagram)
                if place % 50 == 49:
                    carriers(way.near)  # who answers has had time to empty its socket
            # It is behind all others; a socket that is full may lose it on its way to the tunnel.
            until(lambda: send(b"end"), "the last one", 30)
            seconds = receiving.result()
        assert got == sorted(got), "in order"
        assert len(got) * 1000 <= RATE * seconds + BURST + 1000
        assert total(way.near, "datagrams_dropped") + total(way.far, "datagrams_dropped") > 0
        # A queue is full of the newest, none of which is lost for older ones.
        assert got[-1] > many[len(many) // 4]


def test_a_service_has_so_many_streams_at_once(pair: tuple[Node, Node], stack: ExitStack) -> None:
    port = stack.enter_context(serve(echo))
    way = Forwarding(*pair, port).make()
    way.remote(max_streams=3).raise_for_status()
    visitors = [stack.enter_context(way.visit()) for _ in range(3)]
    assert all(talks(visitor) for visitor in visitors)
    assert all(is_turned_away(way) for _ in range(100))
    assert all(talks(visitor) for visitor in visitors)
    shown = way.far.client.get(f"{SERVICES}/remote/s").json()
    assert (shown["max_streams"], shown["limited"]) == (3, 100)
    patched = way.far.client.patch(f"{SERVICES}/remote/s", json={"max_streams": 4})
    assert patched.status_code == 200, patched.text
    assert talks(stack.enter_context(way.visit()))
    visitors[0].close()
    until(lambda: way.far.config()["connections"]["t"]["serving"] == 3, "one who has left")
    assert way.is_served()


def test_a_peer_has_so_many_streams_at_once(stack: ExitStack, tmp_path: Path) -> None:
    secret = new_secret()
    folder = tmp_path / "a" / "state"
    folder.mkdir(parents=True)
    key = identity_of(read_key(folder)).public
    port = stack.enter_context(serve(echo))
    b = start_node(
        tmp_path / "b",
        "b",
        secret,
        f"peer a {key} max_streams=2 send_rate=1g;\n"
        f"service s remote 127.0.0.1:{port} key=UHI@&s8sa*S;",
    )
    stack.callback(stop_node, b)
    a = start_node(tmp_path / "a", "a", secret)
    stack.callback(stop_node, a)
    way = Forwarding(a, b, port)
    for call in (way.tunnel, way.local, way.bind_local, way.bind_remote):
        call().raise_for_status()
    visitors = [stack.enter_context(way.visit()) for _ in range(2)]
    assert all(talks(visitor) for visitor in visitors)
    assert is_turned_away(way)
    [peer] = b.client.get("/v1/peers").json()["peers"]
    assert (peer["name"], peer["max_streams"], peer["send_rate"]) == ("a", 2, 1 << 30)
    assert (peer["serving"], peer["limited"]) == (2, 1)
    assert all(talks(visitor) for visitor in visitors)


def test_the_memory_of_windows_is_shown_and_bounded(stack: ExitStack, tmp_path: Path) -> None:
    secret = new_secret()
    b = start_node(tmp_path / "b", "b", secret, "buffer_limit 1m;")
    stack.callback(stop_node, b)
    a = start_node(tmp_path / "a", "a", secret)
    stack.callback(stop_node, a)
    target = stack.enter_context(listen())
    way = Forwarding(a, b, port_of(target)).make()
    data = bytes(1 << 20)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            visitor, sending = way.visit(), pool.submit
            stack.enter_context(visitor)
            sending(visitor.sendall, data)
            served = stack.enter_context(accept(target))
            assert len(read_exactly(served, len(data))) == len(data)
    shown = b.client.get("/v1/tunnels").json()
    assert shown["buffer_limit"] == 1 << 20
    assert 0 < shown["windows"] <= (1 << 20) + 8 * 64 * KIB
    assert total(b, "frames_received") > 64
    assert total(a, "frames_sent") >= total(b, "frames_received") > 0


def test_what_is_no_rate_is_refused_with_its_name(pair: tuple[Node, Node]) -> None:
    way = Forwarding(*pair, 1)
    for refused in (way.local(upload_rate="fast"), way.local(upload_rate=-1)):
        assert refused.status_code == 400
        assert "upload_rate" in refused.json()["reason"]
    body = {"addr": "127.0.0.1:1", "stream_upload_rate": "1x"}
    refused = way.far.client.put(f"{SERVICES}/remote/s", json=body)
    assert refused.status_code == 422, refused.text
    assert "stream_upload_rate" in refused.text
