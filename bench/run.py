"""Measure Qanat beside nginx and haproxy: CPU time of the gateway per unit of work, as ratios.

Every gateway has one worker, pinned to one CPU; the load and its servers share the other. Rounds
are interleaved (gateway by gateway, round by round) so that drift of the machine meets all of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import statistics
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.gateways import ROOT, STARTERS, Ports, Running, free_port
from bench.tunnel_figures import section

LOAD_CPU = 1
LOAD = ROOT / "target/release/qanat-load"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of work."""

    name: str
    unit: str
    load: str
    port: str
    connections: int
    tls: bool = False
    aim: float = 1.0


ROWS = (
    Row("TCP request/response", "round trip", "requests", "echo", 64, aim=0.89),
    Row("TCP connections", "connection", "connections", "close", 32, aim=0.95),
    Row("TCP bulk", "MiB", "bulk", "bulk", 4, aim=0.75),
    Row("TLS request/response", "round trip", "requests", "tls_echo", 64, tls=True),
    Row("TLS connections", "full handshake", "connections", "tls_close", 16, tls=True, aim=0.6),
    Row("TLS bulk", "MiB", "bulk", "tls_bulk", 4, tls=True),
    Row("UDP request/response", "round trip", "udp-requests", "udp", 64, aim=0.8),
    Row("UDP new sessions", "session", "udp-sessions", "udp_once", 32, aim=0.8),
)
IDLE = Row("Idle connection, memory", "byte", "idle", "echo", 2000, aim=0.33)
IDLE_TLS = Row("Idle TLS connection, memory", "byte", "idle", "tls_echo", 1000, tls=True, aim=1.0)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line chose."""

    seconds: float
    rounds: int
    gateways: list[str]
    rows: str
    out: Path | None


@dataclass(frozen=True, slots=True)
class Site:
    """What all gateways stand on: a folder, a certificate, and servers behind by kind."""

    folder: Path
    certificate: Path
    servers: dict[str, int]

    def start(self, name: str) -> Running:
        """Start a gateway on fresh ports."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        return STARTERS[name](make_ports(self.servers), folder, self.certificate)

    def idle_bytes(self, row: Row, name: str) -> float:
        """Bytes per connection that has exchanged one message and is silent, in a fresh gateway."""
        gateway = self.start(name)
        try:
            before = gateway.memory_bytes()
            command = load_command(row, gateway, 600)
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                if process.stdout is None:
                    raise SystemExit("bench: no output of the load")
                held = int(process.stdout.readline())
                after = gateway.memory_bytes()
                process.kill()
            return (after - before) / held
        finally:
            gateway.stop()


def main() -> None:
    """Run all rows and write the table."""
    options = parse_arguments()
    rows = [row for row in (*ROWS, IDLE, IDLE_TLS) if options.rows.lower() in row.name.lower()]
    results: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qanat-bench-")))
        site = Site(folder, make_certificate(folder), start_servers(stack))
        gateways = {name: site.start(name) for name in options.gateways}
        for running in gateways.values():
            stack.callback(running.stop)
        for row in rows:
            if row.load == "idle":
                results[row.name] = {name: [site.idle_bytes(row, name)] for name in gateways}
            else:
                results[row.name] = measure(row, gateways, options)
            print(report_line(row, results[row.name]), flush=True)
        table = report(rows, results, gateways, options)
    if options.out:
        # `bench/tunnel.py` measures tunnels at another time.
        kept = section(options.out.read_text()) if options.out.exists() else ""
        options.out.write_text(table + kept)
        print(f"bench: written to {options.out}")


def parse_arguments() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each cell; odd")
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--gateways", nargs="+", default=list(STARTERS), choices=list(STARTERS))
    parser.add_argument("--out", type=Path, help="write the table to this file")
    given = parser.parse_args()
    return Options(given.seconds, given.rounds, given.gateways, given.rows, given.out)


