"""What a program declares, as the tree of directives that a file would be read into."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qanat.cli.configuration import Source
from qanat.config.check import check
from qanat.config.errors import ConfigError, Problem
from qanat.config.parse import parse_file, parse_text
from qanat.config.paths import Paths
from qanat.config.tree import Directive, Tree
from qanat.gateway.phases import Block, Functions
from qanat.handlers.hooks import Hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from os import PathLike

    from qanat.cli.lifecycle import Lifecycle
    from qanat.gateway.place import Place
    from qanat.gateway.server import Server
    from qanat.gateway.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Base:
    """What a gateway is declared on top of, and its process."""

    file: str | PathLike[str] | None
    text: str | None
    state_dir: str | PathLike[str] | None
    workers: int | None
    place: Place


class Declarations:
    """Implements `qanat.cli.configuration.Declared`."""

    def __init__(self, base: Base) -> None:
        self.main = Block()
        self.stream = Block()
        self.upstreams: list[Upstream] = []
        self.servers: list[Server] = []
        self.functions = Functions()
        self.hooks = Hooks()
        self.lifecycle: Lifecycle | None = None
        """What the gateway is served by, while it is."""
        self._base = base
        self._state_dir: str | None = None

    def named_functions(self) -> Mapping[str, Callable[..., object]]:
        """Give the handlers by the names that the tree has for them."""
        return dict(self.functions.by_name)

    @contextlib.contextmanager
    def ready(self) -> Iterator[Source]:
        """Have a place for the state, and at the end forget what was served."""
        with contextlib.ExitStack() as kept:
            if self._base.state_dir is not None:
                self._state_dir = str(Path(self._base.state_dir).absolute())
            elif self._base.file is None:
                directory = tempfile.TemporaryDirectory(prefix="qanat-")
                self._state_dir = kept.enter_context(directory)
            try:
                yield self._source()
            finally:
                self.lifecycle = None
                for server in self.servers:
                    server.closed()

    def serving(self, lifecycle: Lifecycle) -> None:
        """Note that what was declared is served now."""
        self.lifecycle = lifecycle
        for server in self.servers:
            server.opened()

    def read(self, paths: Paths) -> Tree:
        """Make the whole tree. Raise `ConfigError`."""
        tree = self._read_base(paths)
        stream = next(tree.find("stream"), None)
        block = (*(stream.block or () if stream is not None else ()), *self._stream())
        place = self._base.place
        whole = Directive("stream", (), *place) if stream is None else stream
        others = (one for one in tree.directives if one is not stream)
        directives = (*others, *self._main(tree), replace(whole, block=block))
        problems = [one for one in check(directives, "main") if one.level == "emerg"]
        if problems:
            raise ConfigError(problems)
        return replace(tree, directives=directives)

    def _source(self) -> Source:
        file = self._base.file
        here = Path.cwd()
        paths = Paths(here, here / "program") if file is None else Paths.of(Path(file))
        return Source(paths, error_log="stderr", workers=self._base.workers, declared=self)

    def _read_base(self, paths: Paths) -> Tree:
        if self._base.file is not None:
            return parse_file(paths)
        text = self._base.text or ""
        file, line = self._base.place
        source = f"config of {file}:{line}"
        return Tree(parse_text(text, source, "main", include_base=paths.conf.parent))

    def _main(self, tree: Tree) -> Iterator[Directive]:
        yield from self.main.directives
        is_given = self._base.state_dir is not None or not any(tree.find("state_dir"))
        if self._state_dir is not None and is_given:
            yield Directive("state_dir", (self._state_dir,), *self._base.place)

    def _stream(self) -> Iterator[Directive]:
        yield from self.stream.directives
        for upstream in self.upstreams:
            yield upstream.directive()
        for server in self.servers:
            try:
                yield server.directive()
            except OSError as error:
                message = f"no port can be had ({error.errno}: {error.strerror})"
                raise ConfigError([Problem(message, *server.place)]) from error
