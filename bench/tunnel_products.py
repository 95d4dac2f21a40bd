"""The tunnels that are compared: how the two ends of each are configured, started and measured.

One end has the listening sockets of the services, the other one dials it and has the targets beside
it, as behind NAT.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
    pkcs12,
)

from bench.gateways import await_port, children
from bench.tunnel_install import FRP, FRPC_BINARY, FRPS_BINARY, RATHOLE, RATHOLE_BINARY

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICES = ("mirror", "once", "bulk", "sink", "udp")
PASSWORD = "bench"


@dataclass(frozen=True, slots=True)
class Site:
    """What both ends stand on: where they meet, and the services with their targets."""

    folder: Path
    certificate: Path
    tunnel: int
    """Port at which the listening end is dialled."""
    dialled: int
    """Port that the other end dials: the same, or that of a long way to it."""
    listening: dict[str, int]
    targets: dict[str, int]


@dataclass(slots=True)
class Product:
    """Both ends of a tunnel, measured together."""

    name: str
    ports: dict[str, int]
    ends: list[subprocess.Popen[bytes]]

    @property
    def pids(self) -> list[int]:
        """All processes."""
        return [pid for end in self.ends for pid in (end.pid, *children(end.pid))]

    def cpu_seconds(self) -> float:
        """CPU time of all threads of both ends so far."""
        tasks = (task for pid in self.pids for task in Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def memory_bytes(self) -> int:
        """Resident private memory (Pss) of both ends."""
        total = 0
        for pid in self.pids:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
        return total

    def stop(self) -> None:
        """End both."""
        for end in self.ends:
            end.terminate()
        for end in self.ends:
            try:
                end.wait(10)
            except subprocess.TimeoutExpired:
                end.kill()
                end.wait(5)


def start_qanat(site: Site) -> Product:
    """Two gateways with two workers each, a tunnel of two carriers, and a secret."""
    services = [name for name in SERVICES if name != "udp"]
    local = "".join(
        f"service {name} local 127.0.0.1:{site.listening[name]}; bind bench {name} local;\n"
        for name in services
    )
    remote = "".join(
        f"service {name} remote 127.0.0.1:{site.targets[name]}; bind bench {name} remote;\n"
        for name in services
    )
    local += f"service udp local 127.0.0.1:{site.listening['udp']} udp; bind bench udp local;"
    remote += f"service udp remote 127.0.0.1:{site.targets['udp']} udp; bind bench udp remote;"
    secret = secrets.token_hex(32)
    ends = []
    for end, how in (
        ("gate", f"listen 127.0.0.1:{site.tunnel}; {local}"),
        ("home", f"tunnel bench 127.0.0.1:{site.dialled}; carriers 2; {remote}"),
    ):
        folder = site.folder / end
        folder.mkdir()
        (folder / "qanat.conf").write_text(
            f"""
