"""The main level: the process, its files, and the gateway-wide settings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import qanat
from qanat.compiler import plan
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.files import log_path
from qanat.compiler.inherit import (
    Level,
    ListSetting,
    Setting,
    by_directive,
    flag,
    number,
    read_setting,
    time_ms,
)
from qanat.compiler.log import ERROR_LOG, error_log_target
from qanat.compiler.server import not_supported
from qanat.compiler.units import parse_number
from qanat.config.tree import Directive

if TYPE_CHECKING:
    from qanat.compiler.control import ControlEndpoint
    from qanat.config.tree import Tree

_DEFAULT_ERROR_LOG = "logs/error.log"
_MOST_WORKERS = 1024


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What concerns the process rather than the plan."""

    user: str | None
    group: str | None
    daemon: bool
    master_process: bool
    pid: Path
    worker_processes: int
    rlimit_nofile: int | None
    error_log: Path | Literal["stderr"]
    state_dir: Path
    node_name: str
    cluster_name: str
    control: tuple[ControlEndpoint, ...]
    pending_changes: int
    """Changes over the API that may be in progress or waiting."""
    change_timeout_ms: int
    """The time that a change over the API has."""
    working_directory: Path | None
    env: tuple[str, ...]


def read_word(_: Compilation, directive: Directive) -> str:
    """Read a word."""
    return directive.args[0]


def read_path(compilation: Compilation, directive: Directive) -> Path | None:
    """Read a path below the prefix."""
    return Path(log_path(compilation, directive, directive.args[0]))


def read_user(_: Compilation, directive: Directive) -> tuple[str | None, str | None]:
    """Read `user NAME [GROUP]`; the group has the user's name if none is given."""
    return directive.args[0], directive.args[-1]


def read_workers(_: Compilation, directive: Directive) -> int:
    """Read `worker_processes N | auto`."""
    if directive.args[0] == "auto":
        return len(os.sched_getaffinity(0))
    workers = parse_number(directive.args[0])
    if workers is None or not 0 < workers <= _MOST_WORKERS:
        raise Refused(f'"{directive.name}" directive invalid value')
    return workers


def read_pending(compilation: Compilation, directive: Directive) -> int:
    """Read `config_req_pool_size NUMBER`; none at all would refuse every change."""
    pending = number(compilation, directive)
    if pending == 0:
        raise Refused(f'"{directive.name}" directive invalid number')
    return pending


def read_change_timeout(compilation: Compilation, directive: Directive) -> int:
    """Read `dyn_sendmsg_rpc_timeout MILLISECONDS`, or a time with its unit."""
    read = number if directive.args[0].isdigit() else time_ms
    timeout = read(compilation, directive)
    if timeout == 0:
        raise Refused(f'"{directive.name}" directive invalid value')
    return timeout


def read_limit(compilation: Compilation, directive: Directive) -> int | None:
    """Read a limit whose absence means the system's."""
    return number(compilation, directive)


DAEMON = Setting("daemon", flag, True)
MASTER_PROCESS = Setting("master_process", flag, True)
NOBODY: tuple[str | None, str | None] = (None, None)
USER = Setting("user", read_user, NOBODY)
PID: Setting[Path | None] = Setting("pid", read_path, None)
WORKER_PROCESSES = Setting("worker_processes", read_workers, 1)
RLIMIT_NOFILE: Setting[int | None] = Setting("worker_rlimit_nofile", read_limit, None)
SHUTDOWN_TIMEOUT = Setting("worker_shutdown_timeout", time_ms, 0)
WORKING_DIRECTORY: Setting[Path | None] = Setting("working_directory", read_path, None)
STATE_DIR: Setting[Path | None] = Setting("state_dir", read_path, None)
NODE_NAME = Setting("node_name", read_word, "")
CLUSTER_NAME = Setting("cluster_name", read_word, "")
PENDING_CHANGES = Setting("config_req_pool_size", read_pending, 500)
CHANGE_TIMEOUT = Setting("dyn_sendmsg_rpc_timeout", read_change_timeout, 5000)
ENV = ListSetting(("env",), read_word)
WORKER_CONNECTIONS = Setting("worker_connections", number, 512)

