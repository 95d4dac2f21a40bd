"""A data plane in memory for unit tests: keeps the plan and every change set, validates nothing.

`fail_next` makes one call fail, to see that a refusal leaves no trace.
"""

from __future__ import annotations

import msgspec

from qanat.compiler.plan import ChangeSet
from qanat.compiler.rule_plan import PassTo, RuleQuery, RuleVerdict
from qanat.control.index import PlanIndex


class MemoryEngine:
    """Implements `qanat.control.engine.Engine`."""

    def __init__(self) -> None:
        self.plan = PlanIndex()
        self.changes: list[ChangeSet] = []
        self.logged: list[tuple[str, str]] = []
        self.open_sessions: dict[str, int] = {}
        self.fail_next: dict[str, Exception] = {}
        self.refuse_listeners: dict[str, Exception] = {}
        self.unreachable: dict[str, str] = {}
        self.aborted = 0
        self._prepared: dict[int, ChangeSet] = {}
        self._ticket = 0

    def prepare(self, change: ChangeSet) -> int:
        self._fail("prepare")
        for listener in change.put.listeners:
            if listener.id in self.refuse_listeners:
                raise self.refuse_listeners[listener.id]
        # What Rust would read: the change must survive its encoding.
        encoded = msgspec.msgpack.encode(change)
        decoded = msgspec.msgpack.decode(encoded, type=ChangeSet)
        assert decoded == change
        assert not self._prepared, "one ticket at a time"
        self._ticket += 1
        self._prepared[self._ticket] = decoded
        return self._ticket

    def commit(self, ticket: int) -> None:
        self._fail("commit")
        change = self._prepared.pop(ticket)
        self.changes.append(change)
        self.plan.remove(change.remove)
        self.plan.put(change.put)
        self._check_references()

    def abort(self, ticket: int) -> None:
        del self._prepared[ticket]
        self.aborted += 1

    def snapshot(self, what: str) -> bytes:
        if what == "rules":
            return msgspec.msgpack.encode(self._rule_counts())
        if what == "tunnels":
            return msgspec.msgpack.encode([])
        if what == "tunnel_handshakes":
            return msgspec.msgpack.encode({})
        assert what == "servers"
        counts = {ident: self.open_sessions.get(ident, 0) for ident in self.plan.servers}
        return msgspec.msgpack.encode(counts)

    def explain_rules(self, query: bytes) -> bytes | None:
        """Know tables alone: whether rules match is for the real engine to say."""
        asked = msgspec.msgpack.decode(query, type=RuleQuery)
        table = self.plan.rule_tables.get(asked.table)
        if table is None:
            return None
        return msgspec.msgpack.encode(
            RuleVerdict(rule=None, action=table.default, waits=False, passed_over=())
        )

    def probe_tunnel(self, name: str, dial: str, peer: str | None) -> str | None:
        return self.unreachable.get(dial)

    def wait_for_tunnel(self, name: str, seconds: float) -> bool:
        return name in self.plan.tunnels

    def close_tunnel(self, name: str) -> bool:
        return False

    def leave_tunnel(self, name: str, seconds: float) -> None: ...

    def reset_streams(self, service: str, *, local: bool, tunnel: str | None = None) -> None: ...

    def log(self, level: str, message: str) -> None:
        self.logged.append((level, message))

    def reopen_logs(self) -> None: ...

    def drain(self) -> None: ...

    def sessions(self) -> int:
        return sum(self.open_sessions.values())

    def stop(self) -> None: ...

    def _fail(self, call: str) -> None:
        error = self.fail_next.pop(call, None)
        if error is not None:
            raise error

    def _rule_counts(self) -> dict[str, dict[str, int]]:
        counts = {table: {"": 0} for table in self.plan.rule_tables}
        for ident in self.plan.rules:
            table, _, name = ident.partition("/")
            counts[table][name] = 0
        return counts

    def _check_references(self) -> None:
        for rule in self.plan.rules.values():
            assert rule.id.partition("/")[0] in self.plan.rule_tables
            if isinstance(rule.action, PassTo):
                assert rule.action.upstream in self.plan.upstreams
        for table in self.plan.rule_tables.values():
            if isinstance(table.default, PassTo):
                assert table.default.upstream in self.plan.upstreams
        if len(self.plan.servers) > 1000:
            return
        for listener in self.plan.listeners.values():
            assert listener.default_server in self.plan.servers
            assert listener.parent is None or listener.parent in self.plan.listeners
        for server in self.plan.servers.values():
            assert all(listener in self.plan.listeners for listener in server.listeners)
