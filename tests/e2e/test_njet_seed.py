"""The NJet example, reached directly and by SNI; `tests/netns` reaches it by rewritten ports.

The cases are numbered as in the acceptance list of the NJet contract.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest
from tests.harness.certificates import name_of
from tests.harness.clients import ask, ask_tls, ask_udp, connect, connect_tls
from tests.harness.njet import (
    DEFAULT_NAME,
    OK,
    RSA_BODY,
    RSA_NAME,
    VirtualServers,
    lay_out,
    malformed,
    refused,
)
from tests.harness.servers import serve, tagged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway

NAMES = {"22222": "tcp", "22223": "udp", "22224": "tls", "23333": "new", "8081": "control"}


class Seed:
    """The example on ports from the kernel."""

    def __init__(self, gateway: Gateway, main: str, peer: int) -> None:
        self.gateway = gateway
        self.tcp, self.udp, self.tls, self.new, control = map(gateway.port, NAMES.values())
        ports = {port: str(gateway.port(name)) for port, name in NAMES.items()}
        lay_out(gateway, main, ports | {"5555": str(peer)})
        gateway.start()
        self.servers = VirtualServers(gateway.api(control))

    @property
    def tcp_address(self) -> str:
        """The listener of 22222 in the example."""
        return f"0.0.0.0:{self.tcp}"

    @property
    def udp_address(self) -> str:
        """The listener of 22223 in the example."""
        return f"0.0.0.0:{self.udp} udp"

    @property
    def new_address(self) -> str:
        """An address that nobody listens on."""
        return f"0.0.0.0:{self.new}"


@pytest.fixture
def main() -> str:
    """Name the example's main file."""
    return "njet.conf"


@pytest.fixture
def seed(gateway: Gateway, main: str) -> Iterator[Seed]:
    with serve(tagged("from the peer")) as peer:
        seed = Seed(gateway, main, peer)
        with seed.servers.client:
            yield seed


def test_1_the_example_starts_unmodified(seed: Seed) -> None:
    assert ask(seed.tcp) == b"from the peer"
    assert ask_udp(seed.udp, b"x") == f"{seed.udp} udp ok".encode()
    with connect_tls(seed.tls) as client:
        assert name_of(client.getpeercert(binary_form=True)) == DEFAULT_NAME
        assert client.recv(100) == f"{seed.tls} ssl ok".encode()


def test_2_a_server_is_added(seed: Seed) -> None:
    answer = seed.servers.add(seed.tcp_address, "server-17082", 'return "17082 ok";')
    assert answer == OK
    assert answer.size == 27
    assert ask(seed.tcp) == b"from the peer"


def test_5_a_new_listener(seed: Seed) -> None:
    assert seed.servers.add(seed.new_address, "server-23333", 'return "23333 ok";') == OK
    assert [ask(seed.new) for _ in range(8)] == [b"23333 ok"] * 8
    assert ask_udp(seed.udp, b"x") == f"{seed.udp} udp ok".encode()


def test_6_a_server_is_deleted(seed: Seed) -> None:
    assert seed.servers.add(seed.tcp_address, "server-17082", 'return "17082 ok";') == OK
    assert seed.servers.delete(seed.tcp_address, "server-17082") == OK
    assert ask(seed.tcp) == b"from the peer"


def test_7_the_example_deletes_what_it_never_added(seed: Seed) -> None:
    address = seed.udp_address
    assert seed.servers.add(address, "server-18082", 'return "18082 ok";') == OK
    not_found = refused(4, f"error:host[{address}],no find server [server-17082]!")
    assert seed.servers.delete(address, "server-17082") == not_found


def test_8_9_datagram_servers_are_deleted(seed: Seed) -> None:
    address = seed.udp_address
    for name in ("server-17082", "server-18082"):
        assert seed.servers.add(address, name, 'return "x";') == OK
    assert seed.servers.delete(address, "server-17082") == OK
    assert seed.servers.delete(address, "server-18082") == OK
    assert ask_udp(seed.udp, b"x") == f"{seed.udp} udp ok".encode()


def test_10_tcp_and_udp_are_different_listeners(seed: Seed) -> None:
    assert seed.servers.add(seed.udp_address, "server-18082", 'return "x";') == OK
    address = f"0.0.0.0:{seed.udp}"
    not_found = refused(4, f"error:host[{address}],no find server [server-18082]!")
    assert seed.servers.delete(address, "server-18082") == not_found