_SETTINGS = by_directive(
    (
        *(DAEMON, MASTER_PROCESS, USER, PID, WORKER_PROCESSES, RLIMIT_NOFILE, SHUTDOWN_TIMEOUT),
        *(WORKING_DIRECTORY, STATE_DIR, NODE_NAME, CLUSTER_NAME, ENV, ERROR_LOG),
        *(PENDING_CHANGES, CHANGE_TIMEOUT),
    )
)
_OF_EVENTS = by_directive((WORKER_CONNECTIONS,))
_OF_CONTROL_FILE = by_directive((NODE_NAME, CLUSTER_NAME, PENDING_CHANGES, CHANGE_TIMEOUT))
_ELSEWHERE = frozenset({"stream", "control", "helper", "http", "events", "tunnels"})
_WITHOUT_EFFECT = frozenset(
    {
        "load_module",
        "worker_cpu_affinity",
        "worker_priority",
        "worker_rlimit_core",
        "lock_file",
        "timer_resolution",
        "debug_points",
        "pcre_jit",
        "thread_pool",
        "ssl_object_cache_inheritable",
        "dyn_kv_conf",
        "dyn_sendmsg_conf",
        "shared_slab_pool_size",
        "privileged_agent",
    }
)
_EVENTS_WITHOUT_EFFECT = frozenset(
    {
        "use",
        "multi_accept",
        "accept_mutex",
        "accept_mutex_delay",
        "epoll_events",
        "worker_aio_requests",
    }
)


def read_main(compilation: Compilation, tree: Tree) -> Level:
    """Read the main level and its `events`; warn about every server of an `http` block."""
    values: dict[str, object] = {}
    for directive in tree.directives:
        setting = _SETTINGS.get(directive.name)
        if setting is not None:
            read_setting(compilation, directive, setting, values)
        elif directive.name == "events":
            _read_events(compilation, directive, values)
        elif directive.name == "http":
            _warn_about_http(compilation, directive)
        elif directive.name not in _ELSEWHERE and directive.name not in _WITHOUT_EFFECT:
            compilation.refuse(directive, not_supported(directive))
    return Level(values)


def _read_events(compilation: Compilation, events: Directive, values: dict[str, object]) -> None:
    for directive in events.block or ():
        setting = _OF_EVENTS.get(directive.name)
        if setting is not None:
            read_setting(compilation, directive, setting, values)
        elif directive.name not in _EVENTS_WITHOUT_EFFECT:
            compilation.refuse(directive, not_supported(directive))


def _warn_about_http(compilation: Compilation, http: Directive) -> None:
    for directive in http.block or ():
        if directive.name == "server":
            place = Directive("server", (), "", 0)
            message = f"http server at {directive.origin} is parsed and not served"
            compilation.warn(place, message)


def read_control_file(compilation: Compilation, control: Tree | None) -> Level:
    """Read the names and limits in the control file; those of the main file come first."""
    values: dict[str, object] = {}
    for directive in control.directives if control is not None else ():
        setting = _OF_CONTROL_FILE.get(directive.name)
        if setting is not None:
            read_setting(compilation, directive, setting, values)
    return Level(values)


def error_logs(
    compilation: Compilation, level: Level, default: str | None
) -> tuple[plan.ErrorLog, ...]:
    """Name the main error logs; without any, `default` (as from `-e`) or nginx's place."""
    given = level.items(ERROR_LOG)
    if given:
        return given
    place = Directive("error_log", (), "", 0)
    return (
        plan.ErrorLog(target=error_log_target(compilation, place, default or _DEFAULT_ERROR_LOG)),
    )


def make_settings(
    compilation: Compilation, level: Level, logs: tuple[plan.ErrorLog, ...]
) -> plan.Settings:
    """Make the gateway-wide settings."""
    return plan.Settings(
        node_name=level.get(NODE_NAME),
        hostname=compilation.world.hostname,
        version=qanat.__version__,
        error_log=logs,
        worker_connections=level.get(WORKER_CONNECTIONS),
        shutdown_timeout_ms=level.get(SHUTDOWN_TIMEOUT),
    )


def make_process(
    compilation: Compilation,
    level: Level,
    logs: tuple[plan.ErrorLog, ...],
    control: tuple[ControlEndpoint, ...],
) -> ProcessSettings:
    """Make the settings of the process."""
    user, group = level.get(USER)
    prefix = compilation.world.paths.prefix
    return ProcessSettings(
        user=user,
        group=group,
        daemon=level.get(DAEMON),
        master_process=level.get(MASTER_PROCESS),
        pid=level.get(PID) or prefix / "logs/nginx.pid",
        worker_processes=level.get(WORKER_PROCESSES),
        rlimit_nofile=level.get(RLIMIT_NOFILE),
        error_log=_first_error_log(logs),
        state_dir=level.get(STATE_DIR) or prefix / "state",
        node_name=level.get(NODE_NAME),
        cluster_name=level.get(CLUSTER_NAME),
        control=control,
        pending_changes=level.get(PENDING_CHANGES),
        change_timeout_ms=level.get(CHANGE_TIMEOUT),
        working_directory=level.get(WORKING_DIRECTORY),
        env=level.items(ENV) or (),
    )


def _first_error_log(logs: tuple[plan.ErrorLog, ...]) -> Path | Literal["stderr"]:
    target = logs[0].target
    return "stderr" if target.kind == "stderr" else Path(target.path[0][1])
