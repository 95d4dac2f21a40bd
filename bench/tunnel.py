"""Measure Qanat's tunnels beside rathole and frp: CPU time of both ends per unit of work, speed.

Both ends of each product, the load and the targets share all CPUs. Rounds are interleaved (product
by product, round by round), and quotients are those of one round: drift of the machine and of its
other work meets all of them. `bench/tunnel_install.py` builds the others.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.gateways import free_port
from bench.run import LOAD, make_certificate
from bench.tunnel_figures import Figure, report, report_line, write_section
from bench.tunnel_products import SERVICES, STARTERS, VERSIONS, Product, Site, installed

PATIENCE = 20.0
IDLE_STREAMS = 2000
# The long way: half of a round trip of 100 ms, and what makes it 50 MiB/s.
ONE_WAY_MS = 50
UNDER_WAY = 2621440
WARMING = 4.0


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of work."""

    name: str
    load: str
    service: str
    connections: int
    unit: str
    units: float = 1.0
    """Of what the load counts, so many make one unit."""
    aims: tuple[tuple[str, float], ...] = ()
    """The rate is to be so many times that of another product."""


BULK = (("rathole TLS", 1.0), ("frp", 2.0), ("rathole plain", 0.6))
GIB = float(2**30)
ROWS = (
    Row("bulk, 1 stream, download", "download", "bulk", 1, "GiB", GIB, BULK),
    Row("bulk, 1 stream, upload", "upload", "sink", 1, "GiB", GIB, BULK),
    Row("bulk, 16 streams, download", "download", "bulk", 16, "GiB", GIB, (("rathole TLS", 1.1),)),
    Row("bulk, 16 streams, upload", "upload", "sink", 16, "GiB", GIB, (("rathole TLS", 1.1),)),
    Row(
        "new connections, 1 byte",
        "touches",
        "once",
        32,
        "connection",
        aims=(("rathole TLS", 1.5), ("frp", 2.0)),
    ),
    Row("round trips of 64 bytes", "latency", "mirror", 16, "round trip"),
    Row("UDP, 1200 bytes", "datagrams", "udp", 8, "round trip", aims=(("rathole TLS", 2.0),)),
)
LATENCY, MEMORY, WINDOW = "latency", "memory", "window of 100 ms"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line chose."""

    seconds: float
    rounds: int
    products: list[str]
    rows: str
    append: Path | None


@dataclass(frozen=True, slots=True)
class Ground:
    """What all products stand on."""

    stack: ExitStack
    folder: Path
    certificate: Path
    targets: dict[str, int]

    def start(self, name: str, *, far: bool = False) -> Product:
        """Start both ends, `far` from one another or not, and wait until a byte comes through."""
        folder = Path(tempfile.mkdtemp(prefix="tunnel-", dir=self.folder))
        kinds = {s: socket.SOCK_DGRAM if s == "udp" else socket.SOCK_STREAM for s in SERVICES}
        listening = {service: free_port(kind) for service, kind in kinds.items()}
        tunnel = free_port()
        dialled = self.lengthen(tunnel) if far else tunnel
        site = Site(folder, self.certificate, tunnel, dialled, listening, self.targets)
        product = STARTERS[name](site)
        self.stack.callback(product.stop)
        await_echo(product)
        return product

    def lengthen(self, port: int) -> int:
        """Start a long way to a port and return where it begins."""
        near = free_port()
        command = ["delay", f"127.0.0.1:{near}", f"127.0.0.1:{port}", str(ONE_WAY_MS)]
        start_load(self.stack, [*command, str(UNDER_WAY)])
        return near


def main() -> None:
    """Run all rows and print the table."""
    options = parse_arguments()
    figures: list[Figure] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qanat-bench-")))
        ground = Ground(stack, folder, make_certificate(folder), start_targets(stack))
        products = [ground.start(name) for name in options.products]
        for row in ROWS:
            if options.rows in row.name:
                figures += shown(measure(row, products, options))
        if options.rows in LATENCY:
            figures += shown(measure_latency(products, options))
        for product in products:
            product.stop()
        if options.rows in MEMORY:
            figures += shown(measure_memory(ground, options))
        if options.rows in WINDOW:
            figures += shown(measure_window(ground, options))
    if options.append:
        write_section(options.append, f"{method(options)}\n\n{report(figures)}")
        print(f"bench: added to {options.append}")


def parse_arguments() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.tunnel", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each cell; odd")
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--products", nargs="+", default=installed(), choices=list(STARTERS))
    parser.add_argument("--append", type=Path, help="put the table into this file")
    given = parser.parse_args()
    return Options(given.seconds, given.rounds, given.products, given.rows, given.append)


def shown(figures: list[Figure]) -> list[Figure]:
    """Print figures as soon as they are there."""
    for figure in figures:
        print(report_line(figure), flush=True)
    return figures


def method(options: Options) -> str:
    """Say what was measured and how."""
    versions = ", ".join(VERSIONS[name] for name in options.products if name in VERSIONS)
    load = f"{os.getloadavg()[0]:.1f}"
    return (
        f"Beside {versions}; {platform.machine()}, {os.cpu_count()} CPUs, Linux "
        f"{platform.release()}, load {load} at the end. Both ends of each tunnel, the load and "
        f"the targets share the CPUs. Medians of {options.rounds} interleaved rounds of "
        f"{options.seconds:g} s. CPU is that of all threads of both ends per unit of work. "
        "Quotients are medians of those of one round. Qanat: two gateways, two workers and two "
        "carriers; rathole with TLS and without, frp as it comes (TLS, streams of one connection)."
    )


def start_targets(stack: ExitStack) -> dict[str, int]:
    """Start what stands behind the tunnels; ports by service."""
    ports = {}
    for service in SERVICES:
        kind = socket.SOCK_DGRAM if service == "udp" else socket.SOCK_STREAM
        ports[service] = free_port(kind)
        start_load(stack, ["server", service, f"127.0.0.1:{ports[service]}"])
    return ports


def start_load(stack: ExitStack, arguments: list[str]) -> None:
    """Start a part of the load that serves, until the end."""
    process = subprocess.Popen([str(LOAD), *arguments], stdout=subprocess.PIPE)
    stack.callback(process.wait)
    stack.callback(process.kill)
    if process.stdout is None or process.stdout.readline() != b"ready\n":
        raise SystemExit(f"bench: {' '.join(arguments)} did not start")


def await_echo(product: Product) -> None:
    """Wait until a byte comes back through the tunnel."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", product.ports["mirror"]), 2) as probe:
                probe.sendall(b"?")
                if probe.recv(1) == b"?":
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"bench: nothing comes through {product.name}")


