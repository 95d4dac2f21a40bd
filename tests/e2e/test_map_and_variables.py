"""`map` and `set`: exact names, wildcards, expressions with captures, and their use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, ask_tls
from tests.harness.servers import serve, tagged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.certificates import Authority
    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    map $ssl_server_name $kind {
        hostnames;
        exact.test          exact;
        *.leading.test      leading;
        *.deep.leading.test deeper;
        trailing.*          trailing;
        .both.test          both;
        ~^a(\\d+)\\.test$     "number $1";
        ~*^(?<word>B\\w+)    "word $word";
        include             names.map;
        default             none;
    }
    map $remote_addr $peer {
        127.0.0.2   first;
        127.0.0.3   127.0.0.1:@second;
        default     third;
    }
    map $remote_addr$remote_addr $twice {
        127.0.0.2127.0.0.2 yes;
    }
    upstream first { server 127.0.0.1:@first; }
    upstream third { server 127.0.0.1:@third; }
    server {
        listen 127.0.0.1:@kinds ssl;
        ssl_certificate any.pem;
        ssl_certificate_key any.key;
        return $kind;
    }
    server {
        listen 127.0.0.1:@choose;
        proxy_pass $peer;
    }
    server {
        listen 127.0.0.1:@set;
        set $greeting "hello $remote_addr";
        set $Louder "$greeting!";
        return "$louder twice:$twice;";
    }
}
"""


@pytest.fixture
def running(gateway: Gateway, authority: Authority) -> Iterator[Gateway]:
    authority.issue("any.test", stem="any")
    with serve(tagged("1")) as one, serve(tagged("2")) as two, serve(tagged("3")) as three:
        gateway.write(CONFIG, first=one, second=two, third=three)
        (gateway.prefix / "conf" / "names.map").write_text("included.test included;\n")
        yield gateway.start()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("exact.test", "exact"),
        ("EXACT.test", "exact"),
        ("x.leading.test", "leading"),
        ("x.y.leading.test", "leading"),
        ("x.deep.leading.test", "deeper"),
        ("leading.test", "none"),
        ("trailing.org", "trailing"),
        ("both.test", "both"),
        ("x.both.test", "both"),
        ("a42.test", "number 42"),
        ("included.test", "included"),
        ("other.test", "none"),
    ],
)
def test_names(running: Gateway, name: str, kind: str) -> None:
    assert ask_tls(running.port("kinds"), name) == kind.encode()


def test_named_captures(running: Gateway) -> None:
    assert ask_tls(running.port("kinds"), "bird.test") == b"word bird"


def test_a_map_chooses_an_upstream_or_an_address(running: Gateway) -> None:
    sources = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
    answers = [ask(running.port("choose"), source=source) for source in sources]
    assert answers == [b"1", b"2", b"3"]


def test_set(running: Gateway) -> None:
    port = running.port("set")
    assert ask(port, source="127.0.0.2") == b"hello 127.0.0.2! twice:yes;"
    assert ask(port, source="127.0.0.5") == b"hello 127.0.0.5! twice:;"