def make_certificate(folder: Path) -> Path:
    """A P-256 certificate with its key in one file, as haproxy wants it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench.test")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bench.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = built.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "bench.pem"
    path.write_bytes(pem)
    return path


def start_servers(stack: ExitStack) -> dict[str, int]:
    """Start the servers behind the gateways; their ports by kind."""
    ports = {}
    for kind in ("echo", "close", "bulk", "udp"):
        port = free_port(socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        command = [str(LOAD), "server", kind, f"127.0.0.1:{port}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        os.sched_setaffinity(process.pid, {LOAD_CPU})
        stack.callback(process.wait)
        stack.callback(process.kill)
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise SystemExit(f"bench: the {kind} server did not start")
        ports[kind] = port
    return ports


def make_ports(servers: dict[str, int]) -> Ports:
    """Fresh ports for one gateway."""
    return Ports(
        echo=free_port(),
        close=free_port(),
        bulk=free_port(),
        tls_echo=free_port(),
        tls_close=free_port(),
        tls_bulk=free_port(),
        udp=free_port(socket.SOCK_DGRAM),
        udp_once=free_port(socket.SOCK_DGRAM),
        echo_server=servers["echo"],
        close_server=servers["close"],
        bulk_server=servers["bulk"],
        udp_server=servers["udp"],
    )


def measure(row: Row, gateways: dict[str, Running], options: Options) -> dict[str, list[float]]:
    """Measure one row: microseconds of CPU per unit, a value a round."""
    values: dict[str, list[float]] = {}
    udp = row.load.startswith("udp")
    able = [gateway for gateway in gateways.values() if not (udp and gateway.name == "haproxy")]
    for _ in range(options.rounds):
        for gateway in able:
            values.setdefault(gateway.name, []).append(cpu_per_unit(row, gateway, options))
    return values


def load_command(row: Row, gateway: Running, seconds: float) -> list[str]:
    """The command line of the load."""
    address = f"127.0.0.1:{getattr(gateway.ports, row.port)}"
    pinned = ["taskset", "-c", str(LOAD_CPU), str(LOAD), row.load, address]
    return [*pinned, str(seconds), str(row.connections), *(["tls"] if row.tls else [])]


def cpu_per_unit(row: Row, gateway: Running, options: Options) -> float:
    """Microseconds of the gateway's CPU per unit of work."""
    before = gateway.cpu_seconds()
    command = load_command(row, gateway, options.seconds)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: {row.name} with {gateway.name}: {done.stderr.strip()}")
    units = int(done.stdout)
    return (gateway.cpu_seconds() - before) / units * 1e6


def ratio(values: dict[str, list[float]], name: str) -> float | None:
    """Median over the rounds of the quotient with nginx in the same round."""
    if name not in values or "nginx" not in values:
        return None
    return statistics.median(a / b for a, b in zip(values[name], values["nginx"], strict=True))


def cell(row: Row, values: dict[str, list[float]], name: str) -> str:
    """A gateway's cell: median and ratio."""
    if name not in values:
        return "–"
    median = statistics.median(values[name])
    shown = f"{median:.0f} B" if row.load == "idle" else f"{median:.2f} µs"
    against = ratio(values, name)
    return shown if against is None or name == "nginx" else f"{shown} ({against:.2f} ×)"


def report_line(row: Row, values: dict[str, list[float]]) -> str:
    """A row of the table."""
    cells = " | ".join(cell(row, values, name) for name in STARTERS)
    return f"| {row.name} | {row.unit} | {cells} | {row.aim:.2f} |"


def report(
    rows: list[Row],
    results: dict[str, dict[str, list[float]]],
    gateways: dict[str, Running],
    options: Options,
) -> str:
    """The whole table with method and versions."""
    versions = ", ".join(gateway.version for gateway in gateways.values())
    method = (
        "CPU time of the gateway's process per unit of work, one worker, pinned to one CPU; the "
        f"load and the servers on the other. Median of {options.rounds} interleaved rounds of "
        f"{options.seconds:g} s; in brackets the quotient with nginx in the same round. Messages "
        "of 100 bytes; TLS 1.3 with a P-256 certificate. Memory is the growth of Pss per "
        "connection that has exchanged one message, in a fresh gateway."
    )
    head = "| row | unit | " + " | ".join(STARTERS) + " | aim × nginx |\n|---|---|---|---|---|---|"
    lines = "\n".join(report_line(row, results[row.name]) for row in rows)
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}"
    shortfalls = "## What falls short\n\n[findings.md](findings.md) says what profiling showed."
    measured = f"# Measured\n\n{versions} on {machine}.\n\n{method}\n\n{head}\n{lines}\n"
    return f"{measured}\n{shortfalls}\n"


if __name__ == "__main__":
    main()
