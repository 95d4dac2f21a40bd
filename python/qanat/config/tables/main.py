"""Directives outside `stream`: the process, its files, its events, and the control API."""

from __future__ import annotations

from qanat.config.tables.row import EVENTS, MAIN, MANY, UNCHECKED, Row, flag

NAME = "Process and control"

ROWS = (
    flag(
        "daemon",
        MAIN,
        "Go to the background after the start; `qanat run` always stays in front.",
        "on",
    ),
    flag(
        "master_process", MAIN, "Accepted for compatibility: there is one process either way.", "on"
    ),
    Row(
        "worker_processes",
        MAIN,
        (1, 1),
        "Number of worker threads, or `auto` for one per CPU.",
        "1",
    ),
    Row("worker_cpu_affinity", MAIN, (1, MANY), "Accepted for compatibility, without effect."),
    Row("worker_priority", MAIN, (1, 1), "Accepted for compatibility, without effect.", "0"),
    Row(
        "worker_rlimit_nofile", MAIN, (1, 1), "Limit of open file descriptors, raised at the start."
    ),
    Row("worker_rlimit_core", MAIN, (1, 1), "Accepted for compatibility, without effect."),
    Row(
        "worker_shutdown_timeout",
        MAIN,
        (1, 1),
        "Time that sessions have to end after a graceful stop began; without it there is no limit.",
    ),
    Row("working_directory", MAIN, (1, 1), "Directory that the process changes to."),
    Row(
        "user", MAIN, (1, 2), "User, and group, that the process runs as; only root may change it."
    ),
    Row("pid", MAIN, (1, 1), "File that holds the process id.", "logs/nginx.pid"),
    Row("lock_file", MAIN, (1, 1), "Accepted for compatibility, without effect."),
    Row(
        "error_log",
        ("main", "stream", "server", "tunnels"),
        (1, 2),
        "File or `stderr` for messages, and the least level written: debug, info, notice, warn, "
        "error, crit, alert or emerg.",
        "logs/error.log error",
        repeats=True,
    ),
    Row("env", MAIN, (1, 1), "Accepted for compatibility: the environment is kept.", repeats=True),
    Row(
        "include",
        ("main", "events", "stream", "server", "upstream"),
        (1, 1),
        "Read a file, or all files that a pattern matches, in this place; relative to the "
        "directory of the main file.",
        repeats=True,
    ),
    Row(
        "load_module",
        MAIN,
        (1, 1),
        "Recognised by its name and never loaded: NJet's stream modules are built in.",
        repeats=True,
    ),
    Row("timer_resolution", MAIN, (1, 1), "Accepted for compatibility, without effect."),
    Row("debug_points", MAIN, (1, 1), "Accepted for compatibility, without effect."),
    flag("pcre_jit", MAIN, "Accepted for compatibility, without effect."),
    Row("thread_pool", MAIN, (2, 3), "Accepted for compatibility, without effect.", repeats=True),
    Row("ssl_engine", MAIN, (1, 1), "Cryptographic hardware.", planned=True),
    flag(
        "ssl_object_cache_inheritable",
        MAIN,
        "Accepted for compatibility: a reload reads again only certificates that changed.",
        "on",
    ),
    Row("google_perftools_profiles", MAIN, (1, 1), "Profiles of the process.", planned=True),
    Row("mgmt", MAIN, (0, 0), "Licence reporting.", block=UNCHECKED, planned=True),
    Row("license_token", MAIN, (1, 1), "Licence.", planned=True),
    Row("mail", MAIN, (0, 0), "Mail proxying.", block=UNCHECKED, planned=True),
    Row("events", MAIN, (0, 0), "Settings of the event loop.", block="events"),
    Row(
        "http",
        MAIN,
        (0, 0),
        "Parsed and not served, except for the control file of NJet.",
        block=UNCHECKED,
    ),
    Row("stream", MAIN, (0, 0), "Everything about streams: TCP, TLS and UDP.", block="stream"),
    Row(
        "worker_connections",
        EVENTS,
        (1, 1),
        "Most connections of one worker, both sides counted.",
        "512",
    ),
    Row("use", EVENTS, (1, 1), "Accepted for compatibility, without effect."),
    flag("multi_accept", EVENTS, "Accepted for compatibility, without effect."),
    flag("accept_mutex", EVENTS, "Accepted for compatibility, without effect."),
    Row(
        "accept_mutex_delay", EVENTS, (1, 1), "Accepted for compatibility, without effect.", "500ms"
    ),
    Row(
        "debug_connection",
        EVENTS,
        (1, 1),
        "Debug messages of some clients only.",
        repeats=True,
        planned=True,
    ),
    Row("epoll_events", EVENTS, (1, 1), "Accepted for compatibility, without effect.", "512"),
    Row("worker_aio_requests", EVENTS, (1, 1), "Accepted for compatibility, without effect.", "32"),
    Row(
        "control",
        MAIN,
        (1, 4),
        "Address of the control API: `ADDRESS:PORT` or `unix:PATH`, then `token_file=PATH` or "
        "`token_env=NAME`; `insecure` does without a token on an address that others can reach.",
        repeats=True,
    ),
    Row("state_dir", MAIN, (1, 1), "Directory of the store of live changes.", "state"),
)
