"""Starts the gateway: the configuration and the process; `serve.py` does the rest in its loop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qanat.cli.configuration import load_configuration, log_paths, make_log_directories
from qanat.cli.messages import system_error
from qanat.cli.process import (
    PidFile,
    ProcessError,
    Readiness,
    become,
    detach,
    find_identity,
    flush_output,
    raise_descriptor_limit,
)
from qanat.config.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from qanat.cli.configuration import Loaded, Source
    from qanat.cli.messages import Messages


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How the gateway is started."""

    source: Source
    messages: Messages
    foreground: bool = False
    """Stay in front whatever the configuration says, and print what listens where."""


def run(options: RunOptions) -> int:
    """Start, serve and end; return the exit status."""
    # What is made at the start lives as long as the process: collecting it is waste.
    gc.disable()
    messages = options.messages
    try:
        loaded = load_configuration(options.source)
        messages.problems(loaded.warnings)
        readiness: Readiness | int = Readiness()
        if loaded.compiled.process.daemon and not options.foreground:
            flush_output()
            readiness = detach()
        if isinstance(readiness, int):
            return readiness
        # Imported late: a wrong configuration is refused without waiting for what serves.
        from qanat.cli.serve import Start, serve  # noqa: PLC0415 - see above

        pid_file = _set_up_process(loaded, options)
    except ConfigError as error:
        messages.problems(error.problems)
        return 1
    except ProcessError as error:
        messages.say("emerg", str(error))
        return 1
    start = Start(
        loaded=loaded,
        source=options.source,
        messages=messages,
        announce=options.foreground,
        readiness=readiness,
        pid_file=pid_file,
    )
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return _run_to_its_end(runner, serve(start), messages)
    except KeyboardInterrupt:
        # Before the signals are taken over.
        return 128 + signal.SIGINT
    finally:
        if pid_file is not None:
            pid_file.remove()


def _run_to_its_end(
    runner: asyncio.Runner, serving: Coroutine[object, object, int], messages: Messages
) -> int:
    """Run until the gateway has ended, and return its exit status.

    A task or a callback of users' code that raises `SystemExit` or `KeyboardInterrupt`, or stops
    the event loop, stops it under everybody else: they go on.
    """
    task = runner.get_loop().create_task(serving)

    async def to_its_end() -> int:
        return await task

    while True:
        try:
            return runner.run(to_its_end())
        except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
            if task.done():
                raise
            what = f"{type(error).__name__}: {error}".rstrip(": ")
            messages.say("warn", f"the event loop was stopped by a handler and goes on ({what})")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes uvloop's event loop; nothing, for asyncio's own, where it is not built."""
    try:
        import uvloop  # noqa: PLC0415 - as `serve`
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _set_up_process(loaded: Loaded, options: RunOptions) -> PidFile | None:
    """Do what must be done before the first thread. Raise `ProcessError`."""
    process = loaded.compiled.process
    try:
        raise_descriptor_limit(process.rlimit_nofile)
    except ProcessError as error:
        options.messages.say("alert", str(error))
    if process.user is not None and os.geteuid() != 0:
        user = next(loaded.tree.find("user"))
        options.messages.say(
            "warn",
            'the "user" directive makes sense only if the master process runs '
            f"with super-user privileges, ignored in {user.origin}",
        )
    identity = find_identity(process.user, process.group)
    # In front nobody looks for a pid file that was not asked for.
    wants_pid = not options.foreground or any(loaded.tree.find("pid"))
    pid_file = PidFile(process.pid) if wants_pid else None
    try:
        make_log_directories(loaded, options.source.paths.prefix)
        if identity is not None:
            from qanat.cli.preload import preload  # noqa: PLC0415 - most starts load late

            preload()
            process.state_dir.mkdir(parents=True, exist_ok=True)
            own = [process.state_dir, *process.state_dir.iterdir(), *log_paths(loaded)]
            become(identity, own if pid_file is None else [*own, process.pid])
        if process.working_directory is not None:
            os.chdir(process.working_directory)
    except (OSError, ProcessError) as error:
        if pid_file is not None:
            pid_file.remove()
        if isinstance(error, ProcessError):
            raise
        raise ProcessError(f'"{error.filename}" failed {system_error(error)}') from error
    return pid_file
