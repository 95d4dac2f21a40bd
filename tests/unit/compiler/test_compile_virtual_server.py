"""Virtual servers from API requests: NJet's words, the listener's rules, what a body may hold."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.compiler import plan
from qanat.compiler.record import ServerName
from qanat.compiler.virtual_server import (
    Scope,
    VirtualServerRequest,
    compile_virtual_server,
    listener_of,
)
from qanat.config.errors import ConfigError
from qanat.config.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.harness.compiler_site import Site

    from qanat.compiler.virtual_server import VirtualServer

    Add = Callable[..., VirtualServer]
    Refusal = Callable[..., str]

TLS = "ssl_certificate gate.crt; ssl_certificate_key gate.key;"
_NOWHERE = Path("/nonexistent/conf/q.conf")


def _nothing(_: str) -> Sequence[str]:
    return ()


TLS_SERVER = "server { listen 22224 ssl mesh; ssl_reject_handshake on; }"


def test_joining_a_listener(add: Add) -> None:
    added = add()
    assert added.listener is None
    assert added.server.id == "tcp:0.0.0.0:22222/server-17082"
    assert added.server.listeners == ("tcp:0.0.0.0:22222",)
    assert added.server.names == (ServerName(kind="exact", text="server-17082"),)
    assert added.server.content == plan.ReturnContent(text=((False, "17082 ok"),))
    assert added.server.origin == "server_body"


def test_names_keep_their_spelling_and_ids_do_not(add: Add) -> None:
    server = add(name=" SERVER-1 ").server
    assert server.name == "SERVER-1"
    assert server.id == "tcp:0.0.0.0:22222/server-1"


@pytest.mark.parametrize(
    ("address", "listener_id"),
    [
        ("0.0.0.0:23333", "tcp:0.0.0.0:23333"),
        ("*:23333", "tcp:0.0.0.0:23333"),
        ("23333", "tcp:0.0.0.0:23333"),
        ("127.0.0.1:23333", "tcp:127.0.0.1:23333"),
        ("0.0.0.0:22222   udp", "udp:0.0.0.0:22222"),
        ("[::]:22222", "tcp:[::]:22222"),
        ("unix:/run/q.sock", "tcp:unix:/run/q.sock"),
    ],
)
def test_opening_a_listener(add: Add, site: Site, address: str, listener_id: str) -> None:
    added = add(address)
    assert added.listener is not None
    assert added.listener.id == listener_id == listener_of(address, site.scope())
    assert added.listener.default_server == added.server.id
    assert added.listener.origin == "addr_port:1"


def test_an_address_below_a_wildcard_listener(add: Add) -> None:
    added = add("127.0.0.1:22222")
    assert added.listener is not None
    assert added.listener.parent == "tcp:0.0.0.0:22222"


def test_options_of_a_new_listener(add: Add) -> None:
    listener = add("0.0.0.0:1 backlog=9", option="mesh  proxy_protocol reuseport").listener
    assert listener is not None
    assert (listener.mesh, listener.proxy_protocol, listener.tls) == (True, True, False)
    assert (listener.socket.backlog, listener.socket.reuseport) == (9, True)


def test_options_of_a_known_listener_are_ignored(add: Add) -> None:
    assert add(option="mesh").listener is None
    assert add(option="bogus").listener is None


def test_tls_is_for_new_listeners(refusal: Refusal, site: Site) -> None:
    message = "dyn server listen option only works for unlistened port"
    assert refusal(option="ssl") == message
    tls = site.scope(TLS_SERVER)
    dynamic = replace(tls, dynamic_listeners={"tcp:0.0.0.0:22224"})
    assert refusal("0.0.0.0:22224", option="ssl", scope=dynamic) == message
    plain = replace(site.scope(), dynamic_listeners={"tcp:0.0.0.0:22222"})
    assert refusal(option="ssl", scope=plain) == "try to add ssl to a non-ssl new added vs"


def test_udp_is_no_listen_option(refusal: Refusal) -> None:
    assert refusal("1", option="udp") == "udp should be added to addr_port, not listen option"


@pytest.mark.parametrize(
    ("address", "option", "message"),
    [
        ("1 bogus", "", 'invalid parameter "bogus" in addr_port:1'),
        ("1", "bogus", 'invalid parameter "bogus" in listen_option:1'),
        ("1 udp", "ssl", '"ssl" parameter is incompatible with "udp" in listen_option:1'),
        (
            "999.1.1.1:22222",
            "",
            'host not found in "999.1.1.1:22222" of the "listen" directive in addr_port:1',
        ),
        ("0.0.0.0", "", 'no port in "0.0.0.0" of the "listen" directive in addr_port:1'),
        ("1-2", "", '"1-2" stands for several addresses, one is needed in addr_port:1'),
        ("", "", 'invalid number of arguments in "listen" directive in addr_port:1'),
    ],
)
def test_what_is_wrong_with_an_address(
    refusal: Refusal, address: str, option: str, message: str
) -> None:
    assert refusal(address, option=option) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("\nfoo;", 'unknown directive "foo" in server_body:2'),
        ("root /;", '"root" directive is not allowed here in server_body:1'),
        ("upstream u { }", '"upstream" directive is not allowed here in server_body:1'),
        ("ssl_stapling on;", '"ssl_stapling" directive no support of dynamic! in server_body:1'),
        ("zone z 1m;", '"zone" directive no support of dynamic! in server_body:1'),
        ("return;", 'invalid number of arguments in "return" directive in server_body:1'),
        ("{ }", 'unexpected "{" in server_body:1'),
        ("return x; listen 1;", "listen cmd in the server body of dynamic stream vs"),
        ("} server { listen 1;", "listen cmd in the server body of dynamic stream vs"),
        ("server_name x;", "dynamic server only support one name! in server_body:1"),
        ("return $x;", 'no defined variable name "$x" in server_body:1'),
        ("set $foo 1;", 'not suport user-defined "$foo" variable in server_body:1'),
        ("proxy_pass name;", 'no port in upstream "name" in server_body:1'),
        ("proxy_timeout x;", '"proxy_timeout" directive invalid value in server_body:1'),
        ("access_log logs/a f;", 'unknown log format "f" in server_body:1'),
        ("include x;", '"include" directive is not allowed here in server_body:1'),
    ],
)
def test_what_is_wrong_with_a_body(refusal: Refusal, body: str, message: str) -> None:
    assert refusal(body=body).partition(";")[0] == message.partition(";")[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a b", "dynamic server only support one name! in server_name:1"),
        ("a;b", 'server name "a;b" is invalid in server_name:1'),
        ("*bad", 'server name "*bad" is invalid in server_name:1'),
        ("server-*", "njt_stream_optimize_servers error!"),
        ("x" * 256, "njt_stream_optimize_servers error!"),
    ],
)
def test_what_is_wrong_with_a_name(refusal: Refusal, name: str, message: str) -> None:
    assert refusal(name=name) == message


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('""', ""),
        ("", ""),
        ("*.Example.com", "*.example.com"),
        ("~^a{2}$", "~^a{2}$"),
        ("'~^a{2}$'", "~^a{2}$"),
        ("$hostname", "gate"),
        ("ü.test", "ü.test"),
    ],
)
def test_forms_of_names(add: Add, name: str, shown: str) -> None:
    assert add(name=name).server.id == f"tcp:0.0.0.0:22222/{shown}"


def test_all_problems_of_a_request(add: Add) -> None:
    with pytest.raises(ConfigError) as caught:
        add("1 bogus", "a b", "proxy_timeout x; proxy_pass name;")
    assert [problem.file for problem in caught.value.problems] == [
        *("addr_port", "server_name"),
        *("server_body", "server_body"),
    ]


@pytest.mark.parametrize("body", ["", "  ", 'return "x"', "proxy_timeout 1s"])
def test_bodies_may_be_empty_or_lack_the_last_semicolon(add: Add, body: str) -> None:
    assert add(body=body).server.listeners == ("tcp:0.0.0.0:22222",)


def test_the_last_content_wins(add: Add) -> None:
    assert isinstance(
        add(body="proxy_pass 127.0.0.1:1; return x;").server.content, plan.ReturnContent
    )
    added = add(body="return x; proxy_pass 127.0.0.1:1;")
    assert isinstance(added.server.content, plan.ProxyContent)
    assert [upstream.name for upstream in added.upstreams] == ["127.0.0.1:1"]


def test_names_of_the_configuration_are_known(add: Add, site: Site) -> None:
    scope = site.scope(
        "map $njtmesh_port $place { default x; } upstream Db { server localhost:1; }"
        "log_format f x; proxy_timeout 7s; server { listen 22222; }"
    )
    added = add(
        body="proxy_pass dB; set $place y; access_log logs/$place.log f;",
        scope=replace(scope, allow_files=True),
    )
    assert added.upstreams == ()
    assert isinstance(added.server.content, plan.ProxyContent)
    assert added.server.content.proxy.target == plan.ProxyToUpstream(name="Db")
    assert added.server.content.proxy.timeout_ms == 7000


@pytest.mark.usefixtures("pair")
def test_tls_needs_certificate_and_key(add: Add, refusal: Refusal, site: Site) -> None:
    scope = site.scope(TLS_SERVER)
    address = "0.0.0.0:22224"
    key, certificate = "ssl_certificate_key gate.key;", "ssl_certificate gate.crt;"
    assert refusal(address, body="return x;", scope=scope) == "no ssl_certificate_key!"
    assert refusal(address, body=certificate, scope=scope) == "no ssl_certificate_key!"
    assert refusal(address, body=key, scope=scope) == "no ssl_certificate!"
    rejecting = "ssl_reject_handshake on;"
    assert refusal(address, body=rejecting, scope=scope) == "no ssl_certificate_key!"
    assert refusal("1", body="return x;", option="ssl") == "no ssl_certificate_key!"
    added = add(address, body=TLS, scope=scope)
    assert added.server.tls is not None
    assert added.server.tls.certificates == (added.certificates[0].id,)
    assert add("1", body=TLS, option="ssl").listener is not None


def test_missing_and_mismatched_certificates_are_named(
    refusal: Refusal, site: Site, pair: tuple[Path, Path]
) -> None:
    scope = site.scope(TLS_SERVER)
    body = "ssl_certificate no.crt; ssl_certificate_key gate.key;"
    assert 'cannot load certificate "' in refusal("0.0.0.0:22224", body=body, scope=scope)
    body = "ssl_certificate gate.crt; ssl_certificate_key gate.crt;"
    assert "PEM_read_bio_PrivateKey() failed" in refusal("0.0.0.0:22224", body=body, scope=scope)
    assert pair[0].exists()


def test_files_outside_the_directories_need_a_permission(
    add: Add, refusal: Refusal, site: Site
) -> None:
    for body in (
        "ssl_certificate /etc/passwd;",
        "ssl_certificate ../../x.crt;",
        "ssl_certificate_key /etc/shadow;",
        "error_log /etc/cron.d/x;",
        "error_log conf/nginx.conf;",
        "access_log state/state.db f;",
        "access_log logs/../conf/nginx.conf f;",
        "proxy_ssl_trusted_certificate /etc/passwd;",
    ):
        assert "may only name files below" in refusal(body=body)
    assert "variables in the path" in refusal(body="access_log logs/$protocol f;")
    (site.prefix / "conf" / "link.crt").symlink_to("/etc/passwd")
    assert "may only name files below" in refusal(body="ssl_certificate link.crt;")
    assert add(body="error_log logs/own.log;").server.error_log is not None
    scope = replace(site.scope(), pid=site.prefix / "logs" / "nginx.pid")
    problem = refusal(body="error_log logs/../logs/nginx.pid;", scope=scope)
    assert problem == '"error_log" may not name the pid file in server_body:1'
    allowed = replace(site.scope(), allow_files=True)
    assert add(body="error_log /var/log/own.log;", scope=allowed).server.error_log is not None


def test_includes_with_a_permission(add: Add, site: Site) -> None:
    (site.prefix / "conf" / "part.conf").write_text("return included;")
    allowed = replace(site.scope(), allow_files=True)
    assert add(body="include part.conf;", scope=allowed).server.content == plan.ReturnContent(
        text=((False, "included"),)
    )


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=60), st.text(max_size=12))
def test_any_request_compiles_or_is_refused(
    address: str, name: str, body: str, option: str
) -> None:
    paths = Paths.of(_NOWHERE)
    scope = Scope(paths=paths, hostname="gate", resolve=_nothing)
    try:
        added = compile_virtual_server(VirtualServerRequest(address, name, body, option), scope)
    except ConfigError as error:
        assert error.problems
    else:
        assert added.listener is not None


def test_the_cost_does_not_depend_on_how_many_servers_exist(add: Add, site: Site) -> None:
    few = site.scope()
    many = site.scope(
        "server { listen 22222 mesh; }"
        + "".join(f"server {{ listen 127.0.0.1:{port}; return x; }}" for port in range(1024, 6024))
    )

    def cost(scope: Scope) -> float:
        runs = []
        for _ in range(50):
            start = time.perf_counter()
            add(scope=scope)
            runs.append(time.perf_counter() - start)
        return min(runs)

    assert cost(many) < 2 * cost(few)
