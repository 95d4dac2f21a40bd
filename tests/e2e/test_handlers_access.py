"""Access, balance and log handlers, in order, with what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, ask_udp, connect, connect_tls, read_all
from tests.harness.handlers import write_module
from tests.harness.servers import serve, serve_udp, tagged, tagged_after_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.certificates import Authority
    from tests.harness.gateway import Gateway

MODULE = """
import asyncio
from pathlib import Path

from qanat.handlers import ConsistentHash, Peer, RoundRobin

ring = ConsistentHash()
turns = RoundRobin()


def setup():
    ring.replace(PEERS)
    turns.replace(PEERS)


def admit(session):
    session.ctx.steps = ["access"]
    if session.vars["remote_addr"] == "127.0.0.9":
        session.reject(403, b"not you\\n")


async def admit_later(session):
    await asyncio.sleep(0)
    session.ctx.steps.append(f"{session.phase} {session.client[0]}")


async def who(session):
    session.ctx.key = (await session.peek(1)).decode()
    session.ctx.steps.append("preread")


def by_key(session):
    session.ctx.steps.append("balance")
    return ring.pick(session.ctx.key)


def by_turn(session):
    return turns.pick()


async def retry(session):
    session.ctx.failures = getattr(session.ctx, "failures", [])
    if session.tries == 0:
        session.more_tries(1)
        return Peer(DEAD, connect_timeout=1.0)
    session.ctx.failures.append(session.last_failure)
    return PEERS[0]


def only_dead(session):
    return DEAD


def nobody(session):
    return None


def wrong(session):
    return 42


def refuse(session):
    session.reject(503)


def note(record):
    record.vars["steps"] = "/".join(record.ctx.steps)
    record.vars["seen"] = f"{record.status} {record.bytes_received} {record.bytes_sent} " \\
        f"{len(record.peers)}"


def note_failures(record):
    [failure] = record.ctx.failures
    record.vars["steps"] = f"{failure.peer == DEAD} {'refused' in failure.reason}"


def count(record):
    with Path(LOG).open("a") as file:
        file.write(f"{record.status} {record.vars['protocol']}\\n")
