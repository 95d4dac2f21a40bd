"""Any sequence of additions, removals and restarts leaves the data plane as a simple model says."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from tests.harness.engine import MemoryEngine
from tests.harness.live import STREAM, compile_text
from typing_extensions import override

from qanat.compiler.virtual_server import VirtualServerRequest
from qanat.config.paths import Paths
from qanat.control.errors import ServerExists, ServerNotFound
from qanat.control.gateway import LiveGateway
from qanat.control.state import FileAccess
from qanat.store.sqlite import SqliteStore

ADDRESSES = {
    "0.0.0.0:22222": "tcp:0.0.0.0:22222",
    "*:22223 udp": "udp:0.0.0.0:22223",
    "23333": "tcp:0.0.0.0:23333",
    "0.0.0.0:23333 udp": "udp:0.0.0.0:23333",
    "127.0.0.1:23333": "tcp:127.0.0.1:23333",
    "[0:0::1]:23333": "tcp:[::1]:23333",
    "unix:/tmp/qanat.sock": "tcp:unix:/tmp/qanat.sock",
}
STATIC = {"tcp:0.0.0.0:22222", "udp:0.0.0.0:22223"}
BODIES = ('return "x";', "proxy_pass 127.0.0.1:9000;", "proxy_pass 127.0.0.1:9001;", "")

addresses = st.sampled_from(sorted(ADDRESSES))
names = st.sampled_from(["a", "A", "b", "c", "*.example.com", "~^A"])


class GatewayModel(RuleBasedStateMachine):
    """The gateway beside a dictionary of listener -> name -> body, in the order of adding."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.model: dict[str, dict[str, str]] = {}
        self.revision = 0

    @initialize()
    def start(self) -> None:
        """Start with the configuration that all runs share."""
        self.runner.run(self._start())

    async def _start(self) -> None:
        self.engine = MemoryEngine()
        store = await SqliteStore.open(self.directory / "state", "node-1")
        files = FileAccess(Paths.of(self.directory / "nginx.conf"))
        self.gateway = LiveGateway(self.engine, store, files)
        await self.gateway.load(compile_text(self.directory, STREAM))

    @rule(address=addresses, name=names, body=st.sampled_from(BODIES))
    def add(self, address: str, name: str, body: str) -> None:
        """Add a server, or find its name taken."""
        servers = self.model.setdefault(ADDRESSES[address], {})
        key = name if name.startswith("~") else name.lower()
        request = VirtualServerRequest(address, name, body)
        try:
            self.runner.run(self.gateway.add_virtual_server(request))
            assert key not in servers
            servers[key] = body
        except ServerExists:
            assert key in servers

    @rule(address=addresses, name=names)
    def remove(self, address: str, name: str) -> None:
        """Remove a server, or find that there is none."""
        servers = self.model.get(ADDRESSES[address], {})
        key = name if name.startswith("~") else name.lower()
        try:
            self.runner.run(self.gateway.remove_virtual_server(address, name))
            del servers[key]
        except ServerNotFound:
            assert key not in servers

    @precondition(lambda self: any(self.model.values()))
    @rule()
    def restart(self) -> None:
        """Stop, and start from what the store has."""
        self.runner.run(self.gateway.close())
        self.runner.run(self._start())
        assert self.gateway.status().skipped == ()

    @rule()
    def reload(self) -> None:
        """Reload the same file: nothing changes."""
        before = self.engine.plan.objects()
        self.runner.run(self.gateway.reload(compile_text(self.directory, STREAM)))
        assert self.engine.plan.objects() == before

    @invariant()
    def agrees(self) -> None:
        """Compare what the engine serves with the model."""
        plan = self.engine.plan
        wanted = {
            f"{listener}/{name.lower()}": body
            for listener, servers in self.model.items()
            for name, body in servers.items()
        }
        dynamic = {view.id: view.content for view in self.gateway.servers() if view.dynamic}
        assert dynamic.keys() == wanted.keys()
        assert wanted.keys() <= plan.servers.keys()
        opened = {listener for listener, servers in self.model.items() if servers}
        assert plan.listeners.keys() == opened | STATIC
        for listener in opened - STATIC:
            first = next(iter(self.model[listener]))
            assert plan.listeners[listener].default_server == f"{listener}/{first.lower()}"
        peers = {body[11:-1] for body in wanted.values() if body.startswith("proxy_pass")}
        assert plan.upstreams.keys() == peers | {"group"}
        assert self.gateway.revision >= self.revision
        self.revision = self.gateway.revision

    @override
    def teardown(self) -> None:
        """Release what the run held."""
        if hasattr(self, "gateway"):
            self.runner.run(self.gateway.close())
        self.runner.close()
        shutil.rmtree(self.directory)


TestGatewayModel = GatewayModel.TestCase
TestGatewayModel.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
