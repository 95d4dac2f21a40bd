"""Servers: proxying, content, access, logs, preread, and what they inherit from `stream`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.compiler import plan
from qanat.compiler.inherit import Level, ListSetting, Setting

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.compiler_site import Site


def proxy(site: Site, inner: str, outer: str = "") -> plan.Proxy:
    server = server_of(site, f"proxy_pass localhost:9; {inner}", outer)
    assert isinstance(server.content, plan.ProxyContent)
    return server.content.proxy


def server_of(site: Site, inner: str, outer: str = "") -> plan.Server:
    return site.stream(f"{outer} server {{ listen 1; {inner} }}").objects.servers[0]


def test_defaults(site: Site) -> None:
    assert proxy(site, "") == plan.Proxy(target=plan.ProxyToUpstream(name="localhost:9"))
    server = server_of(site, "")
    assert server.content == plan.NoContent()
    assert server.preread == plan.Preread()
    assert (server.tls, server.access, server.access_log, server.error_log) == (None, (), (), None)


def test_proxy_settings(site: Site) -> None:
    found = proxy(
        site,
        "proxy_connect_timeout 1s; proxy_timeout 2m; proxy_buffer_size 4k; proxy_next_upstream off;"
        "proxy_next_upstream_tries 3; proxy_next_upstream_timeout 4s; proxy_protocol v2;"
        "proxy_half_close on; proxy_bind $remote_addr:0 transparent; proxy_socket_keepalive on;"
        "proxy_requests 5; proxy_responses 6;",
    )
    assert found == plan.Proxy(
        target=plan.ProxyToUpstream(name="localhost:9"),
        connect_timeout_ms=1000,
        timeout_ms=120_000,
        buffer_size=4096,
        next_upstream=False,
        next_upstream_tries=3,
        next_upstream_timeout_ms=4000,
        protocol="v2",
        half_close=True,
        bind=plan.Bind(address=((True, "remote_addr"), (False, ":0")), transparent=True),
        socket_keepalive=True,
        requests=5,
        responses=6,
    )


def test_old_names_of_the_buffer_size(site: Site) -> None:
    found = proxy(site, "proxy_downstream_buffer 8k; proxy_upstream_buffer 32k;")
    assert found.buffer_size == 32768


@pytest.mark.parametrize(("value", "version"), [("on", "v1"), ("off", "off"), ("v2", "v2")])
def test_header_to_the_peer(site: Site, value: str, version: str) -> None:
    assert proxy(site, f"proxy_protocol {value};").protocol == version


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:80", "::1", "[::1]:80"])
def test_source_addresses(site: Site, address: str) -> None:
    bind = proxy(site, f"proxy_bind {address};").bind
    assert bind == plan.Bind(address=((False, address),))


def test_no_source_address(site: Site) -> None:
    assert proxy(site, "proxy_bind off;", "proxy_bind 127.0.0.1;").bind is None


@pytest.mark.usefixtures("pair")
def test_tls_to_the_peer(site: Site) -> None:
    found = proxy(
        site,
        "proxy_ssl on; proxy_ssl_name $hostname; proxy_ssl_server_name on; proxy_ssl_verify on;"
        "proxy_ssl_verify_depth 3;"
        "proxy_ssl_trusted_certificate gate.crt; proxy_ssl_certificate gate.crt;"
        "proxy_ssl_certificate_key gate.key; proxy_ssl_protocols TLSv1.2; proxy_ssl_alpn h2;"
        "proxy_ssl_ciphers AES128; proxy_ssl_session_reuse off;",
    ).tls
    assert found is not None
    assert found.name == ((True, "hostname"),)
    assert (found.server_name, found.verify, found.session_reuse) == (True, True, False)
    assert found.verify_depth == 3
    assert len(found.trusted) == 1
    assert found.certificate is not None
    assert found.protocols == ("TLSv1.2",)
    assert found.alpn == ("h2",)
    assert "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" in found.ciphers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("proxy_timeout x;", '"proxy_timeout" directive invalid value'),
        ("proxy_buffer_size 0;", '"proxy_buffer_size" directive invalid value'),
        ("proxy_buffer_size 5000m;", '"proxy_buffer_size" directive invalid value'),
        ("proxy_ssl_verify_depth x;", '"proxy_ssl_verify_depth" directive invalid number'),
        ("proxy_requests x;", '"proxy_requests" directive invalid number'),
        ("proxy_protocol v3;", 'invalid value "v3"'),
        ("proxy_bind nohost;", 'invalid address "nohost"'),
        ("proxy_bind 127.0.0.1 opaque;", 'invalid parameter "opaque"'),
        (
            "proxy_ssl on; proxy_ssl_verify on; proxy_pass localhost:1;",
            "no proxy_ssl_trusted_certificate for proxy_ssl_verify",
        ),
        ("return $;", "invalid variable name"),
        ("allow 1.2.3;", 'invalid parameter "1.2.3"'),
        ("deny 10.0.0.0/33;", 'invalid parameter "10.0.0.0/33"'),
        ("deny 10.0.0.0/255.0.0.0;", 'invalid parameter "10.0.0.0/255.0.0.0"'),
        ("access_log a.log;", "log format is not specified"),
        ("access_log a.log nope;", 'unknown log format "nope"'),
        ("access_log off x;", 'invalid parameter "x"'),
        ("access_log a.log f bogus;", 'invalid parameter "bogus"'),
        ("access_log a.log f buffer=x;", 'invalid buffer size "x"'),
        ("access_log a.log f flush=1s;", 'no buffer is defined for access_log "a.log"'),
        ("access_log a.log f flush=x;", 'invalid flush time "x"'),
        (
            "access_log a.log f gzip;",
            'parameter "gzip" is not supported by this version of qanat',
        ),
        ("error_log a.log loud;", 'invalid log level "loud"'),
        (
            "error_log syslog:server=a;",
            '"syslog:" in "error_log" is not supported by this version of qanat',
        ),
    ],
)
def test_what_is_wrong_with_a_directive(site: Site, text: str, message: str) -> None:
    assert site.problems(f"log_format f x; server {{ listen 1; {text} }}") == [
        f"{message} in q.conf:1"
    ]


def test_all_problems_at_once(site: Site) -> None:
    assert site.problems(
        "server { listen 1 bogus;\n proxy_timeout x;\n proxy_pass nothing;\n return $nope; }\n"
        "server { listen 2;\n proxy_pass other; }"
    ) == [
        'invalid parameter "bogus" in q.conf:1',
        '"proxy_timeout" directive invalid value in q.conf:2',
        'no port in upstream "nothing" in q.conf:3',
        'unknown "nope" variable in q.conf:4',
        'no port in upstream "other" in q.conf:6',
    ]


def test_the_later_content_wins(site: Site) -> None:
    first = server_of(site, "return x; proxy_pass localhost:1;").content
    assert isinstance(first, plan.ProxyContent)
    second = server_of(site, "proxy_pass localhost:1; return x;").content
    assert second == plan.ReturnContent(text=((False, "x"),))


def test_preread(site: Site) -> None:
    server = server_of(
        site,
        "ssl_preread on; preread_buffer_size 1k; preread_timeout 5s; tcp_nodelay off;"
        "proxy_protocol_timeout 6s;",
    )
    assert server.preread == plan.Preread(tls=True, buffer_size=1024, timeout_ms=5000)
    assert (server.tcp_nodelay, server.proxy_protocol_timeout_ms) == (False, 6000)


def test_access_rules(site: Site) -> None:
    server = server_of(site, "allow 10.0.0.0/8; allow ::1; deny 192.0.2.7; allow unix:; deny all;")
    assert [(rule.allow, rule.network) for rule in server.access] == [
        (True, "10.0.0.0/8"),
        (True, "::1/128"),
        (False, "192.0.2.7/32"),
        (True, "unix:"),
        (False, "all"),
    ]
    assert site.warnings("server { listen 1; allow 10.1.1.1/8; }") == [
        "low address bits of 10.1.1.1/8 are meaningless in q.conf:1"
    ]


def test_logs(site: Site) -> None:
    compiled = site.stream(
        "log_format main '$remote_addr ' '$status'; log_format j escape=json '{}';"
        "server { listen 1; access_log logs/$protocol.log main if=$ssl_server_name"
        " buffer=4k flush=1s;"
        " access_log /var/log/j.log j; error_log stderr debug; error_log e.log; }"
    )
    (server,) = compiled.objects.servers
    main, other = compiled.objects.formats
    assert main.line == ((True, "remote_addr"), (False, " "), (True, "status"))
    assert other.escape == "json"
    first, second = server.access_log
    assert first.target.path == (
        *((False, f"{site.prefix}/logs/"), (True, "protocol")),
        (False, ".log"),
    )
    assert first.condition == ((True, "ssl_server_name"),)
    assert second.target.path == ((False, "/var/log/j.log"),)
    assert server.error_log is not None
    assert [(log.target.kind, log.level) for log in server.error_log] == [
        ("stderr", "debug"),
        ("file", "error"),
    ]


def test_problems_of_formats(site: Site) -> None:
    assert site.problems("log_format a x;\n log_format a y;\n log_format b escape=x y;") == [
        'duplicate "log_format" name "a" in q.conf:2',
        'unknown log format escaping "x" in q.conf:3',
    ]


def test_a_variable_of_a_format_ends_with_its_text(site: Site) -> None:
    compiled = site.stream("log_format f '$remote_addr' 'x' '$status' '_y';")
    (line,) = (one.line for one in compiled.objects.formats)
    assert line == ((True, "remote_addr"), (False, "x"), (True, "status"), (False, "_y"))


def test_single_settings_are_inherited(site: Site) -> None:
    assert proxy(site, "", "proxy_timeout 5s; ").timeout_ms == 5000
    assert proxy(site, "proxy_timeout 6s;", "proxy_timeout 5s;").timeout_ms == 6000


def test_lists_replace_those_of_stream(site: Site) -> None:
    outer = "log_format f x; allow all; access_log a.log f; error_log a.log;"
    inherited = server_of(site, "", outer)
    assert (len(inherited.access), len(inherited.access_log)) == (1, 1)
    assert inherited.error_log is not None
    own = server_of(site, "deny 10.0.0.1; deny ::1; access_log off; error_log stderr;", outer)
    assert [rule.allow for rule in own.access] == [False, False]
    assert own.access_log == ()
    assert own.error_log == (plan.ErrorLog(target=plan.Target(kind="stderr")),)


_VALUES = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers())


@given(_VALUES, _VALUES)
def test_the_inner_level_wins(outer: dict[str, int], inner: dict[str, int]) -> None:
    level = Level(outer).inside(inner)
    for name in "abc":
        setting = Setting(name, lambda _, __: 0, -1)
        assert level.get(setting) == inner.get(name, outer.get(name, -1))


@given(st.none() | st.lists(st.integers()), st.none() | st.lists(st.integers()))
def test_an_inner_list_replaces_the_outer_one(
    outer: list[int] | None, inner: list[int] | None
) -> None:
    setting: ListSetting[int] = ListSetting(("n",), lambda _, __: 0)
    level = Level({} if outer is None else {"n": outer}).inside(
        {} if inner is None else {"n": inner}
    )
    expected = inner if inner is not None else outer
    assert level.items(setting) == (None if expected is None else tuple(expected))


def test_a_proxy_without_certificate_key(site: Site, pair: tuple[Path, Path]) -> None:
    text = f"proxy_pass localhost:1; proxy_ssl on; proxy_ssl_certificate {pair[0].name};"
    (problem,) = site.problems(f"server {{ listen 1; {text} }}")
    assert problem.startswith('no "proxy_ssl_certificate_key" is defined for certificate')
