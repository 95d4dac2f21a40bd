"""Out of descriptors, or of `worker_connections`: accepting pauses, sessions go on, it recovers."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.clients import connect, read_exactly, udp
from tests.harness.servers import echo, serve, serve_udp
from tests.harness.waiting import until

if TYPE_CHECKING:
    import socket

    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    server { listen 127.0.0.1:@relay; proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@datagrams udp; proxy_pass 127.0.0.1:@other; }
}
"""
MAIN = "error_log logs/error.log info;\nevents { worker_connections 6; }\n"


def open_files(gateway: Gateway) -> int:
    assert gateway.process is not None
    return len(list(Path(f"/proc/{gateway.process.pid}/fd").iterdir()))


def limit_files(gateway: Gateway, count: int) -> None:
    """Set how many files the running gateway may have open."""
    assert gateway.process is not None
    _, hard = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (count, hard))


def exchange(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return read_exactly(client, len(text))


def test_out_of_descriptors(gateway: Gateway) -> None:
    gateway.expected_alarms.append("Too many open files")
    with serve(echo) as peer:
        gateway.write(CONFIG, peer=peer, other=9)
        gateway.start("--workers", "1")
        sessions = []
        with connect(gateway.port("relay")) as first:
            assert exchange(first, b"a") == b"a"
            # Whatever is opened with the first session is open now: room for three more.
            limit_files(gateway, open_files(gateway) + 6)
            sessions = [connect(gateway.port("relay")) for _ in range(3)]
            assert [exchange(session, b"b") for session in sessions] == [b"b"] * 3
            # Connected in the kernel's queue, not accepted.
            waiting = connect(gateway.port("relay"))
            waiting.sendall(b"patience")
            gateway.wait_for_log(r"\[crit\].* accept4\(\) failed \(24: Too many open files\)")
            assert exchange(first, b"still here") == b"still here"
            assert [exchange(session, b"c") for session in sessions] == [b"c"] * 3
        # The end of the first one makes room.
        assert read_exactly(waiting, 8) == b"patience"
        # So does a higher limit.
        late = connect(gateway.port("relay"))
        late.sendall(b"late")
        limit_files(gateway, open_files(gateway) + 50)
        assert read_exactly(late, 4) == b"late"
        for session in (*sessions, waiting, late):
            session.close()


def test_a_shortage_does_not_fill_the_log(gateway: Gateway) -> None:
    gateway.expected_alarms.append("Too many open files")
    with serve(echo) as peer:
        gateway.write(CONFIG, peer=peer, other=9)
        gateway.start("--workers", "1")
        with connect(gateway.port("relay")) as first:
            assert exchange(first, b"a") == b"a"
            limit_files(gateway, open_files(gateway))
            waiting = [connect(gateway.port("relay")) for _ in range(20)]
            line = "accept4() failed (24: Too many open files)"
            until(lambda: gateway.error_log().count(line) >= 2, "a second look")
            assert gateway.error_log().count(line) < 20
            assert exchange(first, b"b") == b"b"
            limit_files(gateway, open_files(gateway) + 100)
            assert [exchange(client, b"c") for client in waiting] == [b"c"] * 20
            for client in waiting:
                client.close()


def test_the_control_api_out_of_descriptors(gateway: Gateway) -> None:
    gateway.expected_alarms += ["Too many open files", "out of system resource", "Traceback"]
    gateway.write(CONFIG, peer=9, other=9)
    gateway.start_with_api("--workers", "1")
    with gateway.api() as open_before, gateway.api() as late:
        assert open_before.get("/v1/status").status_code == 200
        limit_files(gateway, open_files(gateway))
        waiting = connect(gateway.port("control_api"))
        assert open_before.get("/v1/status").status_code == 200
        limit_files(gateway, open_files(gateway) + 50)
        waiting.close()
        assert late.get("/v1/status").status_code == 200


def test_datagrams_out_of_descriptors(gateway: Gateway) -> None:
    gateway.expected_alarms.append("Too many open files")
    with serve_udp(lambda data: [data]) as other:
        gateway.write(CONFIG, peer=9, other=other)
        gateway.start("--workers", "1")
        with udp(gateway.port("datagrams")) as old, udp(gateway.port("datagrams")) as new:
            old.send(b"a")
            assert old.recv(10) == b"a"
            limit_files(gateway, open_files(gateway))
            new.send(b"lost")
            gateway.wait_for_log("24: Too many open files")
            old.send(b"b")
            assert old.recv(10) == b"b"
            limit_files(gateway, open_files(gateway) + 50)
            new.send(b"c")
            assert new.recv(10) == b"c"


def test_worker_connections(gateway: Gateway) -> None:
    gateway.expected_alarms.append("worker_connections are not enough")
    with serve(echo) as peer:
        gateway.write(CONFIG, MAIN, peer=peer, other=9)
        gateway.start("--workers", "1")
        # A relayed session counts twice, as nginx has it.
        sessions = [connect(gateway.port("relay")) for _ in range(3)]
        assert [exchange(session, b"a") for session in sessions] == [b"a"] * 3
        with connect(gateway.port("relay")) as waiting:
            waiting.sendall(b"patience")
            gateway.wait_for_log(r"\[alert\].* 6 worker_connections are not enough")
            assert [exchange(session, b"b") for session in sessions] == [b"b"] * 3
            sessions.pop().close()
            assert read_exactly(waiting, 8) == b"patience"
        for session in sessions:
            session.close()
