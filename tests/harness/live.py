"""A live gateway over the engine in memory and a real store, for unit tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.harness.engine import MemoryEngine

from qanat.compiler.compilation import Resolve, resolve_host
from qanat.compiler.compile import Compiled, compile_config
from qanat.config.parse import parse_file
from qanat.config.paths import Paths
from qanat.control.gateway import LiveGateway
from qanat.control.state import FileAccess
from qanat.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


STREAM = """
stream {
    map $njtmesh_port $mesh_server_name { 17082 server-17082; default ""; }
    upstream group { server 127.0.0.1:5555; }
    server { listen 22222 mesh; return "default"; }
    server { listen 22223 udp mesh; return "default"; }
    server { listen 22222; server_name static.example.com; return "static"; }
}
"""


def compile_text(directory: Path, text: str) -> Compiled:
    """Compile a configuration, `nginx.conf` of a directory."""
    conf = directory / "nginx.conf"
    conf.write_text("events {}\n" + text)
    paths = Paths.of(conf)
    return compile_config(parse_file(paths), paths)


@asynccontextmanager
async def live_gateway(
    directory: Path,
    text: str = STREAM,
    engine: MemoryEngine | None = None,
    resolve: Resolve = resolve_host,
) -> AsyncIterator[tuple[LiveGateway, MemoryEngine]]:
    """Load a configuration and the state directory below it; release the store at the end."""
    paths = Paths.of(directory / "nginx.conf")
    engine = engine or MemoryEngine()
    store = await SqliteStore.open(directory / "state", "node-1")
    gateway = LiveGateway(engine, store, FileAccess(paths), resolve)
    try:
        await gateway.load(compile_text(directory, text))
        yield gateway, engine
    finally:
        await gateway.close()
