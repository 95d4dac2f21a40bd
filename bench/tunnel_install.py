"""The programs that tunnels are compared with, built once into a cache outside the repository.

`python -m bench.tunnel_install` builds what is missing: rathole from its crate, frp from its Go
module (its release that carries its web pages; a `replace` in its `go.mod` rules out `go install`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

RATHOLE = "0.5.0"
FRP = "v0.65.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qanat-bench"
RATHOLE_BINARY = CACHE / f"rathole-{RATHOLE}" / "bin/rathole"
FRPS_BINARY = CACHE / f"frp-{FRP}" / "frps"
FRPC_BINARY = CACHE / f"frp-{FRP}" / "frpc"
LONGEST_BUILD = 1800.0


def main() -> None:
    """Build what is missing, or say what is needed for it."""
    for name, binary, tool, build in (
        ("rathole", RATHOLE_BINARY, "cargo", build_rathole),
        ("frp", FRPC_BINARY, "go", build_frp),
    ):
        if binary.exists():
            continue
        if shutil.which(tool) is None:
            print(
                f"bench: {tool} is not on PATH, and {name} is built with it: its column is left out"
            )
            continue
        print(f"bench: building {name} into {CACHE} (once)", flush=True)
        build()


def build_rathole() -> None:
    """Build rathole with TLS, by way of the system's OpenSSL.

    Its lock file is of 2023, and one of the crates in it does not compile any more.
    """
    if subprocess.run(["pkg-config", "--exists", "openssl"], check=False).returncode != 0:
        print("bench: rathole needs OpenSSL's headers (libssl-dev, pkg-config): left out")
        return
    command = ["cargo", "install", "rathole", "--version", RATHOLE, "--quiet"]
    command += ["--no-default-features", "--features", "server,client,tls"]
    with tempfile.TemporaryDirectory(prefix="qanat-bench-") as target:
        command += ["--root", str(RATHOLE_BINARY.parent.parent), "--target-dir", target]
        run(command, CACHE)


def build_frp() -> None:
    """Build both ends of frp."""
    CACHE.mkdir(parents=True, exist_ok=True)
    found = run(["go", "mod", "download", "-json", f"github.com/fatedier/frp@{FRP}"], CACHE)
    with tempfile.TemporaryDirectory(prefix="qanat-bench-") as folder:
        source = Path(folder) / "frp"
        # What Go has downloaded is read-only.
        shutil.copytree(json.loads(found)["Dir"], source, copy_function=shutil.copyfile)
        for path in (source, *source.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        command = ["go", "build", "-mod=mod", "-buildvcs=false", "-trimpath"]
        FRPC_BINARY.parent.mkdir(parents=True, exist_ok=True)
        run([*command, "-o", f"{FRPC_BINARY.parent}/", "./cmd/frps", "./cmd/frpc"], source)


def run(command: list[str], folder: Path) -> str:
    """Run a build at low priority and return what it printed."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0"} if command[0] == "go" else None
    done = subprocess.run(
        ["nice", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=LONGEST_BUILD,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(command)} failed with status {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
