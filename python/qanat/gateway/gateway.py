"""`Gateway`: listeners, servers, upstreams and handlers declared in Python."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any, Self

from qanat.cli.messages import Messages
from qanat.cli.run import RunOptions, run
from qanat.config.tables import BY_CONTEXT
from qanat.config.tree import Directive
from qanat.gateway.declarations import Base, Declarations
from qanat.gateway.decorators import GatewayDecorators
from qanat.gateway.place import calling_place
from qanat.gateway.running import Running, open_running
from qanat.gateway.server import Server
from qanat.gateway.upstream import Upstream
from qanat.gateway.words import directives
from qanat.handlers.hooks import HookT, Timer, TimerT, check_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike
    from types import TracebackType

    from qanat.gateway.words import Value
    from qanat.handlers import BalanceSession, Peer


class Gateway(GatewayDecorators):
    """A gateway that is declared in Python, on top of a configuration file or without one.

    `file` is a configuration file, `config` the text of one; neither is needed. `control` is an
    address for the control API, with the options of the `control` directive, or several; there is
    none by default. `state_dir` keeps virtual servers that are added over that API; without it, and
    without a file, they are forgotten at the end. `workers` is the number of threads that carry
    bytes. All other keywords are directives of `stream`, or of the main level:
    `preread_timeout="5s"`, `error_log="gateway.log"`.

    A keyword may be text, a number, True or False (`on` and `off`), an upstream, a tuple for
    several words, a list for a directive that is repeated, or a dictionary for a block. Relative
    paths start from the directory of the file, or else from the working directory. Errors of a
    configuration are reported when it is served, with the file and line of the call at fault.

    `run` serves until a signal ends it; `async with` serves inside an event loop of yours.

    Raise `TypeError` for both `file` and `config`, and for a keyword that can be no directive.
    """

    def __init__(
        self,
        file: str | PathLike[str] | None = None,
        *,
        config: str | None = None,
        control: str | Sequence[str] = (),
        state_dir: str | PathLike[str] | None = None,
        workers: int | None = None,
        **settings: Value,
    ) -> None:
        if file is not None and config is not None:
            raise TypeError("file= and config= exclude each other")
        place = calling_place()
        base = Base(file, config, state_dir, workers, place)
        self._declared = declared = Declarations(base)
        self._running: Running | None = None
        super().__init__(declared.functions, declared.stream)
        for address in [control] if isinstance(control, str) else control:
            declared.main.add(Directive("control", tuple(address.split()), *place))
        for directive in directives(settings, place):
            is_main = directive.name in BY_CONTEXT["main"]
            (declared.main if is_main else declared.stream).add(directive)

    def listen(self, *addresses: str | int, **settings: Value) -> Server:
        """Declare a virtual server on one or more addresses, as `listen` has them.

        `"127.0.0.1:9000"`, `9000`, `"[::1]:9000 ssl"`, `"127.0.0.1:53 udp"`, `"unix:/run/q.sock"`.
        With port 0 the system chooses one: see `Server.port`. Keywords are directives of `server`:
        `proxy_pass=devices`, `server_name="a.test"`, `return_="hello"`. Raise `TypeError` without
        an address, and for a keyword that can be no directive.
        """
        place = calling_place()
        if not addresses:
            raise TypeError("listen() wants an address")
        server = Server(map(str, addresses), self._declared.functions, place)
        server.extend(directives(settings, place))
        self._declared.servers.append(server)
        return server

    def upstream(
        self,
        name: str,
        *peers: str | Peer,
        balance: str | Callable[[BalanceSession], Any] | None = None,
        **settings: Value,
    ) -> Upstream:
        """Declare a group of peers: `"127.0.0.1:1001"`, `"10.0.0.1:80 weight=2"`, or `Peer`s.

        `balance` is a method, as `"least_conn"` or `"hash $remote_addr consistent"`, or the
        function that chooses a peer, which `Upstream.balance` declares as a decorator. Raise
        `ValueError` for a `Peer` with options that a `server` line does not have.
        """
        place = calling_place()
        upstream = Upstream(name, self._declared.functions, place)
        if isinstance(balance, str):
            method, *words = balance.split()
            upstream.add(Directive(method, tuple(words), *place))
        elif balance is not None:
            upstream.balance(balance)
        upstream.extend(directives(settings, place))
        upstream.add_peers(peers)
        self._declared.upstreams.append(upstream)
        return upstream

    def map(self, source: str, variable: str, values: Mapping[str, str], default: str = "") -> None:
        """Declare a variable whose value follows from another text, as the `map` directive does.

        `gateway.map("$remote_addr", "$kind", {"127.0.0.1": "local"}, default="other")`
        """
        place = calling_place()
        rows = {**values, "default": default}
        block = tuple(Directive(key, (value,), *place) for key, value in rows.items())
        self._declared.stream.add(Directive("map", (source, variable), *place, block=block))

    def remove(self, declared: Server | Upstream) -> None:
        """Take back a server or an upstream. Raise `ValueError` if it is not declared."""
        if isinstance(declared, Upstream):
            self._declared.upstreams.remove(declared)
        else:
            self._declared.servers.remove(declared)
            declared.let_go()

    def on_startup(self, function: HookT) -> HookT:
        """Have a function, or coroutine function, run once, before the first session.

        If it fails, the gateway does not start. See `qanat.on_startup`, which modules use.
        """
        self._declared.hooks.startup.append(function)
        return function

    def on_shutdown(self, function: HookT) -> HookT:
        """Have a function, or coroutine function, run once, after the last session."""
        self._declared.hooks.shutdown.append(function)
        return function

    def every(self, seconds: float, jitter: float = 0.0) -> Callable[[TimerT], TimerT]:
        """Have a function, or coroutine function, run every so many seconds.

        Each pause may be up to `jitter` seconds longer. See `qanat.every`. Raise `ValueError` for
        times that make no sense.
        """
        check_interval(seconds, jitter)

        def declare(function: TimerT) -> TimerT:
            self._declared.hooks.timers.append(Timer(function, seconds, jitter))
            return function

        return declare

    def run(self) -> None:
        """Serve until a signal ends it: SIGTERM and SIGINT at once, SIGQUIT when sessions have.

        SIGHUP reads the configuration file again, if there is one. What is printed is what
        `qanat run` prints. Raise `SystemExit` if the gateway cannot start, and `RuntimeError`
        inside a running event loop or outside of the main thread.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("gateway.run() takes signals: call it in the main thread")
        if _is_in_loop():
            raise RuntimeError(
                "gateway.run() has an event loop of its own; inside one, use `async with gateway:`"
            )
        self._refuse_twice()
        try:
            with self._declared.ready() as source:
                status = run(RunOptions(source, Messages("qanat"), foreground=True))
        finally:
            gc.unfreeze()
            gc.enable()
        if status:
            raise SystemExit(status)

    async def __aenter__(self) -> Self:
        """Serve from now on, in this event loop.

        Raise `ConfigError` with all that is wrong with what was declared, `ChangeRefused` if an
        address cannot be had, `StoreError` for `state_dir`.
        """
        self._refuse_twice()
        self._running = await open_running(self._declared)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all sessions, then everything else."""
        running, self._running = self._running, None
        if running is not None:
            await running.close()

    async def apply(self) -> None:
        """Have what was declared since, and new versions of the file, served as one change.

        Sessions go on with what they began with. Raise as `async with`, with nothing changed; what
        was refused stays declared until it is taken back with `remove`. Raise `RuntimeError` if the
        gateway is not served.
        """
        lifecycle = self._declared.lifecycle
        if lifecycle is None:
            raise RuntimeError("apply() is for a gateway that runs")
        await lifecycle.reload()

    def _refuse_twice(self) -> None:
        if self._running is not None or self._declared.lifecycle is not None:
            raise RuntimeError("this gateway runs already")


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
