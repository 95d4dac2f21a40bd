"""A configuration in a directory of its own: from text to plan objects, or to its problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from qanat.compiler.compile import Compiled, compile_config
from qanat.compiler.virtual_server import Scope
from qanat.config.errors import ConfigError
from qanat.config.parse import parse_file
from qanat.config.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOSTS = {
    "db.test": ["192.0.2.1", "192.0.2.2"],
    "six.test": ["2001:db8::1"],
    "localhost": ["127.0.0.1"],
}


def resolve(host: str) -> Sequence[str]:
    """Look a name up in `HOSTS`."""
    if host not in HOSTS:
        raise OSError(host)
    return HOSTS[host]


@dataclass(frozen=True)
class Site:
    """A prefix with a configuration in it."""

    prefix: Path

    @property
    def paths(self) -> Paths:
        return Paths(self.prefix, self.prefix / "conf" / "q.conf")

    def compile(self, text: str) -> Compiled:
        """Compile a whole file."""
        self.paths.conf.write_text(text)
        return compile_config(parse_file(self.paths), self.paths, resolve=resolve)

    def stream(self, text: str) -> Compiled:
        """Compile the inside of a stream block, which starts at line 1."""
        return self.compile(f"events {{}} stream {{ {text} }}")

    def problems(self, text: str) -> list[str]:
        """Compile the inside of a stream block that is wrong, and list what is."""
        with pytest.raises(ConfigError) as caught:
            self.stream(text)
        return [self._shown(str(problem)) for problem in caught.value.problems]

    def warnings(self, text: str) -> list[str]:
        """Compile the inside of a stream block and list the warnings."""
        return [self._shown(str(problem)) for problem in self.stream(text).warnings]

    def _shown(self, message: str) -> str:
        return message.replace(str(self.prefix), "PREFIX").replace("PREFIX/conf/q.conf", "q.conf")

    def scope(self, text: str = "server { listen 22222 mesh; return x; }") -> Scope:
        """Compile the inside of a stream block as what virtual servers are added to."""
        compiled = self.stream(text)
        return Scope(
            paths=self.paths,
            variables={variable.name for variable in compiled.objects.variables},
            formats={one.name for one in compiled.objects.formats},
            upstreams=compiled.upstream_names,
            listeners={one.id: one for one in compiled.objects.listeners},
            defaults=compiled.defaults,
            hostname="gate",
            resolve=resolve,
        )
