"""The live gateway: every change of configuration, from wherever it comes, goes through here.

A change is validated, compiled, prepared by the engine, stored, made live, and only then answered.
Whatever fails on the way leaves everything as it was. Changes are made one at a time; reading never
waits for them.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from msgspec import structs

from qanat.compiler.compilation import Resolve, resolve_host
from qanat.compiler.plan import ChangeSet
from qanat.config.errors import ConfigError, Problem
from qanat.control.blame import blamed
from qanat.control.errors import ListenRefused, PlanRefused, WorkerLate
from qanat.control.handlers import NoHandlers
from qanat.control.hosts import Addresses, Hosts
from qanat.control.index import PlanIndex, diff
from qanat.control.live_tunnels import LiveTunnels
from qanat.control.rebuild import rebuild, stored_of
from qanat.control.rules import putting_rule, putting_table, removing_rule, removing_table
from qanat.control.store_changes import store_changes, undo
from qanat.control.tunnel_identity import NodeIdentity, load_identity
from qanat.control.turns import Limits, Turn, Turns
from qanat.control.views import (
    ServerView,
    SkippedView,
    StatusView,
    server_view,
    server_views,
    status_view,
)
from qanat.control.virtual_servers import adding, removing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from qanat.compiler.compile import Compiled
    from qanat.compiler.plan import Settings
    from qanat.compiler.rules import RuleSpec
    from qanat.compiler.virtual_server import VirtualServerRequest
    from qanat.control.engine import Engine
    from qanat.control.handlers import Handlers
    from qanat.control.rules import TableSpec
    from qanat.control.state import FileAccess, Key, State, Step
    from qanat.control.tunnel_state import TunnelChange
    from qanat.store.base import Store, Stored

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done:
    """A change that is stored and live: the revision that it made, and the id of the server.

    One that found everything as wanted has not `changed` anything, and made no revision.
    """

    revision: int
    server: str = ""
    changed: bool = True
    tunnels: tuple[TunnelChange, ...] = ()


class LiveGateway:
    """A data plane, its store, and the state that both hold."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        files: FileAccess,
        resolve: Resolve = resolve_host,
        handlers: Handlers | None = None,
    ) -> None:
        self.engine = engine
        self.handlers = handlers or NoHandlers()
        self._store = store
        self._files = files
        self._turns = Turns(Limits())
        self._resolve = resolve
        self._hosts = Hosts(resolve)
        # Compiling takes time and committing waits for the workers: neither on the loop.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qanat-change")
        self._state: State | None = None
        # Loads of handlers take turns before the change that puts them to use does.
        self._loading = asyncio.Lock()
        self._started = time.monotonic()
        # Who this gateway is to others; known once there are tunnels.
        self._node: NodeIdentity | None = None
        self.tunnels = LiveTunnels(self)

    async def load(self, compiled: Compiled) -> None:
        """Start serving a configuration and the stored virtual servers.

        Stored servers that cannot be served are kept in the store, logged and shown by `status`.
        Raise `ConfigError` for handlers, `PlanRefused`, `ListenRefused` or `StoreError`.
        """
        async with self._loading, self._with_handlers(compiled) as ready:
            await self._turns.run_unbounded(lambda _: self._load(ready))

    async def reload(self, compiled: Compiled) -> None:
        """Go over to another configuration as one change; virtual servers of the API are kept.

        Raise `ConfigError`, `PlanRefused`, `ListenRefused` or `StoreError`, with nothing changed.
        """

        async with self._loading, self._with_handlers(compiled) as ready:

            async def change(addresses: Addresses) -> None:
                await self._turns.run_unbounded(lambda _: self._reload(ready, addresses))

            await self._hosts.supply(change)

    async def reload_handlers(self) -> int:
        """Load the modules of handlers anew, without the configuration; return the revision.

        Raise `ConfigError`, `PlanRefused` or `StoreError`, with nothing changed.
        """
        async with self._loading, self._with_handlers(self.state.compiled) as ready:
            await self._turns.run_unbounded(lambda _: self._settle(ready))
        return self.revision

    @asynccontextmanager
    async def _with_handlers(self, compiled: Compiled) -> AsyncIterator[Compiled]:
        """Load the handlers of a configuration, which refers to them within the context."""
        async with self.handlers.taking_over(compiled.handlers) as generation:
            settings = structs.replace(compiled.settings, handlers=generation)
            yield replace(compiled, settings=await self._identified(compiled, settings))

    async def _identified(self, compiled: Compiled, settings: Settings) -> Settings:
        """Put the identity of this node into settings that have tunnels."""
        if settings.tunnels is None:
            return settings
        if self._node is None:
            self._node = await asyncio.to_thread(load_identity, compiled.process.state_dir)
        return self._node.complete(settings)

    async def add_virtual_server(self, request: VirtualServerRequest) -> Done:
        """Add a virtual server. Raise `ConfigError`, a `ChangeRefused` or `StoreError`."""
        return await self._in_turn(adding, request)

    async def put_rule(self, table: str, name: str, spec: RuleSpec) -> Done:
        """Add or replace a rule. Raise a `ChangeRefused` or `StoreError`."""
        return await self._in_turn(putting_rule, table, name, spec)

    async def remove_rule(self, table: str, name: str) -> Done:
        """Remove a rule of the API. Raise a `ChangeRefused` or `StoreError`."""
        return await self._in_turn(removing_rule, table, name)

    async def put_rule_table(self, table: str, spec: TableSpec) -> Done:
        """Make the rules of the API in a table those of `spec`.

        Raise a `ChangeRefused` or `StoreError`.
        """
        return await self._in_turn(putting_table, table, spec)

    async def remove_rule_table(self, table: str) -> Done:
        """Remove a table of the API. Raise a `ChangeRefused` or `StoreError`."""
        return await self._in_turn(removing_table, table)

    async def change(self, plan: Callable[..., Step], *words: object) -> Done:
        """Make the change that `plan` computes from the state, `words` and how to resolve names.

        Raise a `ChangeRefused` or `StoreError`.
        """
        return await self._in_turn(plan, *words)

    def rehearse(self, plan: Callable[..., Step], *words: object) -> None:
        """Compute a change without making it. Raise a `ChangeRefused`."""
        plan(self.state, *words, self._resolve)

    async def remove_virtual_server(self, address: str, server_name: str) -> Done:
        """Remove a virtual server of the API. Raise a `ChangeRefused` or `StoreError`."""
        return await self._in_turn(removing, address, server_name)

    @property
    def revision(self) -> int:
        """The revision that is live."""
        return self.state.revision

    @property
    def state(self) -> State:
        """What is live; changed only by this class."""
        if self._state is None:
            raise RuntimeError("the gateway is not loaded yet")
        return self._state

    def servers(self) -> tuple[ServerView, ...]:
        """Show all virtual servers, those of the file first."""
        return server_views(self.state, self.engine)

    def server(self, ident: str) -> ServerView | None:
        """Show one virtual server."""
        return server_view(self.state, self.engine, ident)

    def status(self) -> StatusView:
        """Show the gateway as a whole."""
        uptime = time.monotonic() - self._started
        return status_view(self.state, self.engine, pid=os.getpid(), uptime_s=uptime)

    async def close(self) -> None:
        """Let the change under way end, then release the store; the engine is left to its owner."""
        await self._turns.run_unbounded(lambda _: self._store.close())
        self._thread.shutdown(wait=False)

    async def _in_turn(self, plan: Callable[..., Step], *words: object) -> Done:
        async def change(addresses: Addresses) -> Done:
            def step(state: State) -> Step:
                with addresses.complete():
                    return plan(state, *words, addresses.resolve)

            return await self._turns.run(lambda turn: self._change(turn, step))

        return await self._hosts.supply(change, self._turns.limits.deadline_s)

    async def _change(self, turn: Turn, plan: Callable[[State], Step]) -> Done:
        state = self.state
        step, ticket = await self._run(self._prepare, state, plan)
        if not step.stores:
            return Done(state.revision, changed=False)
        revision = state.revision + 1
        try:
            turn.check()
            await self._store.apply(store_changes(step), revision)
        except BaseException:
            await self._abort(ticket)
            raise
        try:
            late = await self._commit(ticket)
        except BaseException:
            await self._store.apply(undo(step), revision)
            raise
        state.take(step)
        state.revision = revision
        done = self._done(step, revision)
        if late is not None:
            raise late
        return done

    def _done(self, step: Step, revision: int) -> Done:
        for warning in step.warnings:
            self.engine.log("warn", warning)
        if step.summary:
            self.engine.log("notice", f"{step.summary}, revision {revision}")
            return Done(revision, tunnels=step.tunnels)
        changed = step.added or step.removed
        server = changed.server if changed is not None else ""
        if step.unskipped is not None and changed is None:
            record = step.unskipped.record
            server = f"{record.listener}/{record.name}"
        what = "added" if step.added is not None else "removed"
        self.engine.log("notice", f'virtual server "{server}" {what}, revision {revision}')
        return Done(revision, server)

    def _prepare(self, state: State, plan: Callable[[State], Step]) -> tuple[Step, int | None]:
        step = plan(state)
        if not step.plans:
            return step, None
        change = ChangeSet(revision=state.revision + 1, put=step.put, remove=step.remove)
        return step, self.engine.prepare(change)

    async def _load(self, compiled: Compiled) -> None:
        stored = await self._store.load()
        state, ticket = await self._run(self._prepare_load, compiled, stored)
        await self._finish(ticket, state)
        for skipped in self.skipped():
            where = f"{skipped.listener}/{skipped.name}"
            self.engine.log(
                "error", f"stored virtual server {where} is not served: {skipped.message}"
            )
        for rule in state.rules.skipped.values():
            where = f"{rule.record.table}/{rule.record.name}"
            self.engine.log("error", f"stored rule {where} is not served: {rule.message}")
        for unused in state.tunnels.skipped.values():
            where = f"{unused.record.kind} {unused.record.name}"
            self.engine.log("error", f"stored {where} is not used: {unused.message}")

    def _prepare_load(self, compiled: Compiled, stored: Stored) -> tuple[State, int]:
        """Prepare the first plan, leaving out stored servers that the engine cannot run."""
        excluded: dict[Key, str] = {}
        while True:
            state = rebuild(compiled, self._files, stored, excluded, self._resolve)
            state.revision = stored.revision + 1
            change = diff(PlanIndex(), state.index, state.revision, compiled.settings)
            try:
                return state, self.engine.prepare(change)
            except (PlanRefused, ListenRefused) as error:
                culprits = blamed(state, error)
                if not culprits:
                    raise
                excluded.update(dict.fromkeys(culprits, str(error)))

    async def _reload(self, compiled: Compiled, addresses: Addresses) -> None:
        state, ticket = await self._run(self._prepare_reload, self.state, compiled, addresses)
        await self._finish(ticket, state)

    def _prepare_reload(
        self, old: State, compiled: Compiled, addresses: Addresses
    ) -> tuple[State, int]:
        with addresses.complete():
            state = rebuild(compiled, old.files, stored_of(old), {}, addresses.resolve)
        lost = [
            f'virtual server "{item.record.name}" of {item.record.listener}, '
            f"added over the API, does not fit: {item.message}"
            for key, item in state.skipped.items()
            if key in old.dynamic
        ] + [
            f'rule "{rule.record.table}/{rule.record.name}", '
            f"added over the API, does not fit: {rule.message}"
            for rule_key, rule in state.rules.skipped.items()
            if rule_key in old.rules.records
        ]
        lost += [
            f'{unused.record.kind} "{unused.record.name}", '
            f"added over the API, does not fit: {unused.message}"
            for tunnel_key, unused in state.tunnels.skipped.items()
            if tunnel_key in old.tunnels.records
        ]
        if lost:
            raise ConfigError(Problem(message) for message in lost)
        state.revision = old.revision + 1
        settings = compiled.settings if compiled.settings != old.compiled.settings else None
        return state, self.engine.prepare(diff(old.index, state.index, state.revision, settings))

    async def _settle(self, compiled: Compiled) -> None:
        """Go over to settings and handlers; the objects of the plan stay."""
        state = copy(self.state)
        state.compiled = compiled
        state.revision += 1
        change = ChangeSet(revision=state.revision, settings=compiled.settings)
        await self._finish(await self._run(self.engine.prepare, change), state)

    async def _finish(self, ticket: int, state: State) -> None:
        try:
            await self._store.apply((), state.revision)
        except BaseException:
            await self._abort(ticket)
            raise
        await self._commit(ticket)
        self._state = state
        process = state.compiled.process
        self._turns.limits = Limits(process.pending_changes, process.change_timeout_ms / 1000)

    async def _commit(self, ticket: int | None) -> WorkerLate | None:
        """Make a prepared change live; return what a worker is late with."""
        if ticket is None:
            return None
        try:
            await self._run(self.engine.commit, ticket)
        except WorkerLate as late:
            self.engine.log("alert", str(late))
            return late
        return None

    async def _abort(self, ticket: int | None) -> None:
        if ticket is not None:
            await self._run(self.engine.abort, ticket)

    async def _run(self, function: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *args)

    def skipped(self) -> tuple[SkippedView, ...]:
        """Show the stored virtual servers that cannot be served."""
        return self.status().skipped