node_name {end}; worker_processes 2; daemon off; pid {folder}/qanat.pid;
state_dir {folder}/state; error_log {folder}/qanat.log crit; control unix:{folder}/control;
events {{ worker_connections 50000; }}
tunnels {{ secret {secret}; {how} }}
"""
        )
        binary = str(Path(sys.executable).parent / "qanat")
        command = [binary, "-p", str(folder), "-c", str(folder / "qanat.conf")]
        ends.append(launch(command, site.tunnel if end == "gate" else None))
    return Product("qanat", site.listening, ends)


def start_rathole(site: Site, *, encrypted: bool) -> Product:
    """Both ends of rathole, with as many threads as there are CPUs."""
    blocks = {"server": "", "client": ""}
    for name in SERVICES:
        kind = "udp" if name == "udp" else "tcp"
        here, there = site.listening[name], site.targets[name]
        head = f'services.{name}]\ntype = "{kind}"\n'
        blocks["server"] += f'[server.{head}bind_addr = "127.0.0.1:{here}"\n'
        blocks["client"] += f'[client.{head}local_addr = "127.0.0.1:{there}"\n'
    bundle = write_bundle(site) if encrypted else ""
    settings = {
        "server": f"bind_addr = '127.0.0.1:{site.tunnel}'\n",
        "client": f"remote_addr = '127.0.0.1:{site.dialled}'\n",
    }
    tls = {
        "server": f"pkcs12 = '{bundle}'\npkcs12_password = '{PASSWORD}'\n",
        "client": f"trusted_root = '{site.certificate}'\nhostname = 'bench.test'\n",
    }
    token = secrets.token_hex(32)
    ends = []
    for end in ("server", "client"):
        text = f"[{end}]\n{settings[end]}default_token = '{token}'\n"
        if encrypted:
            text += f"[{end}.transport]\ntype = 'tls'\n[{end}.transport.tls]\n{tls[end]}"
        path = site.folder / f"{end}.toml"
        path.write_text(text + blocks[end])
        command = [str(RATHOLE_BINARY), f"--{end}", str(path)]
        ends.append(launch(command, site.tunnel if end == "server" else None))
    return Product("rathole TLS" if encrypted else "rathole plain", site.listening, ends)


def write_bundle(site: Site) -> Path:
    """Write the certificate with its key as rathole wants it."""
    pem = site.certificate.read_bytes()
    bundle = pkcs12.serialize_key_and_certificates(
        b"bench",
        load_pem_private_key(pem, None),  # type: ignore[arg-type]
        x509.load_pem_x509_certificate(pem),
        None,
        BestAvailableEncryption(PASSWORD.encode()),
    )
    path = site.folder / "bench.p12"
    path.write_bytes(bundle)
    return path


def start_frp(site: Site) -> Product:
    """Both ends of frp as it comes: TLS, and streams of one connection."""
    token = f'auth.token = "{secrets.token_hex(32)}"\nlog.level = "error"\n'
    proxies = "".join(
        f'[[proxies]]\nname = "{name}"\ntype = "{"udp" if name == "udp" else "tcp"}"\n'
        f'localIP = "127.0.0.1"\nlocalPort = {site.targets[name]}\n'
        f"remotePort = {site.listening[name]}\n"
        for name in SERVICES
    )
    here = '"127.0.0.1"'
    texts = {
        "frps": f"bindAddr = {here}\nproxyBindAddr = {here}\nbindPort = {site.tunnel}\n{token}",
        "frpc": f"serverAddr = {here}\nserverPort = {site.dialled}\n{token}{proxies}",
    }
    ends = []
    for binary, text in zip((FRPS_BINARY, FRPC_BINARY), texts.values(), strict=True):
        path = site.folder / f"{binary.name}.toml"
        path.write_text(text)
        command = [str(binary), "-c", str(path)]
        ends.append(launch(command, site.tunnel if binary == FRPS_BINARY else None))
    return Product("frp", site.listening, ends)


def start_direct(site: Site) -> Product:
    """Start nothing: clients connect to the targets."""
    return Product("direct", site.targets, [])


def launch(command: list[str], port: int | None) -> subprocess.Popen[bytes]:
    """Start one end; wait until it accepts at `port`, where it has one."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    if port is not None:
        try:
            await_port(port, process)
        except SystemExit:
            process.kill()
            raise
    return process


STARTERS: dict[str, Callable[[Site], Product]] = {
    "qanat": start_qanat,
    "rathole TLS": lambda site: start_rathole(site, encrypted=True),
    "rathole plain": lambda site: start_rathole(site, encrypted=False),
    "frp": start_frp,
    "direct": start_direct,
}
VERSIONS = {"rathole TLS": f"rathole {RATHOLE}", "frp": f"frp {FRP}"}


def installed() -> list[str]:
    """Names of what can be started here."""
    needs = {"rathole TLS": RATHOLE_BINARY, "rathole plain": RATHOLE_BINARY, "frp": FRPC_BINARY}
    return [name for name in STARTERS if name not in needs or needs[name].exists()]
