"""Opens the data plane, the store and the control API, then serves until a signal ends it."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING

import qanat
from qanat.cli.check import problem_of, summary
from qanat.cli.control_api import ControlApi, ControlBindError, release
from qanat.cli.lifecycle import Lifecycle
from qanat.cli.logs import logging_to
from qanat.cli.messages import announce
from qanat.cli.sockets import addresses_in_use
from qanat.config.errors import ConfigError
from qanat.control.engine import open_engine
from qanat.control.errors import ChangeRefused, PlanRefused
from qanat.control.gateway import LiveGateway
from qanat.control.state import FileAccess
from qanat.handlers.generations import Handlers
from qanat.store.base import StoreError, StoreInUse
from qanat.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from qanat.cli.configuration import Loaded, Source
    from qanat.cli.messages import Messages
    from qanat.cli.process import PidFile, Readiness
    from qanat.control.engine import Engine, NativeEngine

_SHOWN = 5  # listeners named in the line that the start ends with


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Everything that a start needs once the process is set up."""

    loaded: Loaded
    source: Source
    messages: Messages
    announce: bool
    """Print what listens where."""
    readiness: Readiness
    pid_file: PidFile | None


async def serve(start: Start) -> int:
    """Serve; return the exit status."""
    engine = open_engine(start.loaded.compiled.process.worker_processes)
    with logging_to(engine.log):
        return await _serve(start, engine)


async def _serve(start: Start, engine: NativeEngine) -> int:
    loaded = start.loaded
    declared = start.source.declared
    hooks = None if declared is None else declared.hooks
    handlers = Handlers(engine.bridge(), engine.log, hooks)
    try:
        gateway, api = await open_live(loaded, start.source, engine, handlers)
    except asyncio.CancelledError:
        # Interrupted, perhaps by whoever does not want to wait for a function of the start.
        await stop(engine, handlers)
        raise
    except ConfigError as error:
        start.messages.problems(error.problems)
        await stop(engine, handlers)
        return 1
    except (StoreError, ChangeRefused, ControlBindError) as error:
        if isinstance(error, StoreInUse):
            # Whoever starts the same twice looks for nginx's words.
            start.messages.problems(addresses_in_use(loaded.compiled))
        text = problem_of(error) if isinstance(error, PlanRefused) else error
        start.messages.say("emerg", str(text))
        await stop(engine, handlers)
        return 1
    lifecycle = Lifecycle(gateway, api, start.source, loaded.compiled, start.pid_file)
    lifecycle.install()
    if declared is not None:
        declared.serving(lifecycle)
    if start.pid_file is not None:
        start.pid_file.write()
    engine.log("notice", f"qanat/{qanat.__version__} serves {summary(loaded)}")
    if start.announce:
        hint = "--control ADDRESS" if declared is None else 'Gateway(control="ADDRESS")'
        announce(greeting(loaded, hint))
    start.readiness.ready()
    # What the start has made stays: the collector need not look at it again.
    gc.freeze()
    gc.enable()
    await lifecycle.run()
    await handlers.stop_content()
    await api.close()
    await gateway.close()
    engine.log("notice", "exit")
    await stop(engine, handlers)
    return 0


async def stop(engine: Engine, handlers: Handlers) -> None:
    """End all sessions, then the handlers."""
    await asyncio.to_thread(engine.stop)
    await handlers.close()


async def open_live(
    loaded: Loaded, source: Source, engine: Engine, handlers: Handlers
) -> tuple[LiveGateway, ControlApi]:
    """Bind and load everything, or nothing.

    Raise `ConfigError`, a `ChangeRefused`, `StoreError` or `ControlBindError`.
    """
    process = loaded.compiled.process
    store = await SqliteStore.open(process.state_dir, process.node_name)
    files = FileAccess(source.paths)
    gateway = LiveGateway(engine, store, files, handlers=handlers)
    api = ControlApi(gateway)
    try:
        bound = api.bind(process.control)
        try:
            await gateway.load(loaded.compiled)
        except BaseException:
            release(bound)
            raise
        await api.switch(process.control, bound)
    except BaseException:
        await gateway.close()
        raise
    return gateway, api


def greeting(loaded: Loaded, hint: str) -> str:
    """Say in one line what listens where."""
    listeners = [listener.id for listener in loaded.compiled.objects.listeners]
    shown = ", ".join(listener.replace(":", " ", 1) for listener in listeners[:_SHOWN])
    if len(listeners) > _SHOWN:
        shown += f" and {len(listeners) - _SHOWN} more"
    addresses = (
        endpoint.address if endpoint.address.startswith("unix:") else f"http://{endpoint.address}"
        for endpoint in loaded.compiled.process.control
    )
    control = ", ".join(addresses) or f"off (start with {hint} to have it)"
    return f"qanat is running: listening on {shown or 'nothing yet'}; control API: {control}"
