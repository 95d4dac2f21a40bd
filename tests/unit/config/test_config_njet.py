"""NJet's files, unmodified, and what it allows in the body of a dynamic virtual server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qanat.config.errors import ConfigError
from qanat.config.parse import parse_file, parse_text
from qanat.config.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path

DATA_PLANE = """\
helper broker modules/njt_helper_broker_module.so conf/mqtt.conf;
helper ctrl modules/njt_helper_ctrl_module.so conf/ctrl.conf;
load_module modules/njt_stream_dyn_server_module.so;
load_module modules/njt_brand_new_module.so;
user root root;
cluster_name helper;
node_name node-u01;
error_log logs/error.log info;
events { worker_connections 1024; }
http {
    dyn_kv_conf conf/iot-work.conf;
    include mime.types;
    vhost_traffic_status_filter_by_set_key $request_uri "$realip_remote_addr to $server_name";
    server { listen 443 ssl; ssl_ntls off; location / { return 200 "ok"; } }
}
stream {
    map $njtmesh_port $mesh_server_name { 17082 server-17082; default "123"; }
    server { listen 22223 udp mesh; return "22223 udp ok"; }
}
"""
CONTROL = """\
load_module modules/njt_doc_module.so;
events { worker_connections 1024; }
http {
    dyn_sendmsg_conf conf/iot-ctrl.conf;
    server { listen 8081; location /api { dyn_module_api; } location /doc { doc_api; } }
}
cluster_name helper;
node_name node1;
"""


def refusals(body: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_text(body, "server_body", "server")
    return [str(problem) for problem in caught.value.problems]


def test_the_file_of_the_data_plane_is_accepted_with_warnings(tmp_path: Path) -> None:
    conf = tmp_path / "conf" / "njet.conf"
    conf.parent.mkdir()
    conf.write_text(DATA_PLANE)
    tree = parse_file(Paths.of(conf))
    assert [str(warning) for warning in tree.warnings] == [
        f'open() "{tmp_path}/conf/mime.types" failed (2: No such file or directory) in {conf}:12',
        f'module "njt_brand_new_module.so" is not known and is ignored in {conf}:4',
    ]


def test_the_file_of_the_control_plane_is_accepted(tmp_path: Path) -> None:
    conf = tmp_path / "ctrl.conf"
    conf.write_text(CONTROL)
    tree = parse_file(Paths.of(conf))
    assert tree.warnings == ()
    assert [one.args for one in tree.find("node_name")] == [("node1",)]


@pytest.mark.parametrize("body", ["", "   \n", "# nothing", 'return "a"', "return a; # b\n"])
def test_a_body_may_be_empty_and_may_lack_the_last_semicolon(body: str) -> None:
    assert len(parse_text(body, "server_body", "server")) == ("return" in body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("foo 1;", 'unknown directive "foo" in server_body:1'),
        ("\n\nfoo 1;", 'unknown directive "foo" in server_body:3'),
        ("root /;", '"root" directive is not allowed here in server_body:1'),
        ("location / {}", '"location" directive is not allowed here in server_body:1'),
        ("upstream a {}", '"upstream" directive is not allowed here in server_body:1'),
        (
            "worker_processes 1;",
            '"worker_processes" directive is not allowed here in server_body:1',
        ),
        ("ssl_stapling on;", '"ssl_stapling" directive no support of dynamic! in server_body:1'),
        ("zone a 1m;", '"zone" directive no support of dynamic! in server_body:1'),
        ("return a b;", 'invalid number of arguments in "return" directive in server_body:1'),
        ('return "a;', 'unexpected end of file, expecting ";" or "}" in server_body:1'),
        ("{", 'unexpected "{" in server_body:1'),
        ("#" + "x" * 5000, 'too long parameter "#xxxxxxxxx..." started in server_body:1'),
        ("listen 1;", "listen cmd in the server body of dynamic stream vs"),
        ("} server { listen 1;", "listen cmd in the server body of dynamic stream vs"),
        ("return a; } server { return b;", 'unexpected "}" in server_body:1'),
        ("server_name a;", "dynamic server only support one name! in server_body:1"),
        ("include /etc/passwd;", '"include" directive is not allowed here in server_body:1'),
    ],
)
def test_a_body_is_refused_in_the_words_of_njet(body: str, message: str) -> None:
    assert refusals(body)[0] == message


def test_files_are_included_only_where_that_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "part.conf").write_text("return a;")
    body = parse_text("include part.conf;", "server_body", "server", include_base=tmp_path)
    assert [one.name for one in body] == ["return"]
