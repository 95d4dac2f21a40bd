"""Measure what a handler that blocks the thread of all handlers does to sessions without handlers.

The 99th percentile of a request and its answer over one connection of a plain server, in rounds
with and without a handler of the same gateway that blocks for as long. It blocks as a call of a
database does, without using the CPU: how CPUs are shared is the system's affair.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.gateways import Ports, free_port, launch
from bench.run import start_servers

MOST = 1.1
MESSAGE = bytes(100)
MODULE = """
import time
from pathlib import Path


def stuck(session):
    Path(BEGUN).touch()
    time.sleep(SECONDS)
"""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the plain server and the one with the handler listen, and what the handler touches."""

    plain: int
    stuck: int
    begun: Path


def main() -> None:
    """Measure, and print a line of a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.stuck", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--append", type=Path, help="add the table to this file")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qanat-bench-")))
        site = start(stack, folder, given.seconds)
        rounds = [
            (p99(site, given.seconds), stuck_p99(site, given.seconds)) for _ in range(given.rounds)
        ]
    table = report(rounds)
    print(table)
    if given.append:
        with given.append.open("a") as results:
            results.write(f"\n{table}\n")


def report(rounds: list[tuple[float, float]]) -> str:
    """Say the medians, and the median of the quotients."""
    free, blocked = (statistics.median(column) * 1e6 for column in zip(*rounds, strict=True))
    times = statistics.median(with_it / without for without, with_it in rounds)
    return (
        "| 99th percentile of a request | without | with a stuck handler | × | at most |\n"
        f"|---|---|---|---|---|\n| plain relay | {free:.0f} µs | {blocked:.0f} µs "
        f"| {times:.2f} | {MOST:.2f} |"
    )


def start(stack: ExitStack, folder: Path, seconds: float) -> Site:
    """Start the gateway with a plain server and one with a handler that blocks."""
    site = Site(free_port(), free_port(), folder / "begun")
    echo = start_servers(stack)["echo"]
    text = f"BEGUN = {str(site.begun)!r}\nSECONDS = {1.5 * seconds}\n{MODULE}"
    (folder / "app.py").write_text(text)
    (folder / "qanat.conf").write_text(
        f"""
worker_processes 1; daemon off; pid {folder}/qanat.pid; state_dir {folder}/state;
error_log {folder}/qanat.log crit;
events {{ worker_connections 1000; }}
stream {{
    python_path {folder};
    server {{ listen 127.0.0.1:{site.plain}; proxy_pass 127.0.0.1:{echo}; }}
    server {{ listen 127.0.0.1:{site.stuck}; preread_by_python app:stuck; return ""; }}
}}
"""
    )
    binary = str(Path(sys.executable).parent / "qanat")
    command = [binary, "-p", str(folder), "-c", str(folder / "qanat.conf")]
    gateway = launch("qanat", "", command, Ports(site.plain, *([0] * 11)))
    stack.callback(gateway.stop)
    return site


def stuck_p99(site: Site, seconds: float) -> float:
    """The 99th percentile while the handler blocks; return when it is over."""
    site.begun.unlink(missing_ok=True)
    with socket.create_connection(("127.0.0.1", site.stuck), 10) as victim:
        deadline = time.monotonic() + 10
        while not site.begun.exists():
            if time.monotonic() > deadline:
                raise SystemExit("bench: the handler was not called")
            time.sleep(0.001)
        found = p99(site, seconds)
        victim.settimeout(10)
        victim.recv(1)
    return found


def p99(site: Site, seconds: float) -> float:
    """The 99th percentile of a request and its answer, in seconds."""
    times: list[float] = []
    with socket.create_connection(("127.0.0.1", site.plain), 10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            client.sendall(MESSAGE)
            left = len(MESSAGE)
            while left:
                left -= len(client.recv(left)) or left
            times.append(time.perf_counter() - begun)
    return statistics.quantiles(times, n=100)[98]


if __name__ == "__main__":
    main()
