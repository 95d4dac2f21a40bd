"""A declared gateway that is served inside somebody's event loop, without signals."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from qanat.cli.configuration import load_configuration, make_log_directories
from qanat.cli.lifecycle import Lifecycle
from qanat.cli.serve import open_live, stop
from qanat.control.engine import open_engine
from qanat.control.threads import in_daemon_thread
from qanat.handlers.generations import Handlers

if TYPE_CHECKING:
    from qanat.cli.control_api import ControlApi
    from qanat.control.engine import NativeEngine
    from qanat.control.gateway import LiveGateway
    from qanat.gateway.declarations import Declarations


@dataclass(frozen=True, slots=True)
class Running:
    """Everything that is open."""

    engine: NativeEngine
    handlers: Handlers
    gateway: LiveGateway
    api: ControlApi
    kept: ExitStack

    async def close(self) -> None:
        """End all sessions, then run the functions of the end."""
        with self.kept:
            await self.api.close()
            await self.gateway.close()
            await stop(self.engine, self.handlers)


async def open_running(declared: Declarations) -> Running:
    """Serve what is declared.

    Raise `ConfigError`, `ChangeRefused`, `ControlBindError` or `StoreError`; nothing is left open.
    """
    with ExitStack() as kept:
        source = kept.enter_context(declared.ready())
        loaded = await in_daemon_thread(partial(load_configuration, source))
        make_log_directories(loaded, source.paths.prefix)
        engine = open_engine(loaded.compiled.process.worker_processes)
        handlers = Handlers(engine.bridge(), engine.log, declared.hooks)
        try:
            gateway, api = await open_live(loaded, source, engine, handlers)
        except BaseException:
            await stop(engine, handlers)
            raise
        for warning in loaded.warnings:
            engine.log("warn", str(warning))
        declared.serving(Lifecycle(gateway, api, source, loaded.compiled))
        return Running(engine, handlers, gateway, api, kept.pop_all())
