"""A gateway in a directory and a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from tests.harness.ports import Ports
from tests.harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = Path(sys.executable).with_name("qanat")
MAIN = "error_log logs/error.log info;\npid logs/qanat.pid;\nevents { }\n"
_ALARM = re.compile(r"\[(?:alert|emerg|crit)\]|Traceback|panicked", re.IGNORECASE)
_READY = "qanat is running"


class StartError(Exception):
    """The gateway ended before it served; the text is what it printed."""


@dataclass
class Gateway:
    """A running gateway, made by `start`. Tests get one from the fixture `gateway`."""

    prefix: Path
    ports: Ports = field(default_factory=Ports)
    conf: Path = Path("conf/qanat.conf")
    expected_alarms: list[str] = field(default_factory=list)
    """Expressions of log lines that would otherwise fail the test."""
    process: subprocess.Popen[bytes] | None = None

    def write(self, text: str, main: str = MAIN, **values: object) -> None:
        """Write the configuration; `@name` stands for a value, or else for a port of that name."""

        def fill(found: re.Match[str]) -> str:
            name = found[1]
            return str(values[name] if name in values else self.ports[name])

        path = self.prefix / self.conf
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.prefix / "logs").mkdir(exist_ok=True)
        path.write_text(main + re.sub(r"@([a-z0-9_]+)", fill, text))

    def start(self, *options: str) -> Gateway:
        """Start it in the foreground, and return when it serves. Raise `StartError`."""
        with (self.prefix / "stderr").open("ab") as errors:
            self.process = subprocess.Popen(
                self.command(*options), stdout=subprocess.PIPE, stderr=errors
            )
        printed = self._read_until_ready(self.process)
        if _READY not in printed:
            status = self.wait()
            raise StartError(f"exit status {status}\n{printed}{self.stderr()}")
        return self

    def command(self, *options: str) -> list[str]:
        """Return the command that runs it in the foreground."""
        return [str(COMMAND), "run", "-p", str(self.prefix), "-c", str(self.conf), *options]

    def start_with_api(self, *options: str) -> Gateway:
        """As `start`, with a control API on a port of its own."""
        return self.start("--control", f"127.0.0.1:{self.ports['control_api']}", *options)

    def _read_until_ready(self, process: subprocess.Popen[bytes]) -> str:
        stdout = process.stdout
        assert stdout is not None
        printed = b""
        while _READY.encode() not in printed or not printed.endswith(b"\n"):
            if not select.select([stdout], [], [], 2 * PATIENCE)[0]:
                process.kill()
                raise TimeoutError(f"the gateway is silent: {printed!r} {self.stderr()}")
            if not (block := os.read(stdout.fileno(), 65536)):
                break
            printed += block
        return printed.decode()

    def port(self, name: str) -> int:
        """Return the port that `@name` stands for."""
        return self.ports[name]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        """Wait for the end of the process; return its exit status."""
        assert self.process is not None
        status = self.process.wait(patience)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return status

    def stop(self) -> None:
        """End it with SIGTERM, and expect a clean exit."""
        if self.process is not None:
            self.signal(signal.SIGTERM)
            status = self.wait()
            assert status == 0, f"exit status {status}\n{self.stderr()}"

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.wait()

    def close(self) -> None:
        """Stop it whatever its state, and fail on alarms in its logs."""
        try:
            self.stop()
        finally:
            self.kill()
            self.ports.close()
        assert not self.alarms()

    def stderr(self) -> str:
        """Return what it has printed to stderr."""
        return self._read("stderr")

    def error_log(self) -> str:
        """Return the error log as it is now."""
        return self._read("logs/error.log")

    def wait_for_log(self, pattern: str) -> str:
        """Wait for a line of the error log that matches, and return it."""

        def find() -> str | None:
            found = re.search(f"^.*(?:{pattern}).*$", self.error_log(), re.MULTILINE)
            return found[0] if found else None

        return until(find, f"{pattern!r} in the error log")

    def log_lines(self, count: int, name: str = "access.log") -> list[str]:
        """Wait for `count` lines of a log, and return all of them."""

        def read() -> list[str]:
            return self._read(f"logs/{name}").splitlines()

        until(lambda: len(read()) >= count, f"{count} lines in {name}")
        return read()

    def alarms(self) -> list[str]:
        """Return log lines that a healthy gateway does not write."""
        lines = (self.error_log() + self.stderr()).splitlines()
        expected = [re.compile(text) for text in self.expected_alarms]
        alarms = (line for line in lines if _ALARM.search(line))
        return [line for line in alarms if not any(text.search(line) for text in expected)]

    def api(self, port: int | None = None) -> httpx.Client:
        """Return a client of the control API."""
        port = self.ports["control_api"] if port is None else port
        return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)

    def _read(self, name: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.prefix / name).read_text(errors="replace")
        return ""


def run(arguments: Sequence[str], patience: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, timeout=patience, check=False
    )
