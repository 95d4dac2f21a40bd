"""The gateways that are compared: how each is configured, started and found in /proc."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

GATEWAY_CPU = 0
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a gateway listens and where its servers are."""

    echo: int
    close: int
    bulk: int
    tls_echo: int
    tls_close: int
    tls_bulk: int
    udp: int
    udp_once: int
    echo_server: int
    close_server: int
    bulk_server: int
    udp_server: int


@dataclass(slots=True)
class Running:
    """A gateway process; CPU and memory are those of the process and its children."""

    name: str
    version: str
    process: subprocess.Popen[bytes]
    ports: Ports
    pids: list[int] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """CPU time of all threads so far (schedstat, nanosecond resolution)."""
        tasks = (task for pid in self.pids for task in Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def memory_bytes(self) -> int:
        """Resident private memory (Pss) of all processes."""
        total = 0
        for pid in self.pids:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
        return total

    def stop(self) -> None:
        """End it and wait."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that the kernel says is free."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def nginx_servers(ports: Ports, certificate: Path) -> str:
    """The stream servers, in the words that nginx and Qanat share."""
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};"
    plain = [(ports.echo, ports.echo_server), (ports.close, ports.close_server)]
    plain.append((ports.bulk, ports.bulk_server))
    secure = [(ports.tls_echo, ports.echo_server), (ports.tls_close, ports.close_server)]
    secure.append((ports.tls_bulk, ports.bulk_server))
    lines = [
        f"server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{server}; }}"
        for port, server in plain
    ]
    lines += [
        f"server {{ listen 127.0.0.1:{port} ssl; {tls} proxy_pass 127.0.0.1:{server}; }}"
        for port, server in secure
    ]
    udp = f"proxy_pass 127.0.0.1:{ports.udp_server};"
    lines.append(f"server {{ listen 127.0.0.1:{ports.udp} udp; {udp} }}")
    lines.append(f"server {{ listen 127.0.0.1:{ports.udp_once} udp; {udp} proxy_responses 1; }}")
    return "\n    ".join(lines)


def start_nginx(ports: Ports, folder: Path, certificate: Path) -> Running:
    """Debian's nginx with its stream module, one worker."""
    modules = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    config = f"""
load_module {modules};
worker_processes 1; worker_rlimit_nofile 60000; daemon off; pid {folder}/nginx.pid;
error_log {folder}/nginx.log crit;
events {{ worker_connections 50000; }}
stream {{
    {nginx_servers(ports, certificate)}
}}
"""
    (folder / "nginx.conf").write_text(config)
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    version = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    return launch("nginx", version.strip().removeprefix("nginx version: "), command, ports)


def start_qanat(ports: Ports, folder: Path, certificate: Path) -> Running:
    """Qanat as `make build` leaves it, one worker."""
    config = f"""
worker_processes 1; daemon off; pid {folder}/qanat.pid; state_dir {folder}/state;
error_log {folder}/qanat.log crit;
events {{ worker_connections 50000; }}
stream {{
    {nginx_servers(ports, certificate)}
}}
"""
    (folder / "qanat.conf").write_text(config)
    binary = str(Path(sys.executable).parent / "qanat")
    command = [binary, "-p", str(folder), "-c", str(folder / "qanat.conf")]
    version = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True).stderr
    return launch("qanat", version.strip().removeprefix("nginx version: "), command, ports)


def start_haproxy(ports: Ports, folder: Path, certificate: Path) -> Running:
    """Debian's haproxy, one thread. It does not relay UDP."""
    tls = f"ssl crt {certificate}"
    pairs = [
        ("echo", f"127.0.0.1:{ports.echo}", ports.echo_server),
        ("close", f"127.0.0.1:{ports.close}", ports.close_server),
        ("bulk", f"127.0.0.1:{ports.bulk}", ports.bulk_server),
        ("tls_echo", f"127.0.0.1:{ports.tls_echo} {tls}", ports.echo_server),
        ("tls_close", f"127.0.0.1:{ports.tls_close} {tls}", ports.close_server),
        ("tls_bulk", f"127.0.0.1:{ports.tls_bulk} {tls}", ports.bulk_server),
    ]
    proxies = "\n".join(
        f"listen {name}\n    bind {bind}\n    server s 127.0.0.1:{server}"
        for name, bind, server in pairs
    )
    config = f"""
global
    nbthread 1
    maxconn 8000
defaults
    mode tcp
    timeout connect 60s
    timeout client 600s
    timeout server 600s
{proxies}
"""
    (folder / "haproxy.cfg").write_text(config)
    command = ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
    output = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout
    return launch("haproxy", "haproxy/" + output.split()[2], command, ports)


STARTERS = {"nginx": start_nginx, "qanat": start_qanat, "haproxy": start_haproxy}


def launch(name: str, version: str, command: list[str], ports: Ports) -> Running:
    """Start a gateway on its own CPU and wait until it accepts."""
    if shutil.which(command[0]) is None:
        raise SystemExit(f"bench: {command[0]} is not installed; see README, Prerequisites")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    os.sched_setaffinity(process.pid, {GATEWAY_CPU})
    running = Running(name, version, process, ports)
    await_port(ports.echo, process)
    running.pids = [process.pid, *children(process.pid)]
    for pid in running.pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {GATEWAY_CPU})
    return running


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a TCP port accepts, for at most 15 s."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"bench: {process.args!r} ended with status {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"bench: {process.args!r} does not accept on port {port}")


def children(pid: int) -> list[int]:
    """Processes that `pid` has started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]
