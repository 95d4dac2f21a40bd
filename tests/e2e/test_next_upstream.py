"""When a peer cannot be reached: the next one, how often, for how long, and who is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask
from tests.harness.servers import serve, tagged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    log_format tries '$status $upstream_addr $upstream_connect_time';
    access_log logs/access.log tries;
    upstream two_dead {
        server 127.0.0.1:@dead max_fails=0;
        server 127.0.0.1:@gone max_fails=0;
        server 127.0.0.1:@live;
    }
    upstream failing {
        server 127.0.0.1:@dead fail_timeout=1h;
        server 127.0.0.1:@live;
    }
    upstream all_dead {
        server 127.0.0.1:@dead fail_timeout=1h;
        server 127.0.0.1:@gone fail_timeout=1h;
    }
    upstream with_backup {
        server 127.0.0.1:@dead;
        server 127.0.0.1:@live backup;
    }
    upstream single {
        server 127.0.0.1:@dead fail_timeout=1h;
    }
    server { listen 127.0.0.1:@two_dead; proxy_pass two_dead; }
    server { listen 127.0.0.1:@failing; proxy_pass failing; }
    server { listen 127.0.0.1:@all_dead; proxy_pass all_dead; }
    server { listen 127.0.0.1:@with_backup; proxy_pass with_backup; }
    server { listen 127.0.0.1:@single; proxy_pass single; }
    server {
        listen 127.0.0.1:@once;
        proxy_next_upstream off;
        proxy_pass two_dead;
    }
    server {
        listen 127.0.0.1:@twice;
        proxy_next_upstream_tries 2;
        proxy_pass two_dead;
    }
}
"""


@pytest.fixture
def running(gateway: Gateway) -> Iterator[Gateway]:
    with serve(tagged("live")) as live:
        gateway.write(CONFIG, live=live)
        yield gateway.start()


def addresses(gateway: Gateway, line: str) -> str:
    """Replace the ports of a log line by what stands for them in the configuration."""
    for name in ("dead", "gone"):
        line = line.replace(f"127.0.0.1:{gateway.port(name)}", name)
    return line


def test_the_next_peer_is_tried(running: Gateway) -> None:
    assert ask(running.port("two_dead")) == b"live"
    [line] = running.log_lines(1)
    assert addresses(running, line).startswith("200 dead, gone, 127.0.0.1:")
    assert " -, -, 0.0" in line
    running.wait_for_log(r"connect\(\) failed \(111: Connection refused\) while connecting")


def test_not_if_it_is_off(running: Gateway) -> None:
    assert ask(running.port("once")) == b""
    assert addresses(running, running.log_lines(1)[0]) == "502 dead -"


def test_only_so_many_times(running: Gateway) -> None:
    assert ask(running.port("twice")) == b""
    assert addresses(running, running.log_lines(1)[0]) == "502 dead, gone -, -"


def test_a_peer_that_failed_is_left_alone(running: Gateway) -> None:
    assert [ask(running.port("failing")) for _ in range(4)] == [b"live"] * 4
    lines = [addresses(running, line) for line in running.log_lines(4)]
    assert [line.count("dead") for line in lines] == [1, 0, 0, 0]
    running.wait_for_log("upstream server temporarily disabled while connecting to upstream")


def test_nobody_left(running: Gateway) -> None:
    assert [ask(running.port("all_dead")) for _ in range(2)] == [b"", b""]
    first, second = (addresses(running, line) for line in running.log_lines(2))
    assert first == "502 dead, gone -, -"
    assert second == "502 all_dead -"
    running.wait_for_log('no live upstreams while connecting to upstream.*upstream: "all_dead"')


def test_backups_come_last(running: Gateway) -> None:
    assert ask(running.port("with_backup")) == b"live"
    assert addresses(running, running.log_lines(1)[0]).startswith("200 dead, 127.0.0.1:")


def test_a_single_peer_is_always_tried(running: Gateway) -> None:
    assert [ask(running.port("single")) for _ in range(3)] == [b""] * 3
    lines = [addresses(running, line) for line in running.log_lines(3)]
    assert lines == ["502 dead -"] * 3
