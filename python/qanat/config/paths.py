"""Which directory a relative path starts from, as nginx has it: the prefix, or the directory of the main file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """`conf` is the absolute main file: its directory is the base of `include` and certificates; `prefix` of the rest."""

    prefix: Path
    conf: Path

    @classmethod
    def of(cls, conf: Path, prefix: Path | None = None) -> Paths:
        """Place a main file; without a prefix it is the directory above `conf/`, or else the file's own directory."""
        if prefix is not None:
            base = prefix.absolute()
            return cls(prefix=base, conf=base / conf)
        path = conf.absolute()
        directory = path.parent
        return cls(prefix=directory.parent if directory.name == "conf" else directory, conf=path)

    def in_prefix(self, path: str) -> Path:
        """Resolve a path of logs, pid, state or modules."""
        return self.prefix / path

    def in_conf(self, path: str) -> Path:
        """Resolve a path of an include, a certificate or a key."""
        return self.conf.parent / path
