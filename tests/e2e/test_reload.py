"""Reload: a diff. What is unchanged is not touched, and any error leaves everything as it was."""

from __future__ import annotations

import re
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from tests.harness.certificates import name_of
from tests.harness.clients import ask, ask_udp, connect, connect_tls, read_all, read_exactly
from tests.harness.gateway import MAIN
from tests.harness.servers import echo, serve, tagged
from tests.harness.stream_srv import SUCCESS, add, dynamic_servers
from tests.harness.waiting import until

if TYPE_CHECKING:
    from tests.harness.certificates import Authority
    from tests.harness.gateway import Gateway

BEFORE = """
stream {
    upstream group { server 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@kept; return "kept"; }
    server { listen 127.0.0.1:@changed; return "before"; }
    server { listen 127.0.0.1:@relay; proxy_pass group; }
    server { listen 127.0.0.1:@gone; return "gone"; }
    server { listen 127.0.0.1:@datagrams udp; return "before"; }
}
"""
AFTER = """
stream {
    upstream group { server 127.0.0.1:@other; }
    server { listen 127.0.0.1:@new; return "new"; }
    server { listen 127.0.0.1:@kept; return "kept"; }
    server { listen 127.0.0.1:@changed; return "after"; }
    server { listen 127.0.0.1:@relay; proxy_pass group; }
    server { listen 127.0.0.1:@datagrams udp; return "after"; }
}
"""
FILES = """
stream {
    map $remote_addr $text { include texts.map; }
    server { listen 127.0.0.1:@plain; return $text; }
    server {
        listen 127.0.0.1:@tls ssl;
        ssl_certificate site.pem;
        ssl_certificate_key site.key;
        return $text;
    }
}
"""


def reload(gateway: Gateway) -> str:
    """Reload and wait for the end of it; return the last line about it."""
    seen = len(outcomes(gateway))
    gateway.signal(signal.SIGHUP)
    until(lambda: len(outcomes(gateway)) > seen, "the reload")
    return outcomes(gateway)[-1]


def outcomes(gateway: Gateway) -> list[str]:
    return re.findall(r"^.*(?:: reconfigured|\[emerg\]).*$", gateway.error_log(), re.MULTILINE)


def test_a_reload_changes_what_differs(gateway: Gateway) -> None:
    with serve(echo) as peer, serve(tagged("other")) as other:
        gateway.write(BEFORE, peer=peer)
        gateway.start()
        with connect(gateway.port("relay")) as old:
            old.sendall(b"1")
            assert read_exactly(old, 1) == b"1"
            gateway.write(AFTER, other=other)
            assert reload(gateway).endswith("reconfigured")
            assert ask(gateway.port("kept")) == b"kept"
            assert ask(gateway.port("changed")) == b"after"
            assert ask(gateway.port("new")) == b"new"
            assert ask(gateway.port("relay")) == b"other"
            assert ask_udp(gateway.port("datagrams"), b"?") == b"after"
            with pytest.raises(ConnectionRefusedError):
                ask(gateway.port("gone"))
            # A session ends as it began: with the peer of the configuration of its time.
            old.sendall(b"2")
            assert read_exactly(old, 1) == b"2"


def test_an_error_leaves_everything_as_it_was(gateway: Gateway) -> None:
    with serve(tagged("peer")) as peer:
        gateway.write(BEFORE, peer=peer)
        gateway.start()
        wrong = AFTER.replace("server 127.0.0.1:@other;", "server;").replace("return", "retrun", 1)
        gateway.write(wrong)
        gateway.expected_alarms += ["retrun", "number of arguments"]
        reload(gateway)
        # All errors, not only the first.
        gateway.wait_for_log(r'\[emerg\].*invalid number of arguments in "server" directive.*:6')
        gateway.wait_for_log(r'\[emerg\].*unknown directive "retrun".*:7')
        assert ask(gateway.port("changed")) == b"before"
        assert ask(gateway.port("gone")) == b"gone"
        assert ask(gateway.port("relay")) == b"peer"
        with pytest.raises(ConnectionRefusedError):
            ask(gateway.port("new"))


def test_an_address_in_use_leaves_everything_as_it_was(gateway: Gateway) -> None:
    gateway.write(BEFORE, peer=9)
    gateway.start()
    gateway.write(AFTER, other=9)
    gateway.expected_alarms.append("Address already in use")
    with socket.create_server(("127.0.0.1", gateway.port("new"))):
        where = f"127.0.0.1:{gateway.port('new')}"
        expected = f"bind() to {where} failed (98: Address already in use)"
        assert expected in reload(gateway)
        assert ask(gateway.port("changed")) == b"before"
        assert ask(gateway.port("gone")) == b"gone"
    # The next one tries again.
    assert reload(gateway).endswith("reconfigured")
    assert ask(gateway.port("new")) == b"new"


