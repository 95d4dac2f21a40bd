"""The command line: nginx's flags as nginx has them, and the commands of our own."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask
from tests.harness.gateway import Gateway, StartError, run
from tests.harness.waiting import PATIENCE, until

import qanat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """
stream {
    include servers/*.conf;
    server { listen 127.0.0.1:@front; return "hello"; }
}
"""
WRONG = "stream {\n    server { listen 127.0.0.1:@front; retrun x; }\n}\n"
MAIN = "error_log logs/error.log info;\npid logs/nginx.pid;\nevents { }\n"
START = 2 * PATIENCE


def nginx(gateway: Gateway, *flags: str) -> tuple[int, str, str]:
    """Run as nginx is run; return the exit status, stdout and stderr."""
    result = run(["-p", f"{gateway.prefix}/", "-c", "conf/qanat.conf", *flags], START)
    return result.returncode, result.stdout, result.stderr


@pytest.fixture
def site(gateway: Gateway) -> Iterator[Gateway]:
    gateway.write(CONFIG, main=MAIN)
    yield gateway
    # One that was told to stop may be removing it.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if pid := (gateway.prefix / "logs/nginx.pid").read_text():
            os.kill(int(pid), 9)


def test_version_and_usage() -> None:
    result = run(["-v"])
    version = f"nginx version: qanat/{qanat.__version__}\n"
    assert (result.returncode, result.stdout, result.stderr) == (0, "", version)
    result = run(["-V"])
    assert result.stderr.startswith(version)
    assert "configure arguments: --with-stream" in result.stderr
    result = run(["-h"])
    assert (result.returncode, result.stdout) == (0, "")
    assert "-s signal" in result.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-x"], 'invalid option: "x"'),
        (["-t", "more"], 'invalid option: "more"'),
        (["-s", "restart"], 'invalid option: "-s restart"'),
        (["-c"], 'option "-c" requires file name'),
    ],
)
def test_a_wrong_flag(flags: list[str], message: str) -> None:
    result = run(flags)
    assert (result.returncode, result.stderr) == (1, f"nginx: {message}\n")


def test_a_good_configuration_is_tested(site: Gateway) -> None:
    conf = site.prefix / "conf/qanat.conf"
    good = (
        f"nginx: the configuration file {conf} syntax is ok\n"
        f"nginx: configuration file {conf} test is successful\n"
    )
    assert nginx(site, "-t") == (0, "", good)
    assert nginx(site, "-tq") == (0, "", "")
    with socket.create_server(("127.0.0.1", site.port("front"))):
        assert nginx(site, "-t") == (0, "", good)


def test_a_wrong_configuration_is_tested(site: Gateway) -> None:
    site.write(WRONG, main=MAIN)
    conf = site.prefix / "conf/qanat.conf"
    status, _, errors = nginx(site, "-tq")
    assert status == 1
    first, *_, last = errors.splitlines()
    assert first.startswith('nginx: [emerg] unknown directive "retrun"')
    assert f" in {conf}:5" in first
    assert last == f"nginx: configuration file {conf} test failed"


def test_the_configuration_is_printed_with_what_it_includes(site: Gateway) -> None:
    conf, servers = site.prefix / "conf/qanat.conf", site.prefix / "conf/servers"
    servers.mkdir()
    for name in ("a", "b"):
        text = f'server {{ listen 127.0.0.1:{site.ports[name]}; return "{name}"; }} # kept\n'
        (servers / f"{name}.conf").write_text(text)
    status, printed, _ = nginx(site, "-T")
    files = [conf, servers / "a.conf", servers / "b.conf"]
    assert status == 0
    assert printed == "".join(
        f"# configuration file {file}:\n{file.read_text()}\n" for file in files
    )


def test_directives_before_the_file(site: Gateway) -> None:
    status, _, errors = nginx(site, "-t", "-g", "pid other.pid;")
    assert status == 1
    assert '"pid" directive is duplicate' in errors
    status, _, errors = nginx(site, "-t", "-g", "nothing on;")
    assert status == 1
    assert 'unknown directive "nothing"' in errors
    assert "in command line" in errors
    assert nginx(site, "-tq", "-g", "worker_rlimit_nofile 1024;")[0] == 0


def test_the_life_of_a_daemon(site: Gateway) -> None:
    pid = site.prefix / "logs/nginx.pid"
    assert nginx(site) == (0, "", "")
    number = int(pid.read_text())
    assert number != os.getpid()
    assert ask(site.port("front")) == b"hello"

    site.write(CONFIG.replace("hello", "changed"), main=MAIN)
    assert nginx(site, "-s", "reload") == (0, "", "")
    until(lambda: ask(site.port("front")) == b"changed", "the reload")
    assert int(pid.read_text()) == number

    (site.prefix / "logs/error.log").rename(site.prefix / "logs/error.log.1")
    assert nginx(site, "-s", "reopen")[0] == 0
    until((site.prefix / "logs/error.log").exists, "the new log")

    assert nginx(site, "-s", "quit")[0] == 0
    until(lambda: not pid.exists(), "the end")
    with pytest.raises(ConnectionRefusedError):
        ask(site.port("front"))
    status, _, errors = nginx(site, "-s", "stop")
    assert status == 1
    assert errors == f'nginx: [error] open() "{pid}" failed (2: No such file or directory)\n'


def test_a_failed_start_is_seen_by_who_started_it(site: Gateway) -> None:
    where = f"127.0.0.1:{site.port('front')}"
    with socket.create_server(("127.0.0.1", site.port("front"))):
        status, _, errors = nginx(site)
    assert status == 1
    assert f"nginx: [emerg] bind() to {where} failed (98: Address already in use)" in errors
    assert not (site.prefix / "logs/nginx.pid").exists()


def test_a_second_start_says_what_the_first_one_has(site: Gateway) -> None:
    assert nginx(site)[0] == 0
    status, _, errors = nginx(site)
    where = f"127.0.0.1:{site.port('front')}"
    assert status == 1
    assert f"nginx: [emerg] bind() to {where} failed (98: Address already in use)" in errors
    assert "is in use by another gateway" in errors
    assert nginx(site, "-s", "stop")[0] == 0


def test_a_start_log_of_its_own(site: Gateway) -> None:
    site.write(WRONG, main=MAIN)
    assert nginx(site, "-e", "logs/start.log")[0] == 1
    line = (site.prefix / "logs/start.log").read_text()
    assert "[emerg] " in line
    assert 'unknown directive "retrun"' in line


def test_run_serves_in_front_and_says_where(site: Gateway) -> None:
    site.start_with_api()
    assert ask(site.port("front")) == b"hello"
    site.stop()
    assert not (site.prefix / "logs/nginx.pid").exists()


def test_run_refuses_what_it_cannot_serve(site: Gateway) -> None:
    site.write(WRONG, main=MAIN)
    with pytest.raises(StartError, match=r'qanat: \[emerg\] unknown directive "retrun"'):
        site.start()
    site.expected_alarms.append("retrun")
    assert run(["run", "-c", str(site.prefix / "missing.conf")]).returncode == 1


def test_check(site: Gateway, tmp_path: Path) -> None:
    conf = site.prefix / "conf/qanat.conf"
    result = run(["check", str(conf)])
    assert result.returncode == 0
    assert result.stdout == f"{conf}: ok (1 listener, 1 virtual server, 0 upstreams)\n"
    site.write(WRONG, main=MAIN)
    result = run(["check", "-p", str(tmp_path), "conf/qanat.conf"])
    assert result.returncode == 1
    assert result.stdout == f"{conf}: 1 problem\n"
    assert run(["check", str(tmp_path / "missing.conf")]).returncode == 1


def test_help_of_the_commands() -> None:
    result = run(["--help"])
    assert result.returncode == 0
    assert {"run", "check", "demo", "ctl"} <= set(result.stdout.split())
    assert run(["--version"]).stdout == f"qanat {qanat.__version__}\n"
    assert run(["no-such-command"]).returncode == 2
