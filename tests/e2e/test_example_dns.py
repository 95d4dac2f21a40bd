"""`examples/dns`: dnspython and dig ask it over UDP and TCP."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
from tests.harness import examples
from tests.harness.clients import LOCALHOST, ask, ask_udp, udp
from tests.harness.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCUMENTED = 5300


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run the example; give its port."""
    folder: Path = tmp_path_factory.mktemp("dns")
    with examples.running("dns", folder) as example:
        yield example.port(DOCUMENTED)


def over_udp(port: int, name: str, kind: str = "A", **options: object) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **options)  # type: ignore[arg-type]
    return dns.query.udp(query, LOCALHOST, timeout=PATIENCE, port=port)


def over_tcp(port: int, name: str, kind: str = "A") -> dns.message.Message:
    query = dns.message.make_query(name, kind)
    return dns.query.tcp(query, LOCALHOST, timeout=PATIENCE, port=port)


def texts(reply: dns.message.Message) -> list[str]:
    return [item.to_text() for rrset in reply.answer for item in rrset]


@pytest.mark.parametrize("ask_server", [over_udp, over_tcp])
def test_names_are_looked_up_and_aliases_followed(port: int, ask_server: object) -> None:
    assert callable(ask_server)
    reply = ask_server(port, "www.example.test")
    assert texts(reply) == ["mail.example.test.", "192.0.2.2"]
    assert reply.flags & dns.flags.AA


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("nobody.example.test", "A", dns.rcode.NXDOMAIN),
        ("www.example.org", "A", dns.rcode.REFUSED),
        ("ns.example.test", "AAAA", dns.rcode.NOERROR),
        ("_udp.example.test", "A", dns.rcode.NOERROR),
    ],
)
def test_what_is_not_there(port: int, name: str, kind: str, code: dns.rcode.Rcode) -> None:
    reply = over_udp(port, name, kind)
    assert (reply.rcode(), reply.answer) == (code, [])


def test_long_answers_are_cut_over_udp_and_whole_over_tcp(port: int) -> None:
    cut = over_udp(port, "many.example.test", "TXT")
    assert cut.flags & dns.flags.TC
    whole = over_udp(port, "many.example.test", "TXT", use_edns=0, payload=4096)
    assert not whole.flags & dns.flags.TC
    assert len(texts(whole)) == 3
    assert sorted(texts(over_tcp(port, "many.example.test", "TXT"))) == sorted(texts(whole))


def test_a_client_turns_to_tcp_by_itself(port: int) -> None:
    query = dns.message.make_query("many.example.test", "TXT")
    reply, was_tcp = dns.query.udp_with_fallback(query, LOCALHOST, timeout=PATIENCE, port=port)
    assert was_tcp
    assert len(texts(reply)) == 3


def test_what_is_no_question_is_refused_or_dropped(port: int) -> None:
    header = b"\x12\x34" + bytes(10)
    malformed = header[:4] + b"\0\x01" + header[6:] + b"\x3fshort"
    assert ask_udp(port, malformed)[:4] == b"\x12\x34\x80\x01"
    with udp(port) as client:
        client.send(b"short")
        client.send(b"\x12\x34\x80" + bytes(9))
        client.send(malformed)
        assert client.recv(100)[:4] == b"\x12\x34\x80\x01"
    assert ask(port, len(malformed).to_bytes(2) + malformed + b"\0\x05short")[2:6] == (
        b"\x12\x34\x80\x01"
    )


@pytest.mark.parametrize("count", [100])
def test_many_questions_of_one_connection(port: int, count: int) -> None:
    query = dns.message.make_query("mail.example.test", "A").to_wire()
    framed = len(query).to_bytes(2) + query
    replies = ask(port, framed * count + b"\0\0")
    size = int.from_bytes(replies[:2])
    assert len(replies) == count * (2 + size)
    assert replies.count(b"\xc0\x00\x02\x02") == count


@pytest.mark.skipif(not shutil.which("dig"), reason="dig is not installed (bind9-dnsutils)")
@pytest.mark.parametrize(
    ("options", "printed"),
    [
        (["+short", "www.example.test"], "mail.example.test.\n192.0.2.2\n"),
        (["+short", "+tcp", "mail.example.test", "AAAA"], "2001:db8::2\n"),
        (["+noedns", "many.example.test", "TXT"], ";; Truncated, retrying in TCP mode."),
        (["nobody.example.test"], "status: NXDOMAIN"),
        (["+short", "_sip._udp.example.test", "SRV"], "0 5 5060 mail.example.test."),
    ],
)
def test_dig(port: int, options: list[str], printed: str) -> None:
    command = ["dig", "@127.0.0.1", "-p", str(port), "+timeout=10", "+tries=1"]

    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=60, check=True
    )
    assert printed in done.stdout