def drive(
    product: Product, row: Row, seconds: float, extra: float = 0.0, connections: int = 0
) -> tuple[list[float], float]:
    """Run a load; what it printed, and the CPU seconds of the product meanwhile."""
    address = f"127.0.0.1:{product.ports[row.service]}"
    command = [str(LOAD), row.load, address, str(seconds)]
    command += [str(connections or row.connections), str(extra)]
    before = product.cpu_seconds()
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + extra + 60, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: {row.name} with {product.name}: {done.stderr.strip()}")
    return [float(word) for word in done.stdout.split()], product.cpu_seconds() - before


def measure(row: Row, products: list[Product], options: Options) -> list[Figure]:
    """Measure one row: the rate, the CPU of a unit, and what else the load tells."""
    rate = Figure(row.name, "GiB/s" if row.unit == "GiB" else f"{row.unit}s/s", aims=row.aims)
    cpu = Figure(row.name, f"CPU ms per {row.unit}", is_less_better=True)
    fair = Figure(row.name, "fairness (Jain)", least=0.95)
    loss = Figure(row.name, "lost, %", most=0.1)
    for _ in range(options.rounds):
        for product in products:
            printed, seconds = drive(product, row, options.seconds)
            done = printed[0] / row.units
            rate.add(product.name, done / options.seconds)
            if product.ends:
                cpu.add(product.name, seconds / done * 1e3)
            if row.unit == "GiB" and row.connections > 1:
                fair.add(product.name, printed[1])
            if row.load == "datagrams":
                loss.add(product.name, 100 * printed[1] / sum(printed))
    return [figure for figure in (rate, cpu, fair, loss) if figure.values]


def measure_latency(products: list[Product], options: Options) -> list[Figure]:
    """What a tunnel adds to a round trip, alone and at half of the rate that it can keep."""
    alone = Figure("added latency, 1 connection", "median, µs", most=150.0)
    median = Figure("added latency, half of the highest rate", "median, µs")
    tail = Figure("added latency, half of the highest rate", "p99, µs", most=1000.0)
    [row] = [row for row in ROWS if row.load == "latency"]
    direct = next((product for product in products if product.name == "direct"), None)
    if direct is None:
        return []
    for _ in range(options.rounds):
        for product in products:
            if product is direct:
                continue
            [_, base, _], _ = drive(direct, row, options.seconds, connections=1)
            [_, found, _], _ = drive(product, row, options.seconds, connections=1)
            alone.add(product.name, (found - base) / 1e3)
            [trips, *_], _ = drive(product, row, options.seconds)
            half = trips / options.seconds / 2
            [_, *bases], _ = drive(direct, row, options.seconds, half)
            [_, *founds], _ = drive(product, row, options.seconds, half)
            median.add(product.name, (founds[0] - bases[0]) / 1e3)
            tail.add(product.name, (founds[1] - bases[1]) / 1e3)
    return [alone, median, tail]


def measure_memory(ground: Ground, options: Options) -> list[Figure]:
    """Memory of both ends in the beginning, and for each stream that is silent."""
    idle = Figure("memory of both ends", "MiB without streams", is_less_better=True)
    each = Figure("memory of both ends", "KiB for an idle stream", most=24.0)
    for name in options.products:
        product = ground.start(name)
        if not product.ends:
            continue
        before = product.memory_bytes()
        idle.add(name, before / 2**20)
        address = f"127.0.0.1:{product.ports['mirror']}"
        command = [str(LOAD), "idle", address, "600", str(IDLE_STREAMS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            printed = process.stdout.readline() if process.stdout is not None else ""
            after = product.memory_bytes()
            process.kill()
        if not printed:
            raise SystemExit(f"bench: {name} does not hold {IDLE_STREAMS} streams")
        each.add(name, (after - before) / int(printed) / 1024)
        product.stop()
    return [idle, each]


def measure_window(ground: Ground, options: Options) -> list[Figure]:
    """Speed of one stream over a long way, as a share of what the way has."""
    figure = Figure("1 stream, 100 ms round trip", "GiB/s", aims=(("direct", 0.9),))
    [row, *_] = ROWS
    products = [ground.start(name, far=True) for name in options.products if name != "direct"]
    bare = Product(
        "direct", {**ground.targets, "bulk": ground.lengthen(ground.targets["bulk"])}, []
    )
    for _ in range(options.rounds):
        for product in (*products, bare):
            [count, _], _ = drive(product, row, options.seconds, WARMING)
            figure.add(product.name, count / GIB / options.seconds)
    for product in products:
        product.stop()
    return [figure]


if __name__ == "__main__":
    main()