def test_11_a_certificate_of_its_own(seed: Seed) -> None:
    assert seed.servers.add(f"0.0.0.0:{seed.tls}", RSA_NAME, RSA_BODY) == OK
    with connect_tls(seed.tls, RSA_NAME) as client:
        assert name_of(client.getpeercert(binary_form=True)) == RSA_NAME
        assert client.recv(100) == b"ssl ok"
    with connect_tls(seed.tls) as client:
        assert name_of(client.getpeercert(binary_form=True)) == DEFAULT_NAME


def assert_rejected(port: int, name: str | None) -> None:
    with pytest.raises(ssl.SSLError, match=r"UNRECOGNIZED_NAME|unrecognized name"):
        connect_tls(port, name)


@pytest.mark.parametrize("main", ["njet-reject.conf"])
def test_12_13_14_strangers_are_rejected(seed: Seed) -> None:
    address = f"0.0.0.0:{seed.tls}"
    for name in (None, RSA_NAME):
        assert_rejected(seed.tls, name)
    assert seed.servers.add(address, RSA_NAME, RSA_BODY) == OK
    assert ask_tls(seed.tls, RSA_NAME) == b"ssl ok"
    for name in (None, "other"):
        assert_rejected(seed.tls, name)
    assert seed.servers.delete(address, RSA_NAME) == OK
    assert_rejected(seed.tls, RSA_NAME)


def test_15_16_a_name_is_taken(seed: Seed) -> None:
    address = seed.tcp_address
    assert seed.servers.add(address, "server-17082", 'return "first";') == OK
    for again in ("server-17082", "SERVER-17082"):
        taken = refused(5, f"error:[{address}] server[{again}] exist!")
        assert seed.servers.add(address, again, 'return "second";') == taken


def test_17_the_same_name_elsewhere(seed: Seed) -> None:
    assert seed.servers.add(seed.new_address, "server-23333", 'return "23333 ok";') == OK
    assert seed.servers.add(seed.tcp_address, "server-17082", 'return "1";') == OK
    assert seed.servers.add(seed.new_address, "server-17082", 'return "2";') == OK
    assert ask(seed.new) == b"23333 ok"


def test_18_deleted_twice(seed: Seed) -> None:
    address = seed.tcp_address
    assert seed.servers.add(address, "server-17082", 'return "1";') == OK
    assert seed.servers.delete(address, "server-17082") == OK
    not_found = refused(4, f"error:host[{address}],no find server [server-17082]!")
    assert seed.servers.delete(address, "server-17082") == not_found


def test_19_static_servers_stay(seed: Seed) -> None:
    static = refused(5, "only dynamic server,can to be delete!")
    assert seed.servers.delete(seed.tcp_address, '""') == static
    assert ask(seed.tcp) == b"from the peer"


def test_20_what_is_not_json(seed: Seed) -> None:
    for body in ("", "{}", "not json", '{"type": "add",}'):
        assert seed.servers.post(body) == malformed("json parser error!")


def test_21_lists_are_refused(seed: Seed) -> None:
    assert seed.servers.post('[{"type": "add"}]') == malformed("json error!!!")


def test_the_last_server_of_a_new_listener_closes_it(seed: Seed) -> None:
    for name in ("a", "b"):
        assert seed.servers.add(seed.new_address, name, f'return "{name}";') == OK
    assert ask(seed.new) == b"a"
    assert seed.servers.delete(seed.new_address, "a") == OK
    assert ask(seed.new) == b"b"
    assert seed.servers.delete(seed.new_address, "b") == OK
    with pytest.raises(ConnectionRefusedError):
        connect(seed.new)


def test_a_server_without_content_closes(seed: Seed) -> None:
    assert seed.servers.add(seed.new_address, "empty", "") == OK
    with contextlib.suppress(ConnectionResetError):
        assert ask(seed.new) == b""


def test_a_crash_forgets_nothing(seed: Seed) -> None:
    assert seed.servers.add(seed.new_address, "kept", 'return "kept";') == OK
    assert seed.servers.add(seed.new_address, "gone", 'return "gone";') == OK
    assert seed.servers.delete(seed.new_address, "gone") == OK
    seed.gateway.kill()
    seed.gateway.start()
    assert ask(seed.new) == b"kept"
    not_found = refused(4, f"error:host[{seed.new_address}],no find server [gone]!")
    assert seed.servers.delete(seed.new_address, "gone") == not_found