def test_live_virtual_servers_outlive_a_reload(gateway: Gateway) -> None:
    gateway.write(BEFORE, peer=9)
    gateway.start_with_api()
    live, joined = f"127.0.0.1:{gateway.port('live')}", f"127.0.0.1:{gateway.port('kept')}"
    with gateway.api() as api:
        assert add(api, live, "live", 'return "live";') == SUCCESS
        assert add(api, joined, "joined", 'return "joined";') == SUCCESS
        gateway.write(AFTER, other=9)
        assert reload(gateway).endswith("reconfigured")
        assert len(dynamic_servers(api)) == 2
        assert ask(gateway.port("live")) == b"live"
        assert ask(gateway.port("kept")) == b"kept"


def test_a_reload_that_a_live_virtual_server_does_not_fit_is_refused(gateway: Gateway) -> None:
    gateway.write(BEFORE, peer=9)
    gateway.start_with_api()
    with gateway.api() as api:
        live = f"127.0.0.1:{gateway.port('live')}"
        assert add(api, live, "live", "proxy_pass group;") == SUCCESS
        gateway.write(AFTER.replace("group", "renamed"), other=9)
        gateway.expected_alarms.append("does not fit")
        assert 'virtual server "live"' in reload(gateway)
        assert ask(gateway.port("changed")) == b"before"


def test_the_control_address_moves(gateway: Gateway) -> None:
    control = "control 127.0.0.1:{};\n"
    first, second = gateway.port("first"), gateway.port("second")
    main = "error_log logs/error.log info;\nevents { }\n"
    gateway.write(BEFORE, main + control.format(first), peer=9)
    gateway.start()
    with gateway.api(first) as api:
        assert api.get("/v1/status").status_code == 200
    gateway.write(BEFORE, main + control.format(second), peer=9)
    assert reload(gateway).endswith("reconfigured")
    with gateway.api(second) as api:
        assert api.get("/v1/status").status_code == 200
    with pytest.raises(ConnectionRefusedError):
        connect(first)


def test_files_are_read_again(gateway: Gateway, authority: Authority) -> None:
    texts = gateway.prefix / "conf/texts.map"
    pair = authority.issue("before.test", stem="site")
    texts.write_text("127.0.0.1 before;\n")
    gateway.write(FILES)
    gateway.start()
    assert ask(gateway.port("plain")) == b"before"
    with connect_tls(gateway.port("tls")) as old:
        assert name_of(old.getpeercert(binary_form=True)) == "before.test"
        assert read_all(old) == b"before"
    authority.issue_to(pair, "after.test")
    texts.write_text("127.0.0.1 after;\n")
    assert reload(gateway).endswith("reconfigured")
    assert ask(gateway.port("plain")) == b"after"
    with connect_tls(gateway.port("tls")) as new:
        assert name_of(new.getpeercert(binary_form=True)) == "after.test"
        assert read_all(new) == b"after"


def test_a_certificate_that_cannot_be_read_leaves_the_old_one(
    gateway: Gateway, authority: Authority
) -> None:
    pair = authority.issue("before.test", stem="site")
    (gateway.prefix / "conf/texts.map").write_text("127.0.0.1 before;\n")
    gateway.write(FILES)
    gateway.start()
    pair.certificate.write_text("half a certif")
    gateway.expected_alarms.append("cannot load certificate")
    assert "site.pem" in reload(gateway)
    with connect_tls(gateway.port("tls")) as client:
        assert name_of(client.getpeercert(binary_form=True)) == "before.test"
        assert read_all(client) == b"before"


def test_no_connection_is_lost_by_reloads(gateway: Gateway) -> None:
    gateway.write(BEFORE, peer=9)
    gateway.start()
    ending = threading.Event()
    answers: list[bytes] = []
    failures: list[OSError] = []

    def load() -> None:
        while not ending.is_set():
            try:
                answers.append(ask(gateway.port("changed")))
            except OSError as error:
                failures.append(error)

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    for text in (AFTER, BEFORE) * 5:
        gateway.write(text, peer=9, other=9)
        assert reload(gateway).endswith("reconfigured")
    ending.set()
    for client in clients:
        client.join()
    assert not failures
    assert set(answers) == {b"before", b"after"}


def test_a_new_pid_file_takes_the_place_of_the_old_one(gateway: Gateway) -> None:
    gateway.write(BEFORE, peer=9)
    gateway.start()
    assert gateway.process is not None
    old, new = gateway.prefix / "logs/qanat.pid", gateway.prefix / "logs/other.pid"
    number = f"{gateway.process.pid}\n"
    moved = MAIN.replace("qanat.pid", "other.pid")

    gateway.expected_alarms.append("retrun")
    gateway.write(BEFORE.replace("return", "retrun"), moved, peer=9)
    reload(gateway)
    assert (old.read_text(), new.exists()) == (number, False)

    gateway.write(BEFORE, moved, peer=9)
    reload(gateway)
    assert (old.exists(), new.read_text()) == (False, number)
    gateway.stop()
    assert not new.exists()
