"""What signals do to a running gateway: reload, drain, stop, reopen logs."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from typing import TYPE_CHECKING

from qanat.cli.check import problem_of
from qanat.cli.configuration import Source, load_configuration, make_log_directories
from qanat.cli.control_api import ControlApi, ControlBindError, release
from qanat.cli.process import PidFile, ProcessError
from qanat.config.errors import ConfigError
from qanat.control.errors import ChangeRefused, PlanRefused
from qanat.control.threads import in_daemon_thread
from qanat.store.base import StoreError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from qanat.compiler.compile import Compiled
    from qanat.compiler.control import ControlEndpoint
    from qanat.control.gateway import LiveGateway

_HANDLED = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_ACTIONS = {
    signal.SIGHUP: "reconfiguring",
    signal.SIGQUIT: "shutting down",
    signal.SIGTERM: "exiting",
    signal.SIGINT: "exiting",
    signal.SIGUSR1: "reopening logs",
}
_FIXED = ("worker_processes", "state_dir", "user", "group")
_PATIENCE_S = 5.0  # for a reload to end, or to take back what it has begun
_POLL_S = 0.02  # how often a drain looks whether sessions are left


class Lifecycle:
    """Carries signals out until one of them ends the gateway."""

    def __init__(
        self,
        gateway: LiveGateway,
        api: ControlApi,
        source: Source,
        compiled: Compiled,
        pid_file: PidFile | None = None,
    ) -> None:
        self._gateway = gateway
        self._api = api
        self._source = source
        self._log: Callable[[str, str], None] = gateway.engine.log
        self._signals: asyncio.Queue[signal.Signals | None] = asyncio.Queue()
        self._compiled = compiled
        self._pid_file = pid_file
        self._reload_wanted = False
        self._reloading = asyncio.Lock()
        self._reload: asyncio.Task[None] | None = None
        self._drain: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Take the signals over from Python's defaults."""
        loop = asyncio.get_running_loop()
        for number in _HANDLED:
            loop.add_signal_handler(number, self._signals.put_nowait, number)
        # Their default would end the process; nginx's meaning has none here.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.signal(signal.SIGWINCH, signal.SIG_IGN)

    async def run(self) -> None:
        """Serve until a signal ends it, or the drain that one began is over."""
        while (number := await self._signals.get()) is not None:
            name = signal.Signals(number).name
            message = f"signal {int(number)} ({name}) received, {_ACTIONS[number]}"
            self._log("notice", message)
            if number in {signal.SIGTERM, signal.SIGINT}:
                break
            if number == signal.SIGUSR1:
                self._reopen_logs()
            elif number == signal.SIGHUP:
                self._begin_reload()
            elif self._drain is None:
                self._drain = asyncio.create_task(self._run_drain())
        await _ended([task for task in (self._reload, self._drain) if task is not None])

    def _reopen_logs(self) -> None:
        self._log("notice", "reopening logs")
        try:
            self._gateway.engine.reopen_logs()
        except OSError as error:
            self._log("emerg", f"reopening logs failed: {error}")

    def _begin_reload(self) -> None:
        # One at a time; signals that come meanwhile are worth one more: the file may have changed.
        self._reload_wanted = True
        if self._drain is None and (self._reload is None or self._reload.done()):
            self._reload = asyncio.create_task(self._run_reloads())

    async def _run_reloads(self) -> None:
        while self._reload_wanted:
            self._reload_wanted = False
            self._log("notice", "reconfiguring")
            try:
                await self.reload()
            except ConfigError as error:
                for problem in error.problems:
                    self._log("emerg", str(problem))
            except PlanRefused as error:
                self._log("emerg", str(problem_of(error)))
            except (ChangeRefused, StoreError, ControlBindError, ProcessError) as error:
                self._log("emerg", str(error))
            except Exception as error:
                # Whatever it is, the gateway goes on with what it has, and the log says so.
                self._log("emerg", f"reconfiguring failed: {type(error).__name__}: {error}")
            else:
                self._log("notice", "reconfigured")

    async def reload(self) -> None:
        """Go over to the configuration as it is now; one at a time.

        Raise `ConfigError`, a `ChangeRefused`, `StoreError`, `ControlBindError` or `ProcessError`,
        with nothing changed.
        """
        async with self._reloading:
            await self._reload_once()

    async def _reload_once(self) -> None:
        # It may look names up: an end is not to wait for it.
        loaded = await in_daemon_thread(partial(load_configuration, self._source))
        make_log_directories(loaded, self._source.paths.prefix)
        for warning in loaded.warnings:
            self._log("warn", str(warning))
        compiled = loaded.compiled
        endpoints = compiled.process.control
        pid_file = self._new_pid_file(loaded.compiled.process.pid)
        bound: dict[ControlEndpoint, socket.socket] = {}
        try:
            bound = self._api.bind(endpoints)
            await self._gateway.reload(compiled)
        except BaseException:
            release(bound)
            if pid_file is not None:
                pid_file.remove()
            raise
        if self._pid_file is not None and pid_file is not None:
            self._pid_file.move_to(pid_file)
        self._warn_of_restart(compiled)
        self._compiled = compiled
        await self._api.switch(endpoints, bound)
        if self._source.declared is not None:
            self._source.declared.serving(self)

    def _new_pid_file(self, path: Path) -> PidFile | None:
        """Open the pid file of a new configuration, if it is another one. Raise `ProcessError`."""
        if self._pid_file is None or self._pid_file.path == path:
            return None
        return PidFile(path)

    def _warn_of_restart(self, compiled: Compiled) -> None:
        before, after = self._compiled.process, compiled.process
        for name in _FIXED:
            if getattr(before, name) != getattr(after, name):
                self._log("warn", f'a new "{name}" takes effect at the next start')

    async def _run_drain(self) -> None:
        """Drain, then end `run`."""
        try:
            await self._drained()
        finally:
            self._signals.put_nowait(None)

    async def _drained(self) -> None:
        """Stop accepting, and wait for the sessions as long as `worker_shutdown_timeout` allows."""
        self._log("notice", "gracefully shutting down")
        if self._reload is not None and not self._reload.done():
            # It was asked for first.
            await asyncio.wait({self._reload}, timeout=_PATIENCE_S)
        engine = self._gateway.engine
        engine.drain()
        await self._api.close()
        loop = asyncio.get_running_loop()
        timeout_ms = self._compiled.settings.shutdown_timeout_ms
        end = loop.time() + timeout_ms / 1000 if timeout_ms else None
        while engine.sessions() > 0:
            if end is not None and loop.time() >= end:
                self._log("info", "shutdown timeout")
                break
            await asyncio.sleep(_POLL_S)


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks, and let them take back what they have begun."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_PATIENCE_S)
