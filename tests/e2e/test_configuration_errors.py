"""Errors of a configuration: all at once, in nginx's words, each with its file and line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.harness.gateway import run

if TYPE_CHECKING:
    from pathlib import Path

# What follows `#>` is the message expected about that line.
# First what the grammar and the tables of directives say,
UNREADABLE = """\
events { }
stream {
    server {
        lisen 1.2.3.4:80;  #> unknown directive "lisen"
        return "x" "y";  #> invalid number of arguments in "return" directive
        root /srv;  #> "root" directive is not allowed here
    }
    server {
        listen 127.0.0.1:2001 {  #> directive "listen" is not terminated by ";"
        }
        tcp_nodelay perhaps;  #> invalid value "perhaps" in "tcp_nodelay" directive
        proxy_timeout 1s;
        proxy_timeout 2s;  #> "proxy_timeout" directive is duplicate
    }
    upstream group;  #> directive "upstream" has no opening "{"
    server {
        listen 127.0.0.1:2002;
        js_filter m.f;  #> directive "js_filter" is not supported by this version of qanat
    }
}
"""
# then what the words of each mean.
MEANINGLESS = """\
worker_processes many;  #> "worker_processes" directive invalid value
events { }
stream {
    upstream empty { }  #> no servers are inside upstream
    upstream group { server 127.0.0.1:9 wieght=2; }  #> invalid parameter "wieght=2"
    upstream lost { server no-port.invalid; }  #> no port in upstream "no-port.invalid"
    server { return "x"; }  #> no "listen" is defined for server
    server {
        listen 127.0.0.1:70000;  #> invalid port in "127.0.0.1:70000" of the "listen" directive
        return "x";
    }
    server {
        listen 127.0.0.1:2001 bogus;  #> invalid parameter "bogus"
        proxy_timeout soon;  #> "proxy_timeout" directive invalid value
        return "x";
    }
    server {
        listen 127.0.0.1:2002;
        return "$no_such_variable";  #> unknown "no_such_variable" variable
        deny everyone;  #> invalid parameter "everyone"
    }
    server {
        listen 127.0.0.1:2003 ssl;
        ssl_certificate missing.pem;  #> cannot load certificate
        ssl_certificate_key missing.key;
        return "x";
    }
    server { listen 127.0.0.1:2004; proxy_pass nowhere; }  #> no port in upstream "nowhere"
    server { listen 127.0.0.1:2005; access_log a.log odd; }  #> unknown log format "odd"
}
"""

# Where reading cannot go on there is one message.
BROKEN = [
    ("events { }\nstream {\n  server {\n", 'unexpected end of file, expecting "}"', 4),
    ("events { }\n}\n", 'unexpected "}"', 2),
    ('events { }\nstream { server { return "x; } }\n', "unexpected end of file", 3),
    ("events { }\nstream { server { listen 1 } }\n", 'unexpected "}"', 2),
    ("events { }\nstream;\n", 'directive "stream" has no opening "{"', 2),
    ("events { }\ninclude missing.conf;\n", "failed (2: No such file or directory)", 2),
]


def expected(text: str) -> list[tuple[int, str]]:
    lines = enumerate(text.splitlines(), 1)
    return [(number, line.partition("#> ")[2]) for number, line in lines if "#> " in line]


def check(directory: Path, text: str) -> list[tuple[int, str]]:
    """Check a configuration; return line and message of every error."""
    conf = directory / "nginx.conf"
    conf.write_text(text)
    result = run(["check", str(conf)])
    assert result.returncode == 1
    found = re.findall(
        rf"^qanat: \[emerg\] (.*) in {re.escape(str(conf))}:(\d+)(?:; did you mean .*)?$",
        result.stderr,
        re.MULTILINE,
    )
    assert len(found) == result.stderr.count("[emerg]"), result.stderr
    assert f"{conf}: {len(found)} problem" in result.stdout
    return [(int(line), message) for message, line in found]


@pytest.mark.parametrize("text", [UNREADABLE, MEANINGLESS], ids=["words", "meaning"])
def test_all_errors_of_a_file(tmp_path: Path, text: str) -> None:
    found = check(tmp_path, re.sub(r"#> .*", "", text))
    wanted = expected(text)
    assert [line for line, _ in found] == [line for line, _ in wanted], found
    for (_, said), (_, message) in zip(found, wanted, strict=True):
        assert message in said


@pytest.mark.parametrize(("text", "message", "line"), BROKEN)
def test_where_reading_stops(tmp_path: Path, text: str, message: str, line: int) -> None:
    found = check(tmp_path, text)
    assert len(found) == 1
    assert message in found[0][1]
    assert found[0][0] in {line, line - 1}


def test_an_unknown_directive_comes_with_the_nearest_known_one(tmp_path: Path) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_text('events { }\nstream { server { listen 2001; ssl_prerad on; return "x"; } }\n')
    said = f'unknown directive "ssl_prerad" in {conf}:2; did you mean "ssl_preread"?'
    assert said in run(["check", str(conf)]).stderr


def test_an_error_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text("events { }\nstream { include part.conf; }\n")
    part = tmp_path / "part.conf"
    part.write_text("\n\nserver { listen 2001; nothing; }\n")
    result = run(["check", str(tmp_path / "nginx.conf")])
    assert f'unknown directive "nothing" in {part}:3' in result.stderr
