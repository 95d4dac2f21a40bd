"""Which directory a relative path starts from: the prefix, or that of the main file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a gateway's files are.

    `conf` is the absolute main file, and its directory the base of `include` and certificates;
    `prefix` is the base of logs, pid file and state.
    """

    prefix: Path
    conf: Path

    @classmethod
    def of(cls, conf: Path, prefix: Path | None = None) -> Paths:
        """Place a main file; the default prefix is the parent of `conf/`, or its directory."""
        if prefix is not None:
            base = prefix.absolute()
            return cls(prefix=base, conf=base / conf)
        path = conf.absolute()
        directory = path.parent
        return cls(prefix=directory.parent if directory.name == "conf" else directory, conf=path)

    def in_prefix(self, path: str) -> Path:
        """Resolve a path of logs, pid, state or modules."""
        return self.prefix / path
