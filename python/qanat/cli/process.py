"""The process around the gateway: descriptors, user, background, pid file, signals."""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import pwd
import resource
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qanat.cli.messages import system_error

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SIGNALS = {
    "stop": signal.SIGTERM,
    "quit": signal.SIGQUIT,
    "reopen": signal.SIGUSR1,
    "reload": signal.SIGHUP,
}

# linux/prctl.h, linux/capability.h
_PR_SET_KEEPCAPS = 8
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_NET_BIND_SERVICE = 10
_CAP_NET_ADMIN = 12


class ProcessError(Exception):
    """The process cannot be set up as the configuration wants it."""


def raise_descriptor_limit(wanted: int | None) -> None:
    """Raise the limit of open files to `wanted`, or as far as it goes. Raise `ProcessError`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = hard if wanted is None else wanted
    if wanted is None and soft >= target:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, max(hard, target)))
    except (ValueError, OSError) as error:
        raise ProcessError(f"setrlimit(RLIMIT_NOFILE, {target}) failed: {error}") from error


@dataclass(frozen=True, slots=True)
class Identity:
    """The user that the process is to become."""

    name: str
    uid: int
    gid: int


def find_identity(user: str | None, group: str | None) -> Identity | None:
    """Look the user of a configuration up; `None` if nothing changes. Raise `ProcessError`."""
    if user is None or os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise ProcessError(f'getpwnam("{user}") failed') from error
    try:
        gid = entry.pw_gid if group is None else grp.getgrnam(group).gr_gid
    except KeyError as error:
        # Without a group the user's name stands for it, which not every system has.
        if group != user:
            raise ProcessError(f'getgrnam("{group}") failed') from error
        gid = entry.pw_gid
    return None if entry.pw_uid == 0 else Identity(user, entry.pw_uid, gid)


def become(identity: Identity, owned: Iterable[Path]) -> None:
    """Change the user and give it `owned`; keep the right to bind low ports and transparently.

    Call it before any thread is started: capabilities belong to threads and are inherited.
    """
    for path in owned:
        with contextlib.suppress(OSError):
            if not path.exists():
                path.touch()
            os.chown(path, identity.uid, identity.gid)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0:
        raise ProcessError(f"prctl(PR_SET_KEEPCAPS) failed: {os.strerror(ctypes.get_errno())}")
    os.initgroups(identity.name, identity.gid)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    kept = 1 << _CAP_NET_BIND_SERVICE | 1 << _CAP_NET_ADMIN
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # effective, permitted, inheritable: the low words of all three, then the high ones.
    data = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    if libc.capset(header, data) != 0:
        raise ProcessError(f"capset() failed: {os.strerror(ctypes.get_errno())}")


class Readiness:
    """The way to tell whoever started this process that it serves."""

    def __init__(self, pipe: int | None = None) -> None:
        self._pipe = pipe

    def ready(self) -> None:
        """Report success and let go of the terminal; without a waiting parent do nothing."""
        if self._pipe is None:
            return
        os.write(self._pipe, b"\0")
        os.close(self._pipe)
        self._pipe = None
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)


def detach() -> Readiness | int:
    """Go to the background. Returns a `Readiness` there, and the exit status in the first process.

    The first process waits until the one in the background is ready or has failed, so that a failed
    start is seen by whoever started it. It must be called before any thread is started.
    """
    reading, writing = os.pipe()
    if os.fork() != 0:
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            status = 0 if pipe.read(1) == b"\0" else 1
        os.wait()
        return status
    os.close(reading)
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    return Readiness(writing)


class PidFile:
    """A pid file, opened while the process may still write there and filled once it serves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_new = not path.exists()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ProcessError(f'open() "{path}" failed {system_error(error)}') from error

    def write(self) -> None:
        """Write the process id."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        self._is_new = True

    def move_to(self, other: PidFile) -> None:
        """Write the other one, remove this one, and be the other from now on."""
        other.write()
        self.remove()
        self.path, self._descriptor, self._is_new = other.path, other._descriptor, True

    def remove(self) -> None:
        """Remove the file, unless it was there before and was never written.

        Where the user that this process became may not remove it, it is left empty: the number in
        it may soon be that of another process.
        """
        if self._is_new:
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        if self._is_new:
            with contextlib.suppress(OSError):
                self.path.unlink()


def send_signal(name: str, pid_file: Path) -> None:
    """Signal the process of a pid file. Raise `ProcessError` with its level, as nginx says it."""
    try:
        text = pid_file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise ProcessError(f'[error] open() "{pid_file}" failed {system_error(error)}') from error
    number = text.strip()
    if not number.isascii() or not number.isdigit() or int(number) == 0:
        raise ProcessError(f'[error] invalid PID number "{number}" in "{pid_file}"')
    try:
        os.kill(int(number), SIGNALS[name])
    except OSError as error:
        wanted = int(SIGNALS[name])
        raise ProcessError(
            f"[alert] kill({number}, {wanted}) failed {system_error(error)}"
        ) from error


def flush_output() -> None:
    """Write out buffered text, so that a fork does not write it twice."""
    sys.stdout.flush()
    sys.stderr.flush()
