"""A configuration in files: includes, all errors at once, hints, and the text of `-g`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qanat.config.errors import ConfigError
from qanat.config.format import dump
from qanat.config.parse import parse_file
from qanat.config.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path

    from qanat.config.tree import Tree


def parse(directory: Path, text: str, global_directives: str = "") -> Tree:
    conf = directory / "conf" / "nginx.conf"
    conf.parent.mkdir(exist_ok=True)
    conf.write_text(text)
    return parse_file(Paths.of(conf), global_directives)


def errors(directory: Path, text: str, global_directives: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(directory, text, global_directives)
    prefix = f"{directory}/conf/"
    return [str(problem).replace(prefix, "") for problem in caught.value.problems]


def test_everything_wrong_is_reported_at_once(tmp_path: Path) -> None:
    text = """events {}
foo 1;
pid a; pid b;
stream {
    proxy_pass a;
    server {
        listen 80;
        proxy_passs b;
        root /srv;
        proxy_timeout;
        tcp_nodelay maybe;
        proxy_pass a { }
        resolver 127.0.0.1;
        include gone.conf;
    }
    server;
    server x {}
"""
    assert errors(tmp_path, text) == [
        'unknown directive "foo" in nginx.conf:2',
        '"pid" directive is duplicate in nginx.conf:3',
        '"proxy_pass" directive is not allowed here in nginx.conf:5',
        'unknown directive "proxy_passs" in nginx.conf:8; did you mean "proxy_pass"?',
        '"root" directive is not allowed here in nginx.conf:9',
        'invalid number of arguments in "proxy_timeout" directive in nginx.conf:10',
        'invalid value "maybe" in "tcp_nodelay" directive, it must be "on" or "off"'
        " in nginx.conf:11",
        'directive "proxy_pass" is not terminated by ";" in nginx.conf:12',
        'directive "resolver" is not supported by this version of qanat in nginx.conf:13',
        f'open() "{tmp_path}/conf/gone.conf" failed (2: No such file or directory)'.replace(
            f"{tmp_path}/conf/", ""
        )
        + " in nginx.conf:14",
        'directive "server" has no opening "{" in nginx.conf:16',
        'invalid number of arguments in "server" directive in nginx.conf:17',
        'unexpected end of file, expecting "}" in nginx.conf:18',
    ]


def test_a_forgotten_semicolon_is_pointed_at(tmp_path: Path) -> None:
    text = "events {}\nstream { server {\n proxy_timeout 5s\n proxy_pass a;\n} }"
    assert errors(tmp_path, text) == [
        'invalid number of arguments in "proxy_timeout" directive in nginx.conf:4; '
        'is ";" missing before "proxy_pass"?'
    ]


def test_a_missing_main_file_is_named_without_a_place(tmp_path: Path) -> None:
    conf = tmp_path / "nginx.conf"
    with pytest.raises(ConfigError) as caught:
        parse_file(Paths.of(conf))
    assert str(caught.value) == f'open() "{conf}" failed (2: No such file or directory)'


def test_includes_are_relative_to_the_main_file_and_globs_are_sorted(tmp_path: Path) -> None:
    sites = tmp_path / "conf" / "sites"
    sites.mkdir(parents=True)
    for name in ("b", "a"):
        (sites / f"{name}.conf").write_text(f"server {{ listen {name}:1; }}\n")
    text = "events {}\nstream { include sites/*.conf; include none/*.conf; }\n"
    tree = parse(tmp_path, text)
    stream = next(tree.find("stream"))
    assert stream.block is not None
    assert [one.file for one in stream.block] == [f"{sites}/a.conf", f"{sites}/b.conf"]
    assert [file.path for file in tree.files] == [
        f"{tmp_path}/conf/nginx.conf",
        f"{sites}/a.conf",
        f"{sites}/b.conf",
    ]
    assert dump(tree).startswith(f"# configuration file {tmp_path}/conf/nginx.conf:\n{text}\n# ")


def test_an_error_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "part.conf").write_text("\nlisten 1;\nfoo;\n")
    assert errors(tmp_path, "events {}\nstream { include part.conf; }\n") == [
        '"listen" directive is not allowed here in part.conf:2',
        'unknown directive "foo" in part.conf:3',
    ]


def test_a_file_that_includes_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.conf").write_text("include b.conf;\n")
    (tmp_path / "conf" / "b.conf").write_text("include a.conf;\n")
    assert errors(tmp_path, "include a.conf;\n") == ['"a.conf" includes itself in b.conf:1']


def test_duplicates_count_across_includes_and_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "part.conf").write_text("daemon off;\n")
    assert errors(tmp_path, "include part.conf;\n", "daemon off;") == [
        '"daemon" directive is duplicate in part.conf:1'
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foo 1;", 'unknown directive "foo" in command line'),
        ("daemon off", 'unexpected end of parameter, expecting ";" in command line'),
        ("listen 1;", '"listen" directive is not allowed here in command line'),
    ],
)
def test_errors_of_the_command_line_have_no_line(tmp_path: Path, text: str, message: str) -> None:
    assert errors(tmp_path, "events {}", text) == [message]


def test_repeatable_directives_may_repeat(tmp_path: Path) -> None:
    parse(
        tmp_path,
        "events {} error_log a; error_log b;\n"
        "stream { map a $b { } map a $c { } upstream u { server a:1; server b:1; }\n"
        "server { listen 1; listen 2; allow all; deny all; set $a 1; set $b 2; } }",
    )


def test_a_byte_order_mark_and_bytes_that_are_no_text_are_read(tmp_path: Path) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_bytes(b'\xef\xbb\xbfevents {}\nstream { log_format a "\xff"; }\n')
    tree = parse_file(Paths.of(conf))
    assert [one.name for one in tree.directives] == ["events", "stream"]


def test_paths_without_a_prefix_start_above_conf(tmp_path: Path) -> None:
    assert Paths.of(tmp_path / "conf" / "x.conf").prefix == tmp_path
    assert Paths.of(tmp_path / "x.conf").prefix == tmp_path
    paths = Paths.of(tmp_path / "x.conf", tmp_path / "p")
    assert (paths.prefix, paths.conf) == (tmp_path / "p", tmp_path / "x.conf")


def test_a_long_chain_of_includes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    for number in range(100):
        text = f"include {number + 1}.conf;\n"
        (tmp_path / "conf" / f"{number}.conf").write_text(text)
    (tmp_path / "conf" / "100.conf").write_text("events {}\n")
    assert errors(tmp_path, "include 0.conf;\n") == [
        "files include one another too deeply in 63.conf:1"
    ]
    assert parse(tmp_path, "include 60.conf;\n").directives[0].name == "events"


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    assert errors(tmp_path, "events {}\ninclude /dev/zero;") == [
        'read() "/dev/zero" failed (27: File too large) in nginx.conf:2'
    ]
