"""Measure a line echo by a content handler beside one by asyncio's streams on uvloop.

Each has one process, pinned to one CPU with all its threads; the load is on the other: 64
connections, lines of 65 bytes, one in flight each. Rounds are interleaved.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import uvloop

from bench.gateways import Ports, Running, free_port, launch
from bench.run import LOAD, LOAD_CPU

MODULE = """
async def echo(session):
    reader, writer = session.reader, session.writer
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
"""
AIM = 1.5


def main() -> None:
    """Measure both and print a table, or serve."""
    parser = argparse.ArgumentParser(prog="python -m bench.content", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--append", type=Path, help="add the table to this file")
    parser.add_argument("--serve", type=int, metavar="PORT", help="be the echo on uvloop")
    given = parser.parse_args()
    if given.serve:
        uvloop.run(serve(given.serve))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qanat-bench-")))
        servers = [start_uvloop(free_port()), start_qanat(folder, free_port())]
        for server in servers:
            stack.callback(server.stop)
        found: list[list[tuple[float, float]]] = [[] for _ in servers]
        for _ in range(given.rounds):
            for server, results in zip(servers, found, strict=True):
                results.append(measure(server, given.seconds, given.connections))
    table = report([server.name for server in servers], found)
    print(table)
    if given.append:
        with given.append.open("a") as results_file:
            results_file.write(f"\n{table}\n")


def report(names: list[str], found: list[list[tuple[float, float]]]) -> str:
    """The table: medians, and medians of the quotients of one round."""
    lines = ["| line echo | lines per second | µs of CPU per line |", "|---|---|---|"]
    for name, results in zip(names, found, strict=True):
        rate, cost = (statistics.median(values) for values in zip(*results, strict=True))
        lines.append(f"| {name} | {rate:,.0f} | {cost:.2f} |")
    pairs = [*zip(*found, strict=True)]
    rates = statistics.median(ours[0] / theirs[0] for theirs, ours in pairs)
    costs = statistics.median(theirs[1] / ours[1] for theirs, ours in pairs)
    lines.append(f"| qanat × uvloop (at least 1, aim {AIM}) | {rates:.2f} | {costs:.2f} |")
    return "\n".join(lines)


async def serve(port: int) -> None:
    """Echo lines with asyncio's streams."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


def start_uvloop(port: int) -> Running:
    """Start this program as the echo on uvloop."""
    command = [sys.executable, "-m", "bench.content", "--serve", str(port)]
    return launch("asyncio streams on uvloop", "", command, echo_on(port))


def start_qanat(folder: Path, port: int) -> Running:
    """Start a gateway whose content is an echo."""
    (folder / "app.py").write_text(MODULE)
    (folder / "qanat.conf").write_text(
        f"""
worker_processes 1; daemon off; pid {folder}/qanat.pid; state_dir {folder}/state;
error_log {folder}/qanat.log crit;
events {{ worker_connections 50000; }}
stream {{
    python_path {folder};
    server {{ listen 127.0.0.1:{port}; content_by_python app:echo; }}
}}
"""
    )
    binary = str(Path(sys.executable).parent / "qanat")
    command = [binary, "-p", str(folder), "-c", str(folder / "qanat.conf")]
    return launch("qanat content handler", "", command, echo_on(port))


def echo_on(port: int) -> Ports:
    """Name the one port that is used."""
    return Ports(port, *([0] * 11))


def measure(server: Running, seconds: float, connections: int) -> tuple[float, float]:
    """Lines per second, and microseconds of CPU of all threads per line."""
    address = f"127.0.0.1:{server.ports.echo}"
    command = ["taskset", "-c", str(LOAD_CPU), str(LOAD), "lines", address]
    before = server.cpu_seconds()
    done = subprocess.run(
        [*command, str(seconds), str(connections)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: {server.name}: {done.stderr.strip()}")
    lines = int(done.stdout)
    return lines / seconds, (server.cpu_seconds() - before) / lines * 1e6


if __name__ == "__main__":
    main()
