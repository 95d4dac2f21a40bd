"""nginx's command line: its flags, its words, its exit statuses."""

# ruff: noqa: PLC0415 - what only shows a version or signals a process does not wait for the rest

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import qanat
from qanat.cli.messages import Messages
from qanat.config.errors import ConfigError
from qanat.config.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qanat.cli.configuration import Source

PROGRAM = "nginx"
_MODULES = "--with-stream --with-stream_ssl_module --with-stream_ssl_preread_module"
_MISSING = {
    "p": "directory name",
    "e": "file name",
    "c": "file name",
    "g": "parameter",
    "s": "parameter",
}
_SIGNALS = ("stop", "quit", "reopen", "reload")
USAGE = """\
Usage: qanat [-?hvVtTq] [-s signal] [-p prefix]
             [-e filename] [-c filename] [-g directives]

Options:
  -?,-h         : print this text and end
  -v            : print the version and end
  -V            : print the version and what was built in, and end
  -t            : test the configuration and end
  -T            : test the configuration, print it, and end
  -q            : print errors alone while testing
  -s signal     : signal the running process: stop, quit, reopen, reload
  -p prefix     : directory that relative paths start from (default: that of the main file,
                  or its parent if it is named conf)
  -e filename   : error log used until the configuration names one ("stderr" for none)
  -c filename   : main file (default: conf/nginx.conf)
  -g directives : main directives put before the file

`qanat --help` shows the commands that are not nginx's.
"""


class UsageError(Exception):
    """An option that nginx refuses, in its words."""


@dataclass(slots=True)
class Options:
    """What the flags say."""

    prefix: str | None = None
    conf: str = "conf/nginx.conf"
    error_log: str | None = None
    global_directives: str = ""
    signal: str | None = None
    test: bool = False
    dump: bool = False
    quiet: bool = False
    version: bool = False
    configure: bool = False
    usage: bool = False

    @property
    def paths(self) -> Paths:
        """Place the files that the flags name."""
        return Paths.of(Path(self.conf), None if self.prefix is None else Path(self.prefix))


def main(arguments: Sequence[str]) -> int:
    """Do what nginx would do with these arguments; return the exit status."""
    try:
        options = parse_options(arguments)
    except UsageError as error:
        Messages(PROGRAM).plain(str(error))
        return 1
    if options.version or options.usage or options.configure:
        sys.stderr.write(_version(options))
        if not options.test:
            return 0
    if options.test:
        return _test(options)
    if options.signal is not None:
        return _signal(options)
    return _start(options)


def parse_options(arguments: Sequence[str]) -> Options:
    """Read flags as nginx does: bundled, values attached or apart. Raise `UsageError`."""
    options = Options()
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            raise UsageError(f'invalid option: "{argument}"')
        letters = argument[1:]
        for position, letter in enumerate(letters):
            if letter in _MISSING:
                value = letters[position + 1 :] or next(rest, "")
                if not value:
                    raise UsageError(f'option "-{letter}" requires {_MISSING[letter]}')
                _set_value(options, letter, value)
                break
            _set_flag(options, letter)
    return options


def _set_value(options: Options, letter: str, value: str) -> None:
    match letter:
        case "p":
            options.prefix = value
        case "c":
            options.conf = value
        case "e":
            options.error_log = value
        case "g":
            options.global_directives = value
        case _:
            if value not in _SIGNALS:
                raise UsageError(f'invalid option: "-s {value}"')
            options.signal = value


def _set_flag(options: Options, letter: str) -> None:
    match letter:
        case "?" | "h":
            options.usage = True
        case "v":
            options.version = True
        case "V":
            options.configure = True
        case "t":
            options.test = True
        case "T":
            options.test = options.dump = True
        case "q":
            options.quiet = True
        case _:
            raise UsageError(f'invalid option: "{letter}"')


def _version(options: Options) -> str:
    text = f"nginx version: qanat/{qanat.__version__}\n"
    if options.usage:
        text += USAGE
    if options.configure:
        python = sys.version.split(maxsplit=1)[0]
        text += f"built with rustls and Python {python}\nTLS SNI support enabled\n"
        text += f"configure arguments: {_MODULES}\n"
    return text


def _source(options: Options) -> Source:
    from qanat.cli.configuration import Source

    # nginx logs to a file of its own choice if nothing is said; where that is differs by package.
    return Source(options.paths, options.global_directives, options.error_log or "logs/error.log")


def _messages(options: Options) -> Messages:
    if options.error_log in {None, "stderr"}:
        return Messages(PROGRAM)
    return Messages(PROGRAM, options.paths.in_prefix(options.error_log or ""))


def _test(options: Options) -> int:
    from qanat.cli.check import check
    from qanat.cli.sockets import try_listeners
    from qanat.config.format import dump

    messages = _messages(options)
    conf = options.paths.conf
    try:
        loaded = check(_source(options))
    except ConfigError as error:
        messages.problems(error.problems)
        messages.plain(f"configuration file {conf} test failed")
        return 1
    messages.problems(loaded.warnings)
    if not options.quiet:
        messages.plain(f"the configuration file {conf} syntax is ok")
    problems = tuple(try_listeners(loaded.compiled))
    if problems:
        messages.problems(problems)
        messages.plain(f"configuration file {conf} test failed")
        return 1
    if not options.quiet:
        messages.plain(f"configuration file {conf} test is successful")
    if options.dump:
        text = dump(loaded.tree) + (dump(loaded.control) if loaded.control else "")
        sys.stdout.buffer.write(text.encode(errors="surrogateescape"))
        sys.stdout.flush()
    return 0


def _signal(options: Options) -> int:
    from qanat.cli.configuration import pid_path
    from qanat.cli.process import ProcessError, send_signal
    from qanat.config.parse import parse_file

    messages = _messages(options)
    try:
        tree = parse_file(options.paths, options.global_directives)
    except ConfigError as error:
        messages.problems(error.problems)
        return 1
    try:
        send_signal(options.signal or "", pid_path(tree, options.paths))
    except ProcessError as failed:
        messages.plain(str(failed))
        return 1
    return 0


def _start(options: Options) -> int:
    from qanat.cli.run import RunOptions, run

    return run(RunOptions(_source(options), _messages(options)))