"""

CONFIG = """
stream {
    python_path ../py;
    init_by_python app:setup;
    log_format steps '$status [$steps] [$seen]';
    access_log logs/access.log steps;
    upstream hashed { balance_by_python app:by_key; }
    upstream turning { balance_by_python app:by_turn; }
    upstream retrying { balance_by_python app:retry; }
    upstream dead { balance_by_python app:only_dead; }
    upstream falls_back { server 127.0.0.1:@one; balance_by_python app:nobody; }
    upstream empty { balance_by_python app:nobody; }
    upstream wrong { balance_by_python app:wrong; }
    upstream refusing { balance_by_python app:refuse; }
    server {
        listen 127.0.0.1:@chain; set $steps ""; set $seen "";
        access_by_python app:admit; access_by_python app:admit_later;
        preread_by_python app:who; log_by_python app:note; proxy_pass hashed;
    }
    server { listen 127.0.0.1:@turns; proxy_pass turning; }
    server { listen 127.0.0.1:@retry; set $steps ""; log_by_python app:note_failures;
        proxy_pass retrying; }
    server { listen 127.0.0.1:@once; proxy_next_upstream off; proxy_pass retrying; }
    server { listen 127.0.0.1:@dead; proxy_pass dead; }
    server { listen 127.0.0.1:@falls_back; proxy_pass falls_back; }
    server { listen 127.0.0.1:@empty; proxy_pass empty; }
    server { listen 127.0.0.1:@wrong; proxy_pass wrong; }
    server { listen 127.0.0.1:@refusing; log_by_python app:count; proxy_pass refusing; }
    server { listen 127.0.0.1:@datagrams udp; log_by_python app:count; proxy_pass 127.0.0.1:@udp;
        proxy_responses 1; }
}
"""


@pytest.fixture
def running(gateway: Gateway) -> Iterator[Gateway]:
    with (
        serve(tagged_after_request("one")) as one,
        serve(tagged_after_request("two")) as two,
        serve_udp(lambda data: [data]) as udp,
    ):
        peers = [f"127.0.0.1:{one}", f"127.0.0.1:{two}"]
        facts = (
            f"PEERS = {peers!r}\nDEAD = '127.0.0.1:{gateway.port('nobody_listens')}'\n"
            f"LOG = {str(gateway.prefix / 'logs/handler.log')!r}\n"
        )
        write_module(gateway, "app", facts + MODULE)
        gateway.write(CONFIG, one=one, udp=udp)
        yield gateway.start()


def test_phases_run_in_order_and_share_a_context(running: Gateway) -> None:
    answer = ask(running.port("chain"), b"k")
    assert answer in {b"one:k", b"two:k"}
    expected = f"200 [access/access 127.0.0.1/preread/balance] [200 1 {len(answer)} 1]"
    assert running.log_lines(1) == [expected]


def test_a_key_stays_with_its_peer(running: Gateway) -> None:
    answers = {key: {ask(running.port("chain"), key) for _ in range(4)} for key in (b"a", b"k")}
    assert all(len(seen) == 1 for seen in answers.values())


def test_a_rejected_client_gets_the_reason(running: Gateway) -> None:
    assert ask(running.port("chain"), b"k", source="127.0.0.9") == b"not you\n"
    assert running.log_lines(1) == ["403 [access] [403 0 8 0]"]


def test_peers_take_turns(running: Gateway) -> None:
    answers = [ask(running.port("turns"), b"x") for _ in range(4)]
    assert answers == [b"one:x", b"two:x", b"one:x", b"two:x"]


def test_a_handler_may_try_again(running: Gateway) -> None:
    assert ask(running.port("retry"), b"x") == b"one:x"
    assert running.log_lines(1)[0].startswith("200 [True True]")


def test_not_if_another_try_is_forbidden(running: Gateway) -> None:
    assert ask(running.port("once")) == b""
    assert running.log_lines(1)[0].startswith("502 ")


def test_one_attempt_unless_more_are_asked_for(running: Gateway) -> None:
    assert ask(running.port("dead")) == b""
    assert running.log_lines(1)[0].startswith("502 ")


def test_no_choice_leaves_it_to_the_upstream(running: Gateway) -> None:
    assert ask(running.port("falls_back"), b"x") == b"one:x"
    assert ask(running.port("empty")) == b""
    running.wait_for_log("no live upstreams")


def test_a_choice_has_to_be_a_peer(running: Gateway) -> None:
    assert ask(running.port("wrong")) == b""
    running.wait_for_log("balance handler app:wrong returned int instead of a peer")


def test_a_balance_handler_may_refuse(running: Gateway) -> None:
    assert ask(running.port("refusing")) == b""
    assert running.log_lines(1, "handler.log") == ["503 TCP"]


def test_datagrams_are_logged_too(running: Gateway) -> None:
    assert ask_udp(running.port("datagrams"), b"ping") == b"ping"
    assert running.log_lines(1, "handler.log") == ["200 UDP"]


def test_sessions_that_a_stop_ends_are_logged(running: Gateway) -> None:
    with connect(running.port("refusing")):
        running.wait_for_log("connected to")
    before = len(running.log_lines(1, "handler.log"))
    assert before == 1


def test_over_tls(gateway: Gateway, authority: Authority) -> None:
    pair = authority.issue("name.test")
    with serve(tagged("peer")) as peer:
        gateway.write(
            """
            stream {
                ssl_certificate @chain; ssl_certificate_key @key;
                server {
                    listen 127.0.0.1:@tls ssl;
                    preread_by_python_block {
                        await session.write(session.vars["ssl_server_name"].encode() + b"\\n")
                        assert await session.read_exactly(2) == b"go"
                    }
                    proxy_pass 127.0.0.1:@peer;
                }
            }
            """,
            peer=peer,
            chain=pair.certificate,
            key=pair.key,
        )
        gateway.start()
        with connect_tls(gateway.port("tls"), "name.test") as client:
            client.sendall(b"go")
            assert read_all(client) == b"name.test\npeer"
