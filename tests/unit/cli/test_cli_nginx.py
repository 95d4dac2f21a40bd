"""nginx's command line: flags, words and exit statuses."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

import qanat
from qanat.cli import check
from qanat.cli.nginx import UsageError, main, parse_options
from qanat.config.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path

    from qanat.compiler.plan import ChangeSet

CONF = """\
events {}
pid run.pid;
error_log logs/error.log;
stream { server { listen 127.0.0.1:17070; return a; } }
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prefix with a configuration; the data plane has no objection to anything."""

    def accept(_: ChangeSet) -> None:
        return None

    monkeypatch.setattr(check, "check_plan", accept)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "nginx.conf").write_text(CONF)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("-t", {"test": True}),
        ("-tq", {"test": True, "quiet": True}),
        ("-T", {"test": True, "dump": True}),
        ("-p /a -c b", {"prefix": "/a", "conf": "b"}),
        ("-p/a -cb -tc x", {"prefix": "/a", "conf": "x", "test": True}),
        ("-s reload", {"signal": "reload"}),
        ("-e stderr -gx", {"error_log": "stderr", "global_directives": "x"}),
        ("-vV?", {"version": True, "configure": True, "usage": True}),
    ],
)
def test_flags_are_bundled_and_values_attached_or_apart(
    arguments: str, expected: dict[str, object]
) -> None:
    options = parse_options(arguments.split())
    assert {name: getattr(options, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-x"], 'invalid option: "x"'),
        (["nonsense"], 'invalid option: "nonsense"'),
        (["-s", "restart"], 'invalid option: "-s restart"'),
        (["-c"], 'option "-c" requires file name'),
        (["-p"], 'option "-p" requires directory name'),
        (["-g"], 'option "-g" requires parameter'),
        (["-s"], 'option "-s" requires parameter'),
    ],
)
def test_wrong_flags_are_refused_in_the_words_of_nginx(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_options(arguments)
    assert str(caught.value) == message


def test_a_wrong_flag_ends_with_status_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["-x"]) == 1
    assert capfd.readouterr() == ("", 'nginx: invalid option: "x"\n')


def test_the_version_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["-v"]) == 0
    assert capfd.readouterr() == ("", f"nginx version: qanat/{qanat.__version__}\n")
    assert main(["-V"]) == 0
    assert "configure arguments: --with-stream " in capfd.readouterr().err
    assert main(["-h"]) == 0
    assert "Usage: " in capfd.readouterr().err


def test_a_good_configuration_passes_the_test(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    conf = site / "conf" / "nginx.conf"
    assert main(["-p", str(site), "-t"]) == 0
    assert capfd.readouterr() == (
        "",
        f"nginx: the configuration file {conf} syntax is ok\n"
        f"nginx: configuration file {conf} test is successful\n",
    )
    assert main(["-p", str(site), "-tq"]) == 0
    assert capfd.readouterr() == ("", "")


def test_a_version_asked_for_beside_a_test_precedes_it(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["-p", str(site), "-vtq"]) == 0
    assert capfd.readouterr().err == f"nginx version: qanat/{qanat.__version__}\n"
    assert main(["-p", str(site), "-vt", "-c", "none.conf"]) == 1
    assert "test failed" in capfd.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_user_that_does_not_exist_fails_the_test(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    conf = site / "conf" / "nginx.conf"
    conf.write_text(f"{CONF}user nobody no_such_group;\n")
    assert main(["-p", str(site), "-t"]) == 1
    text = f'nginx: [emerg] getgrnam("no_such_group") failed in {conf}:5\n'
    assert capfd.readouterr().err.startswith(text)


def test_the_configuration_is_dumped_to_standard_output(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["-p", str(site), "-Tq"]) == 0
    conf = site / "conf" / "nginx.conf"
    assert capfd.readouterr() == (f"# configuration file {conf}:\n{CONF}\n", "")


def test_a_bad_configuration_fails_with_every_problem(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    conf = site / "conf" / "nginx.conf"
    conf.write_text("foo;\nbar;\n")
    assert main(["-p", str(site), "-t", "-e", "stderr"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        f'nginx: [emerg] unknown directive "foo" in {conf}:1',
        f'nginx: [emerg] unknown directive "bar" in {conf}:2',
        f"nginx: configuration file {conf} test failed",
    ]


def test_a_test_binds_the_listeners_and_lets_go_of_them(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    conf = site / "conf" / "nginx.conf"
    with (
        socket.create_server(("127.0.0.1", 0)) as held,
        socket.socket(type=socket.SOCK_DGRAM) as held_udp,
    ):
        held_udp.bind(("127.0.0.1", 0))
        listens = (
            f"127.0.0.1:{held.getsockname()[1]}",
            f"127.0.0.1:{held_udp.getsockname()[1]} udp",
            f"unix:{site}/q.sock",
            "192.0.2.1:17070",
            "[2001:db8::1]:17070 udp",
            f"unix:{site}/no/q.sock",
        )
        lines = "".join(f"listen {one};" for one in listens)
        conf.write_text(
            f"events {{}} control unix:{site}/c.sock; stream {{ server {{ {lines} }} }}"
        )
        assert main(["-p", str(site), "-t"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        f"nginx: the configuration file {conf} syntax is ok",
        "nginx: [emerg] bind() to 192.0.2.1:17070 failed (99: Cannot assign requested address)",
        "nginx: [emerg] bind() to [2001:db8::1]:17070 failed (99: Cannot assign requested address)",
        f"nginx: [emerg] bind() to unix:{site}/no/q.sock failed (2: No such file or directory)",
        f"nginx: configuration file {conf} test failed",
    ]
    assert not list(site.glob("*.sock"))


def test_our_own_check_opens_no_socket(site: Path) -> None:
    conf = site / "conf" / "nginx.conf"
    conf.write_text("events {} stream { server { listen 192.0.2.1:17070; return a; } }")
    assert check.run_check(Paths(site, conf)) == 0


def test_problems_are_also_written_to_the_log_of_the_command_line(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["-p", str(site), "-t", "-e", "early.log", "-g", "foo;"]) == 1
    assert 'unknown directive "foo" in command line' in capfd.readouterr().err
    pid = os.getpid()
    line = (site / "early.log").read_text()
    assert line.endswith(f' [emerg] {pid}#{pid}: unknown directive "foo" in command line\n')


def test_a_signal_goes_to_the_process_of_the_pid_file(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))
    try:
        (site / "run.pid").write_text(f"{os.getpid()}\n")
        assert main(["-p", str(site), "-s", "reopen"]) == 0
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert received == [signal.SIGUSR1]
    assert capfd.readouterr() == ("", "")


def test_a_signal_without_a_process_fails(site: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pid = site / "run.pid"
    assert main(["-p", str(site), "-s", "stop"]) == 1
    missing = f'nginx: [error] open() "{pid}" failed (2: No such file or directory)\n'
    assert capfd.readouterr().err == missing
    pid.write_text("no number\n")
    assert main(["-p", str(site), "-s", "stop"]) == 1
    assert capfd.readouterr().err == f'nginx: [error] invalid PID number "no number" in "{pid}"\n'
