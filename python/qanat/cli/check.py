"""`qanat check` and nginx's `-t`: is this configuration one that would run?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.cli.configuration import (
    Loaded,
    Source,
    load_configuration,
    log_paths,
    make_log_directories,
)
from qanat.cli.messages import Messages, system_error
from qanat.cli.process import ProcessError, find_identity
from qanat.compiler.plan import ChangeSet
from qanat.config.errors import ConfigError, Problem
from qanat.control.engine import check_plan
from qanat.control.errors import PlanRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qanat.config.paths import Paths


def run_check(paths: Paths) -> int:
    """Print `FILE: ok (…)` or every problem; return the exit status."""
    messages = Messages("qanat")
    try:
        loaded = check(Source(paths))
    except ConfigError as error:
        messages.problems(error.problems)
        count = len(error.problems)
        print(f"{paths.conf}: {count} {'problem' if count == 1 else 'problems'}", flush=True)
        return 1
    messages.problems(loaded.warnings)
    print(f"{paths.conf}: ok ({summary(loaded)})", flush=True)
    return 0


def check(source: Source) -> Loaded:
    """Load a configuration, ask the data plane about it, open the logs. Raise `ConfigError`."""
    loaded = load_configuration(source)
    compiled = loaded.compiled
    problems = list(_check_user(loaded))
    if compiled.handlers:
        # Imported late, as most configurations have none; not run: that is for the start.
        from qanat.handlers.load import load  # noqa: PLC0415

        load(compiled.handlers, run_init=False)
    try:
        make_log_directories(loaded, source.paths.prefix)
        for path in log_paths(loaded):
            problems += _open_log(path)
    except OSError as error:
        problems.append(Problem(f'mkdir() "{error.filename}" failed {system_error(error)}'))
    if not problems:
        try:
            settings = compiled.settings
            if settings.tunnels is not None:
                # Keys take time to load, too. Nobody will meet this one: the node's own is made at
                # the start.
                from qanat.control.tunnel_identity import passing_identity  # noqa: PLC0415

                settings = passing_identity().complete(settings)
            check_plan(ChangeSet(revision=1, settings=settings, put=compiled.objects))
        except PlanRefused as refused:
            problems.append(problem_of(refused))
    if problems:
        raise ConfigError(problems)
    return loaded


def _check_user(loaded: Loaded) -> Iterator[Problem]:
    process = loaded.compiled.process
    try:
        find_identity(process.user, process.group)
    except ProcessError as error:
        user = next(loaded.tree.find("user"))
        yield Problem(str(error), user.file, user.line)


def _open_log(path: Path) -> Iterator[Problem]:
    try:
        path.open("ab").close()
    except OSError as error:
        yield Problem(f'open() "{path}" failed {system_error(error)}')


def summary(loaded: Loaded) -> str:
    """Count what a configuration defines."""
    objects = loaded.compiled.objects
    counts = (
        (len(objects.listeners), "listener"),
        (len(objects.servers), "virtual server"),
        (len(objects.upstreams), "upstream"),
    )
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)


def problem_of(refused: PlanRefused) -> Problem:
    """Say a refusal of the data plane as a problem at its place in the configuration."""
    file, _, line = refused.origin.rpartition(":")
    if not line.isdigit():
        return Problem(str(refused))
    return Problem(refused.reason, file, int(line))
