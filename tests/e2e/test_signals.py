"""What signals do: TERM and INT end at once, QUIT drains, USR1 opens the logs anew."""

from __future__ import annotations

import contextlib
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, connect, is_reset, read_exactly
from tests.harness.gateway import MAIN
from tests.harness.servers import echo, serve
from tests.harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    log_format text '$server_port';
    access_log logs/access.log text;
    server { listen 127.0.0.1:@text; return "text"; }
    server { listen 127.0.0.1:@relay; proxy_pass 127.0.0.1:@peer; }
}
"""
SHUTDOWN = "worker_shutdown_timeout 200ms;\nerror_log logs/error.log info;\nevents { }\n"


@contextlib.contextmanager
def session(gateway: Gateway, main: str = MAIN) -> Iterator[socket.socket]:
    """Start the gateway, and open a session that has carried something."""
    with serve(echo) as peer:
        gateway.write(CONFIG, main, peer=peer)
        gateway.start_with_api()
        with connect(gateway.port("relay")) as client:
            client.sendall(b"x")
            assert read_exactly(client, 1) == b"x"
            yield client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_end_at_once(gateway: Gateway, number: signal.Signals) -> None:
    with session(gateway) as client:
        gateway.signal(number)
        assert gateway.wait() == 0
        is_reset(client)
    assert f"signal {int(number)} ({number.name}) received, exiting" in gateway.error_log()
    assert gateway.error_log().rstrip().endswith(": exit")
    assert not (gateway.prefix / "logs/qanat.pid").exists()


def test_drain(gateway: Gateway) -> None:
    with session(gateway) as client:
        gateway.signal(signal.SIGQUIT)
        gateway.wait_for_log("gracefully shutting down")
        for name in ("relay", "text", "control_api"):
            until(partial(is_refused, gateway, name), f"{name} to close")
        client.sendall(b"still served")
        assert read_exactly(client, 12) == b"still served"
        assert gateway.process is not None
        assert gateway.process.poll() is None
    assert gateway.wait() == 0


def is_refused(gateway: Gateway, name: str) -> bool:
    try:
        connect(gateway.port(name)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_drain_has_an_end(gateway: Gateway) -> None:
    with session(gateway, SHUTDOWN):
        gateway.signal(signal.SIGQUIT)
        assert gateway.wait() == 0
    gateway.wait_for_log("shutdown timeout")


def test_drain_ends_at_once_without_sessions(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    gateway.start()
    gateway.signal(signal.SIGQUIT)
    assert gateway.wait() == 0


def test_a_second_signal_cuts_the_drain_short(gateway: Gateway) -> None:
    with session(gateway):
        gateway.signal(signal.SIGQUIT)
        gateway.wait_for_log("gracefully shutting down")
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0


def test_logs_are_opened_anew(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    gateway.start()
    logs = gateway.prefix / "logs"
    ask(gateway.port("text"))
    gateway.log_lines(1)
    for name in ("access.log", "error.log"):
        (logs / name).rename(logs / f"{name}.1")
    gateway.signal(signal.SIGUSR1)
    until(lambda: all((logs / name).exists() for name in ("access.log", "error.log")), "new logs")
    ask(gateway.port("text"))
    assert gateway.log_lines(1) == [str(gateway.port("text"))]
    assert (logs / "access.log.1").read_text().splitlines() == [str(gateway.port("text"))]


def test_signals_without_a_meaning_do_no_harm(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    gateway.start()
    for number in (signal.SIGUSR2, signal.SIGWINCH, signal.SIGPIPE):
        gateway.signal(number)
    gateway.signal(signal.SIGHUP)
    gateway.wait_for_log("reconfigured")
    assert ask(gateway.port("text")) == b"text"


def test_signals_in_quick_succession(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    gateway.start()
    for _ in range(20):
        gateway.signal(signal.SIGHUP)
        gateway.signal(signal.SIGUSR1)
    gateway.signal(signal.SIGQUIT)
    assert gateway.wait(2 * PATIENCE) == 0
