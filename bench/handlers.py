"""Measure what handlers in Python cost: its CPU per connection, beside the plain relay.

One gateway, one worker, pinned to one CPU with its Python thread; the load and the servers on the
other. Rounds are interleaved.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.gateways import Ports, Running, free_port, launch
from bench.run import LOAD, LOAD_CPU, start_servers

MODULE = """
import json
import struct

from qanat.handlers import ConsistentHash, FrameFormat

ring = ConsistentHash(PEERS)
[peer, *_] = ring.peers
header = struct.Struct(">ccHH")
names = ("type", "version", "wait", "length")
login_frame = FrameFormat(">ccHH", names, length="length", body="json")


def nothing(session):
    pass


def only(session):
    return peer


async def login(session):
    _, _, _, length = header.unpack(await session.peek(6))
    session.ctx.devid = json.loads((await session.peek(6 + length))[6:])["devid"]


async def framed(session):
    session.ctx.devid = (await session.peek_frame(login_frame)).body["devid"]


async def look(session):
    await session.peek(6)


def echoing(session):
    return ECHO


def by_device(session):
    return ring.pick(session.ctx.devid)


def by_frame(session):
    return ring.pick(session.frame.body["devid"])
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A server of the gateway, and what it is to cost at most, in plain relays."""

    name: str
    server: str
    load: str = "connections"
    aim: float = 1.25


FRAME = 'frame { header ">ccHH" type version wait length; length length; body json; }'

ROWS = (
    Row("plain relay", "proxy_pass 127.0.0.1:@peer;", aim=1.0),
    Row("plain relay of logins", "proxy_pass 127.0.0.1:@peer;", "logins", 1.0),
    Row(
        "trivial preread",
        "preread_by_python app:nothing; proxy_pass 127.0.0.1:@peer;",
    ),
    Row(
        "trivial preread and balance",
        "preread_by_python app:nothing; proxy_pass one;",
    ),
    Row(
        "peek 6 bytes, JSON, consistent hash",
        "preread_by_python app:login; proxy_pass devices;",
        "logins",
    ),
    Row(
        "the frame in one call, consistent hash",
        "preread_by_python app:framed; proxy_pass devices;",
        "logins",
    ),
    Row("frame, consistent hash in Python", f"{FRAME} proxy_pass placed;", "logins"),
    Row(
        "the same by frame and hash, without Python",
        f"{FRAME} proxy_pass framed;",
        "logins",
        1.05,
    ),
    Row("plain relay, a round trip", "proxy_pass 127.0.0.1:@echo;", "requests", 1.0),
    Row(
        "a round trip after preread and balance",
        "preread_by_python app:look; proxy_pass echoing;",
        "requests",
        1.05,
    ),
)


def main() -> None:
    """Measure all rows and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.handlers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--append", type=Path, help="add the table to this file")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qanat-bench-")))
        peers = start_servers(stack)
        ports = [free_port() for _ in ROWS]
        gateway = start(folder, ports, peers)
        stack.callback(gateway.stop)
        values: list[list[float]] = [[] for _ in ROWS]
        for _ in range(given.rounds):
            for row, port, found in zip(ROWS, ports, values, strict=True):
                found.append(cost(gateway, row, port, given.seconds, given.connections))
    table = report(values)
    print(table)
    if given.append:
        with given.append.open("a") as results:
            results.write(f"\n## Handlers\n\n{table}\n")


def report(values: list[list[float]]) -> str:
    """The table: medians, and medians of the quotients with the plain relay of the same round."""
    lines = [
        "| handlers | µs of CPU per connection, or round trip | × plain relay | at most |",
        "|---|---|---|---|",
    ]
    bases: dict[str, list[float]] = {}
    for row, found in zip(ROWS, values, strict=True):
        # The first row of a load is the plain relay of it.
        base = bases.setdefault(row.load, found)
        times = statistics.median(a / b for a, b in zip(found, base, strict=True))
        median = statistics.median(found)
        lines.append(f"| {row.name} | {median:.1f} | {times:.2f} | {row.aim:.2f} |")
    return "\n".join(lines)


def start(folder: Path, ports: list[int], peers: dict[str, int]) -> Running:
    """Start the gateway with a server for each row."""
    peer, echo = peers["close"], peers["echo"]
    known = f"PEERS = ['127.0.0.1:{peer}']\nECHO = '127.0.0.1:{echo}'\n"
    (folder / "app.py").write_text(known + MODULE)
    lines = (
        f"server {{ listen 127.0.0.1:{port}; {row.server} }}"
        for row, port in zip(ROWS, ports, strict=True)
    )
    servers = "\n".join(lines).replace("@peer", str(peer)).replace("@echo", str(echo))
    (folder / "qanat.conf").write_text(
        f"""
worker_processes 1; daemon off; pid {folder}/qanat.pid; state_dir {folder}/state;
error_log {folder}/qanat.log crit;
events {{ worker_connections 50000; }}
stream {{
    python_path {folder};
    upstream one {{ balance_by_python app:only; }}
    upstream placed {{ balance_by_python app:by_frame; }}
    upstream framed {{ hash $frame_json_devid consistent; server 127.0.0.1:{peer}; }}
    upstream devices {{ balance_by_python app:by_device; }}
    upstream echoing {{ balance_by_python app:echoing; }}
    {servers}
}}
"""
    )
    binary = str(Path(sys.executable).parent / "qanat")
    command = [binary, "-p", str(folder), "-c", str(folder / "qanat.conf")]
    return launch("qanat", "", command, Ports(ports[0], *([0] * 11)))


def cost(gateway: Running, row: Row, port: int, seconds: float, connections: int) -> float:
    """Microseconds of CPU of all threads of the gateway per connection, or per round trip."""
    pinned = ["taskset", "-c", str(LOAD_CPU), str(LOAD), row.load, f"127.0.0.1:{port}"]
    before = gateway.cpu_seconds()
    done = subprocess.run(
        [*pinned, str(seconds), str(connections)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: {row.name}: {done.stderr.strip()}")
    return (gateway.cpu_seconds() - before) / int(done.stdout) * 1e6


if __name__ == "__main__":
    main()
