"""Record which peers nginx picks: writes balance.json beside this file.

Run by hand with Debian's nginx and its stream module: `python tests/conformance/record_balance.py`.
Each session comes from a loopback address of its own, which is also its hash key. Peers send one
byte; they hold the connection in cases that say so, and close it otherwise. Dead peers have nobody
listening. nginx sees a hosts file of its own, for the name that has two addresses: this needs root.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


@dataclass
class Peer:
    server: str
    weight: int = 1
    max_fails: int = 1
    fail_timeout_ms: int = 60_000
    max_conns: int = 0
    backup: bool = False
    down: bool = False
    addresses: list[str] = field(default_factory=list)

    def line(self) -> str:
        options = f"weight={self.weight} max_fails={self.max_fails}"
        options += f" fail_timeout={self.fail_timeout_ms // 1000}s"
        options += f" max_conns={self.max_conns}" if self.max_conns else ""
        return f"server {self.server} {options}{' backup' * self.backup}{' down' * self.down};"


@dataclass
class Case:
    name: str
    balance: str
    peers: list[Peer]
    sessions: int
    dead: list[str] = field(default_factory=list)
    hold: bool = False


def peers(*weights: int, max_fails: int = 1, max_conns: int = 0) -> list[Peer]:
    numbered = enumerate(weights, 1)
    return [Peer(f"127.0.7.{i}:12001", w, max_fails, max_conns=max_conns) for i, w in numbered]


A, B, C, D, E = (f"127.0.7.{i}:12001" for i in range(1, 6))
BACKUPS = [Peer(D, backup=True), Peer(E, weight=2, backup=True)]
SAME_NAME = [Peer("two.test:12001", 2, addresses=[A, C]), Peer(B)]
HASH = "hash $remote_addr;"
RING = "hash $remote_addr consistent;"
CASES = [
    Case("smooth weights", "", peers(5, 1, 1), 21),
    Case("equal weights", "", peers(1, 1, 1), 9),
    Case("many weights", "", peers(4, 3, 2, 1, 7), 51),
    Case("down", "", [*peers(2, 1), Peer(C, 5, down=True)], 9),
    Case("a failure disables", "", peers(5, 1, 1), 21, dead=[A]),
    Case("weight shrinks by failures", "", peers(6, 2, 1, max_fails=3), 30, dead=[A]),
    Case("failures do not count", "", peers(3, 2, 1, max_fails=0), 24, dead=[B]),
    Case("backups", "", [*peers(2, 1), *BACKUPS], 12, dead=[A, B]),
    Case("backups, nobody else", "", [Peer(A, down=True), *BACKUPS], 9),
    Case("everybody fails", "", peers(2, 1, 1), 6, dead=[A, B, C]),
    Case("max_conns", "", [*peers(3, 1, max_conns=2), Peer(C)], 9, hold=True),
    Case("fewest connections", "least_conn;", peers(3, 2, 1), 24, hold=True),
    Case("fewest connections, idle", "least_conn;", peers(3, 2, 1), 18),
    Case("fewest connections, backups", "least_conn;", [*peers(1, 2), *BACKUPS], 12, [A, B], True),
    Case("hash", HASH, peers(1, 1, 1), 100),
    Case("hash, weights", HASH, peers(5, 3, 1, 2), 100),
    Case("hash, down", HASH, [*peers(2, 3), Peer(C, 5, down=True)], 100),
    Case("hash, dead", HASH, peers(2, 3, 4, 1, max_fails=0), 100, dead=[B, C]),
    Case("hash, a failure disables", HASH, peers(2, 3, 4, 1), 60, dead=[C]),
    Case("ring", RING, peers(1, 1, 1), 200),
    Case("ring, weights", RING, peers(5, 3, 1, 2), 200),
    Case("ring, down", RING, [*peers(1, 1, 1), Peer(D, down=True)], 100),
    Case("ring, dead", RING, peers(1, 2, 1, 1, max_fails=0), 100, [B, C]),
    Case("ring, several peers of a name", RING, SAME_NAME, 60),
    Case("ring, twice the same", RING, [Peer(A), Peer(A, 2), Peer(B)], 60),
]


def serve(address: str, case: Case) -> socket.socket:
    host, port = address.rsplit(":", 1)
    listener = socket.create_server((host, int(port)), backlog=512)
    held: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.sendall(b"x")
                if case.hold:
                    held.append(connection)
                else:
                    connection.close()

    threading.Thread(target=accept, daemon=True).start()
    return listener


def connect(number: int, port: int, case: Case) -> socket.socket:
    key = f"127.8.{number // 200}.{number % 200 + 1}"
    client = socket.create_connection(("127.0.0.1", port), source_address=(key, 0))
    while client.recv(16) and not case.hold:
        pass
    return client


def record(case: Case, prefix: Path) -> dict[str, object]:
    addresses = {a for peer in case.peers for a in peer.addresses or [peer.server]}
    listeners = [serve(address, case) for address in sorted(addresses - set(case.dead))]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    lines = "\n".join(peer.line() for peer in case.peers)
    (prefix / "nginx.conf").write_text(
        f"load_module {MODULE};\nuser root;\nworker_processes 1;\ndaemon off;\npid nginx.pid;\n"
        "events { }\n"
        "stream { log_format f '$remote_addr $upstream_addr';\n"
        f"upstream u {{ {case.balance}\n{lines} }}\n"
        f"server {{ listen 127.0.0.1:{port}; proxy_pass u; access_log access.log f; }} }}\n"
    )
    log = prefix / "access.log"
    log.unlink(missing_ok=True)
    hosts = prefix / "hosts"
    hosts.write_text("127.0.7.1 two.test\n127.0.7.3 two.test\n")
    script = (
        f"mount --bind {hosts} /etc/hosts && exec nginx -p {prefix}/ -c nginx.conf -e error.log"
    )
    nginx = subprocess.Popen(["unshare", "-m", "sh", "-c", script])
    try:
        while not log.exists() or f":{port:04X} " not in Path("/proc/net/tcp").read_text():
            time.sleep(0.01)
        clients = [connect(number, port, case) for number in range(case.sessions)]
        for client in clients:
            client.close()
        while log.read_text().count("\n") < case.sessions:
            time.sleep(0.01)
    finally:
        nginx.terminate()
        nginx.wait()
        for listener in listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
    attempts = dict(line.split(" ", 1) for line in log.read_text().splitlines())
    keys = sorted(attempts, key=lambda key: [int(part) for part in key.split(".")])
    sessions = [(key, attempts[key].split(", ")) for key in keys]
    return {**asdict(case), "sessions": sessions}


def main() -> None:
    version = subprocess.run(
        ["nginx", "-v"], capture_output=True, text=True, check=True
    ).stderr.strip()
    with tempfile.TemporaryDirectory() as directory:
        cases = [record(case, Path(directory)) for case in CASES]
    note = (
        f"Recorded by record_balance.py from {version}; an attempt named u means: no peer was left."
    )
    lines = ",\n".join(json.dumps(case) for case in cases)
    (HERE / "balance.json").write_text(f'{{"note": {json.dumps(note)}, "cases": [\n{lines}\n]}}\n')


main()
