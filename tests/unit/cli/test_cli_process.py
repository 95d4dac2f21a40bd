"""The process around the gateway: pid file, background, limits, user."""

from __future__ import annotations

import os
import pwd
import resource
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from qanat.cli.process import (
    PidFile,
    ProcessError,
    find_identity,
    raise_descriptor_limit,
    send_signal,
)

if TYPE_CHECKING:
    from pathlib import Path

IN_BACKGROUND = """
import os, sys
from qanat.cli.process import detach
ready = detach()
if isinstance(ready, int):
    sys.exit(ready)
if sys.argv[2] == "fails":
    print("it fails", file=sys.stderr, flush=True)
    os._exit(1)
with open(sys.argv[1], "w") as file:
    file.write(f"{os.getpid()} {os.getsid(0)} {os.getppid()}")
ready.ready()
print("nobody reads this")
"""


def in_background(file: Path, outcome: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", IN_BACKGROUND, str(file), outcome]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_the_first_process_ends_well_once_the_one_in_the_background_is_ready(
    tmp_path: Path,
) -> None:
    done = in_background(tmp_path / "who", "serves")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid, session, _ = (tmp_path / "who").read_text().split()
    # A session of its own, which it does not lead: it can never get a terminal.
    assert session not in {pid, str(os.getsid(0))}


def test_the_first_process_fails_if_the_one_in_the_background_does(tmp_path: Path) -> None:
    done = in_background(tmp_path / "who", "fails")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "it fails\n")


def test_a_pid_file_is_written_and_removed(tmp_path: Path) -> None:
    pid_file = PidFile(tmp_path / "logs" / "q.pid")
    pid_file.write()
    assert pid_file.path.read_text() == f"{os.getpid()}\n"
    pid_file.remove()
    assert not pid_file.path.exists()


def test_a_pid_file_that_may_not_be_removed_is_left_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = PidFile(tmp_path / "q.pid")
    pid_file.write()

    def refuse(_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(type(pid_file.path), "unlink", refuse)
    pid_file.remove()
    assert pid_file.path.read_text() == ""
    with pytest.raises(ProcessError, match='invalid PID number ""'):
        send_signal("stop", pid_file.path)


def test_a_failed_start_leaves_the_pid_file_of_another_alone(tmp_path: Path) -> None:
    path = tmp_path / "q.pid"
    path.write_text("1\n")
    PidFile(path).remove()
    assert path.read_text() == "1\n"


def test_a_pid_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProcessError) as caught:
        PidFile(tmp_path)
    assert str(caught.value) == f'open() "{tmp_path}" failed (21: Is a directory)'


def test_a_signal_to_a_process_that_is_gone_is_an_alert(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "q.pid").write_text(f"{gone.pid}\n")
    with pytest.raises(ProcessError) as caught:
        send_signal("quit", tmp_path / "q.pid")
    assert str(caught.value) == f"[alert] kill({gone.pid}, 3) failed (3: No such process)"


def test_the_limit_of_descriptors_is_raised_as_far_as_it_goes() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        raise_descriptor_limit(None)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
        raise_descriptor_limit(512)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_root_that_stays_root_changes_nothing() -> None:
    assert find_identity(None, None) is None
    assert find_identity("root", "root") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user")
def test_an_unknown_user_is_an_error() -> None:
    with pytest.raises(ProcessError) as caught:
        find_identity("no such user", None)
    assert str(caught.value) == 'getpwnam("no such user") failed'
    with pytest.raises(ProcessError) as caught:
        find_identity("nobody", "no such group")
    assert str(caught.value) == 'getgrnam("no such group") failed'


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user")
def test_the_group_is_the_one_of_the_user_unless_it_is_named() -> None:
    identity = find_identity("nobody", "nobody")
    assert identity is not None
    assert identity.gid == pwd.getpwnam("nobody").pw_gid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user")
def test_another_user_keeps_the_right_to_low_ports() -> None:
    script = """
import os, pathlib, socket, sys, threading
from qanat.cli.process import become, find_identity
log = pathlib.Path(sys.argv[1])
become(find_identity("nobody", None), [log])
log.write_text("mine")
def low():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
    status = pathlib.Path("/proc/thread-self/status").read_text()
    print(os.getuid() != 0, [line.split()[1] for line in status.splitlines() if "CapEff" in line])
thread = threading.Thread(target=low)
thread.start()
thread.join()
"""
    # pytest's own directories are closed to others.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # noqa: PTH101 - a text, not a path
        command = [sys.executable, "-c", script, f"{directory}/log"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.stderr) == ("True ['0000000000001400']\n", "")
