"""The main level, the control API's addresses, NJet's example files, and speed."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from tests.harness.compiler_site import Site, resolve

from qanat.compiler import builtin, plan
from qanat.compiler.compile import Compiled, compile_config
from qanat.compiler.control import ControlEndpoint, control_file
from qanat.config.errors import ConfigError
from qanat.config.parse import parse_file
from qanat.config.paths import Paths

EXAMPLE = Path(__file__).parents[3] / "examples" / "njet" / "conf"
CONTROL_FILE = "http { server { listen 8081; location /api { dyn_module_api; } } }"


def main_problems(site: Site, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        site.compile(text)
    return [problem.message for problem in caught.value.problems]


def with_control(site: Site, text: str, control_text: str) -> Compiled:
    site.paths.conf.write_text(text)
    (site.prefix / "conf" / "ctrl.conf").write_text(control_text)
    tree = parse_file(site.paths)
    found = control_file(tree, site.paths)
    assert found is not None
    control = parse_file(Paths(site.prefix, found))
    return compile_config(tree, site.paths, control, resolve=resolve)


def test_defaults(site: Site) -> None:
    compiled = site.compile("events {}")
    process = compiled.process
    assert (process.user, process.group, process.daemon, process.master_process) == (
        *(None, None, True),
        True,
    )
    assert process.pid == site.prefix / "logs/nginx.pid"
    assert process.error_log == site.prefix / "logs/error.log"
    assert process.state_dir == site.prefix / "state"
    assert (process.worker_processes, process.rlimit_nofile, process.control) == (1, None, ())
    assert compiled.objects == plan.Objects()
    assert compiled.settings.worker_connections == 512


def test_process(site: Site) -> None:
    process = site.compile(
        "daemon off; master_process off; user www-data adm; pid run/q.pid; worker_processes auto;"
        "worker_rlimit_nofile 4096; error_log stderr info; state_dir /var/lib/q; node_name n1;"
        "cluster_name c1; working_directory /tmp; env A; env B=1; worker_shutdown_timeout 5s;"
    ).process
    assert (process.user, process.group) == ("www-data", "adm")
    assert (process.daemon, process.master_process) == (False, False)
    assert process.pid == site.prefix / "run/q.pid"
    assert process.worker_processes == len(os.sched_getaffinity(0))
    assert (process.rlimit_nofile, process.error_log) == (4096, "stderr")
    assert (process.state_dir, process.working_directory) == (Path("/var/lib/q"), Path("/tmp"))
    assert (process.node_name, process.cluster_name, process.env) == ("n1", "c1", ("A", "B=1"))


@pytest.mark.parametrize(
    ("main", "control", "limits"),
    [
        ("", "", (500, 5000)),
        ("config_req_pool_size 7; dyn_sendmsg_rpc_timeout 2000;", "", (7, 2000)),
        ("", "config_req_pool_size 8; dyn_sendmsg_rpc_timeout 3s;", (8, 3000)),
        ("config_req_pool_size 7;", "config_req_pool_size 8;", (7, 5000)),
    ],
)
def test_limits_of_the_control_api(
    site: Site, main: str, control: str, limits: tuple[int, int]
) -> None:
    helper = "helper ctrl m.so conf/ctrl.conf;"
    process = with_control(site, helper + main, control + CONTROL_FILE).process
    assert (process.pending_changes, process.change_timeout_ms) == limits


def test_settings(site: Site) -> None:
    settings = site.compile(
        "events { worker_connections 9; use epoll; } worker_shutdown_timeout 5s; node_name n1;"
        "error_log a.log; error_log b.log debug;"
    ).settings
    assert (settings.worker_connections, settings.shutdown_timeout_ms) == (9, 5000)
    assert settings.node_name == "n1"
    assert [log.level for log in settings.error_log] == ["error", "debug"]


def test_the_group_is_named_as_the_user(site: Site) -> None:
    assert site.compile("user q;").process.group == "q"


def test_the_default_error_log_may_be_given(site: Site) -> None:
    site.paths.conf.write_text("events {}")
    compiled = compile_config(parse_file(site.paths), site.paths, error_log="stderr")
    assert compiled.process.error_log == "stderr"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worker_processes 0;", '"worker_processes" directive invalid value'),
        ("config_req_pool_size 0;", '"config_req_pool_size" directive invalid number'),
        ("config_req_pool_size x;", '"config_req_pool_size" directive invalid number'),
        ("dyn_sendmsg_rpc_timeout 0;", '"dyn_sendmsg_rpc_timeout" directive invalid value'),
        ("dyn_sendmsg_rpc_timeout x;", '"dyn_sendmsg_rpc_timeout" directive invalid value'),
        ("worker_processes many;", '"worker_processes" directive invalid value'),
        ("worker_rlimit_nofile x;", '"worker_rlimit_nofile" directive invalid number'),
        ("events { worker_connections x; }", '"worker_connections" directive invalid number'),
        ("control 0.0.0.0;", 'no port in "0.0.0.0" of the "control" directive'),
        ("control nohost.test:1;", 'host not found in "nohost.test:1" of the "control" directive'),
        ("control 127.0.0.1:1 bogus;", 'invalid parameter "bogus"'),
        ("control 1; control 127.0.0.1:1;", 'a duplicate control address "127.0.0.1:1"'),
        (
            "control 1 token_file=a token_env=B;",
            '"token_file" and "token_env" exclude each other',
        ),
        (
            "control 0.0.0.0:1;",
            'control address "0.0.0.0:1" can be reached from other hosts: '
            'it needs "token_file=PATH" or "token_env=NAME", or "insecure"',
        ),
    ],
)
def test_what_is_wrong_at_the_main_level(site: Site, text: str, message: str) -> None:
    assert main_problems(site, text) == [message]


def test_control_addresses(site: Site) -> None:
    endpoints = site.compile(
        "control 8081;\n control [::1]:8082 token_env=T;\n control unix:run/q.sock;\n"
        "control 0.0.0.0:8083 token_file=conf/token;\n control 0.0.0.0:8084 insecure;"
    ).process.control
    assert [(one.address, one.token_env, one.allow_unauthenticated) for one in endpoints] == [
        ("127.0.0.1:8081", None, False),
        ("[::1]:8082", "T", False),
        (f"unix:{site.prefix}/run/q.sock", None, False),
        ("0.0.0.0:8083", None, False),
        ("0.0.0.0:8084", None, True),
    ]
    assert endpoints[3].token_file == site.prefix / "conf/token"


def test_the_control_file_of_a_helper(site: Site) -> None:
    compiled = with_control(
        site,
        "helper ctrl m.so conf/ctrl.conf; node_name main;",
        "node_name other; cluster_name c; http { server { listen 127.0.0.1:8081;"
        " location /x/ { dyn_module_api; } location /y { doc_api; } } server { listen 9; } }",
    )
    assert compiled.process.control == (
        ControlEndpoint(
            "127.0.0.1:8081",
            legacy_location="/x",
            doc_location="/y",
            origin=f"{site.prefix}/conf/ctrl.conf:1",
        ),
    )
    assert (compiled.process.node_name, compiled.process.cluster_name) == ("main", "c")
    assert [str(one) for one in compiled.warnings] == [
        f"http server at {site.prefix}/conf/ctrl.conf:1 is parsed and not served"
    ]


@pytest.mark.parametrize(
    ("at_http", "at_server", "at_location", "guard"),
    [
        ("", "", "allow 10.0.0.1; deny all;", "deny"),
        ("", 'auth_basic "who?";', "", "auth_basic"),
        ("auth_request /check;", "", "", "auth_request"),
        ("", "", "access_by_lua_block { x; }", "access_by_lua_block"),
    ],
)
def test_what_would_protect_the_control_api_of_njet_is_not_passed_over(
    site: Site, at_http: str, at_server: str, at_location: str, guard: str
) -> None:
    control = (
        f"http {{ {at_http} server {{ listen 127.0.0.1:8081; {at_server} "
        f"location /api {{ dyn_module_api; {at_location} }} }} }}"
    )
    helper = "helper ctrl m.so conf/ctrl.conf;"
    with pytest.raises(ConfigError) as caught:
        with_control(site, helper, control)
    (problem,) = caught.value.problems
    assert problem.message.startswith(f'"{guard}" at {site.prefix}/conf/ctrl.conf:1 cannot protect')
    assert 'add "control 127.0.0.1:8081 token_file=PATH;"' in problem.message
    (site.prefix / "t").write_text("secret")
    compiled = with_control(site, f"{helper} control 127.0.0.1:8081 token_file=t;", control)
    assert compiled.process.control[0].token_file == site.prefix / "t"
    assert compiled.warnings == ()


def test_what_protects_nothing_is_let_through(site: Site) -> None:
    control = (
        "http { auth_basic off; server { listen 127.0.0.1:8081; "
        "location /api { allow all; dyn_module_api; } location /x { deny all; } } }"
    )
    compiled = with_control(site, "helper ctrl m.so conf/ctrl.conf;", control)
    assert [one.address for one in compiled.process.control] == ["127.0.0.1:8081"]


def test_a_token_that_is_not_there_is_warned_of(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.prefix / "empty").write_text(" \n")
    monkeypatch.delenv("NO_TOKEN", raising=False)
    compiled = site.compile(
        "control 1 token_file=none;\n control 2 token_file=empty;\n control 3 token_env=NO_TOKEN;"
    )
    tail = "refuses every request until it has one"
    assert [one.message for one in compiled.warnings] == [
        f'open() "{site.prefix}/none" failed (2: No such file or directory): '
        f"the control API on 127.0.0.1:1 {tail}",
        f'token file "{site.prefix}/empty" is empty: the control API on 127.0.0.1:2 {tail}',
        f'environment variable "NO_TOKEN" holds no token: the control API on 127.0.0.1:3 {tail}',
    ]


def test_the_main_file_may_ask_for_a_token(site: Site) -> None:
    (site.prefix / "t").write_text("secret")
    compiled = with_control(
        site,
        "helper ctrl m.so conf/ctrl.conf; control 0.0.0.0:8081 token_file=t;",
        CONTROL_FILE,
    )
    (endpoint,) = compiled.process.control
    assert endpoint.token_file == site.prefix / "t"
    assert not endpoint.allow_unauthenticated
    assert compiled.warnings == ()


@pytest.mark.parametrize("place", ["conf/c/x.conf", "c/x.conf", "c/njet_ctrl.conf"])
def test_where_the_control_file_is_looked_for(site: Site, place: str) -> None:
    path = site.prefix / place
    path.parent.mkdir(parents=True)
    path.write_text(CONTROL_FILE)
    site.paths.conf.write_text("helper ctrl m.so c/x.conf;")
    assert control_file(parse_file(site.paths), site.paths) == path


def test_a_missing_control_file(site: Site) -> None:
    text = "helper broker m.so conf/mqtt.conf; helper ctrl m.so conf/no.conf;"
    (message,) = main_problems(site, text)
    assert message.endswith('no.conf" failed (2: No such file or directory)')
    site.paths.conf.write_text("helper broker m.so conf/mqtt.conf;")
    assert control_file(parse_file(site.paths), site.paths) is None


def example(site: Site, name: str) -> Compiled:
    shutil.copytree(EXAMPLE, site.prefix / "conf", dirs_exist_ok=True)
    directory = site.prefix / "conf" / "certs" / "ca" / "ECC"
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(site.prefix / "conf" / "gate.crt", directory / "ecc-root_cert.pem")
    shutil.copy(site.prefix / "conf" / "gate.key", directory / "ecc-root_private_key.pem")
    paths = Paths(site.prefix, site.prefix / "conf" / name)
    tree = parse_file(paths)
    found = control_file(tree, paths)
    assert found is not None
    return compile_config(tree, paths, parse_file(Paths(site.prefix, found)), resolve=resolve)


@pytest.mark.usefixtures("pair")
def test_njets_example_compiles_unmodified(site: Site) -> None:
    compiled = example(site, "njet.conf")
    assert [(one.id, one.mesh, one.tls) for one in compiled.objects.listeners] == [
        ("tcp:0.0.0.0:22222", True, False),
        ("udp:0.0.0.0:22223", True, False),
        ("tcp:0.0.0.0:22224", True, True),
    ]
    assert [variable.name for variable in compiled.objects.variables] == ["mesh_server_name"]
    assert len(compiled.objects.certificates) == 1
    process = compiled.process
    assert (process.user, process.node_name, process.cluster_name) == ("root", "node-u01", "helper")
    (endpoint,) = process.control
    assert (endpoint.address, endpoint.allow_unauthenticated) == ("0.0.0.0:8081", True)
    assert (endpoint.legacy_location, endpoint.doc_location) == ("/api", "/doc")
    warnings = [one.message for one in compiled.warnings]
    assert sum("is parsed and not served" in one for one in warnings) == 2
    assert sum('add "control 0.0.0.0:8081 token_file=PATH;"' in one for one in warnings) == 1
    assert len(warnings) == 3


@pytest.mark.usefixtures("pair")
def test_njets_rejecting_example_compiles_unmodified(site: Site) -> None:
    compiled = example(site, "njet-reject.conf")
    found = compiled.objects.servers[2].tls
    assert found is not None
    assert found.reject_handshake
    assert compiled.objects.certificates == ()


def test_two_stream_blocks(site: Site) -> None:
    assert main_problems(site, "stream { } stream { }") == ['"stream" directive is duplicate']


def test_names_of_variables() -> None:
    assert builtin.is_builtin("proxy_protocol_tlv_alpn")
    assert not builtin.is_builtin("proxy_protocol")
    assert all(name == name.lower() and not name.endswith("_") for name in builtin.NAMES)


@pytest.mark.conformance
def test_the_data_plane_has_the_same_variables() -> None:
    native = pytest.importorskip("qanat._native")
    assert set(native.variable_names()) == builtin.NAMES | set(builtin.PREFIXES)


@pytest.mark.slow
def test_ten_thousand_servers(site: Site) -> None:
    servers = "".join(
        f"server {{ listen 127.0.0.1:{1024 + number % 60000}; server_name s{number}.test;"
        f" proxy_pass u; proxy_timeout 5s; }}\n"
        for number in range(10_000)
    )
    site.paths.conf.write_text(f"stream {{ upstream u {{ server localhost:1; }} {servers} }}")
    tree = parse_file(site.paths)
    runs = []
    for _ in range(3):
        start = time.process_time()
        count = len(compile_config(tree, site.paths, resolve=resolve).objects.servers)
        runs.append(time.process_time() - start)
        assert count == 10_000
    assert min(runs) < 0.5
