"""Changes at the same time as others and as traffic: each is live when it is answered, whole."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, ask_udp
from tests.harness.stream_srv import SUCCESS, add, dynamic_servers, remove

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.gateway import Gateway

# The client's address is the name of the virtual server that it is for.
CONFIG = """
stream {
    map $remote_addr $mesh_server_name { default $remote_addr; }
    server { listen 127.0.0.1:@front; return "default"; }
    server { listen 127.0.0.1:@front udp; return "default"; }
}
"""


@pytest.fixture
def where(gateway: Gateway) -> str:
    gateway.write(CONFIG)
    gateway.start_with_api("--workers", "2")
    return f"127.0.0.1:{gateway.port('front')}"


def test_fifty_at_once(gateway: Gateway, where: str) -> None:
    port = gateway.port("front")
    together = threading.Barrier(50)

    def change(number: int) -> bytes:
        name = f"127.0.2.{number}"
        with gateway.api() as api:
            together.wait()
            assert add(api, where, name, f'return "{name}";') == SUCCESS
            return ask(port, source=name)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(change, range(1, 51)))
    assert answers == [f"127.0.2.{number}".encode() for number in range(1, 51)]
    with gateway.api() as api:
        assert len(dynamic_servers(api)) == 50


def test_one_name_is_given_once(gateway: Gateway, where: str) -> None:
    together = threading.Barrier(20)

    def change(number: int) -> tuple[int, dict[str, object]]:
        with gateway.api() as api:
            together.wait()
            return number, add(api, where, "127.0.2.1", f'return "{number}";')

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(change, range(20)))
    winners = [number for number, answer in answers if answer == SUCCESS]
    assert len(winners) == 1
    assert {answer["code"] for number, answer in answers if number not in winners} == {5}
    assert ask(gateway.port("front"), source="127.0.2.1") == str(winners[0]).encode()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_no_connection_after_the_answer_sees_the_old_state(
    gateway: Gateway, where: str, protocol: str
) -> None:
    port = gateway.port("front")
    address = where if protocol == "tcp" else f"{where} udp"

    def see(name: str) -> bytes:
        return ask(port, source=name) if protocol == "tcp" else ask_udp(port, b"?", source=name)

    with gateway.api() as api:
        for number in range(200):
            name = f"127.0.3.{number % 250 + 1}"
            assert add(api, address, name, f'return "{number}";') == SUCCESS
            assert see(name) == str(number).encode()
            assert remove(api, address, name) == SUCCESS
            assert see(name) == b"default"


def test_a_listener_opens_and_closes_with_the_answer(gateway: Gateway, where: str) -> None:
    port = gateway.port("new")
    with gateway.api() as api:
        for number in range(50):
            assert add(api, f"127.0.0.1:{port}", "a", f'return "{number}";') == SUCCESS
            # Every worker accepts: connections are spread over them.
            for _ in range(4):
                assert ask(port) == str(number).encode()
            assert remove(api, f"127.0.0.1:{port}", "a") == SUCCESS
            with pytest.raises(ConnectionRefusedError):
                ask(port)
    assert ask(gateway.port("front")) == b"default"


def test_no_connection_is_dropped_by_changes(gateway: Gateway, where: str) -> None:
    port = gateway.port("front")
    ending = threading.Event()
    answers: list[bytes] = []
    failures: list[OSError] = []

    def load(request: Callable[[], bytes]) -> None:
        while not ending.is_set():
            try:
                answers.append(request())
            except OSError as error:
                failures.append(error)

    requests: list[Callable[[], bytes]] = [
        lambda: ask(port, source="127.0.4.1"),
        lambda: ask(port, source="127.0.4.1"),
        lambda: ask_udp(port, b"?", source="127.0.4.1"),
    ]
    clients = [threading.Thread(target=load, args=(request,)) for request in requests]
    for client in clients:
        client.start()
    with gateway.api() as api:
        for _ in range(150):
            for address in (where, f"{where} udp"):
                assert add(api, address, "127.0.4.1", 'return "live";') == SUCCESS
            for address in (where, f"{where} udp"):
                assert remove(api, address, "127.0.4.1") == SUCCESS
    ending.set()
    for client in clients:
        client.join()
    assert not failures
    assert set(answers) == {b"default", b"live"}


def test_changes_during_reloads_are_kept(gateway: Gateway, where: str) -> None:
    names = [f"127.0.5.{number}" for number in range(1, 101)]
    with gateway.api() as api:
        for number, name in enumerate(names):
            if number % 10 == 0:
                gateway.write(CONFIG.replace('return "default"', f'return "{number}"'))
                gateway.signal(signal.SIGHUP)
            assert add(api, where, name, f'return "{name}";') == SUCCESS
            assert ask(gateway.port("front"), source=name) == name.encode()
        gateway.wait_for_log("reconfigured")
        assert len(dynamic_servers(api)) == len(names)
    for name in names:
        assert ask(gateway.port("front"), source=name) == name.encode()
