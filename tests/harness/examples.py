"""Runs a folder of `examples/` as it stands, on addresses of its own.

The folder is copied, and each address on loopback that it names (`listen`, `control`, peers, a
store) is replaced by one with a port from the kernel, the same one everywhere.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.clients import LOCALHOST
from tests.harness.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLES = Path(__file__).parents[2] / "examples"
_REWRITTEN = (".conf", ".py", ".json", ".toml", ".yaml")
_ADDRESS = re.compile(r"(?<![\d.])(127\.0\.0\.\d+|localhost|\[::1\]):(\d{2,5})\b")
_PAIR = re.compile(r'"(127\.0\.0\.\d+)", "(\d{2,5})"')
_OPEN = re.compile(r"\b(listen|control)(\s+)(?:(?:\*|0\.0\.0\.0|\[::\]):)?(\d{2,5})(?![\d.:-])")


@dataclass
class Example:
    """An example that runs; `gateway` is the process."""

    gateway: Gateway
    elsewhere: Mapping[str, int] = field(default_factory=dict)

    def port(self, documented: str | int) -> int:
        """Return the real port of an address (`127.0.0.1:9000`) or a port of the example."""
        name = str(documented).rpartition(":")[2]
        for address, port in self.elsewhere.items():
            if address.rpartition(":")[2] == name:
                return port
        return self.gateway.ports[name]

    def address(self, documented: str | int) -> tuple[str, int]:
        """Return the real address of one that the example names."""
        return LOCALHOST, self.port(documented)

    def rewrite(self, text: str) -> str:
        """Replace the addresses in a text of the example, such as a command of its README."""
        text = _ADDRESS.sub(lambda found: f"{found[1]}:{self.port(found[2])}", text)
        text = _PAIR.sub(lambda found: f'"{found[1]}", "{self.port(found[2])}"', text)
        return _OPEN.sub(
            lambda found: f"{found[1]}{found[2]}{LOCALHOST}:{self.port(found[3])}", text
        )


def prepare(
    name: str, folder: Path, conf: str = "qanat.conf", elsewhere: Mapping[str, int] | None = None
) -> Example:
    """Copy `examples/NAME` to `folder/NAME` with other ports; start it with `gateway.start()`.

    `conf` is its configuration; `elsewhere` gives the real ports of what the test serves itself, by
    documented address (`{"127.0.0.1:6379": redis.port}`).
    """
    gateway = Gateway(folder, conf=Path(name) / conf)
    example = Example(gateway, elsewhere or {})
    shutil.copytree(EXAMPLES / name, folder / name)
    (folder / "logs").mkdir(exist_ok=True)
    for path in (folder / name).rglob("*"):
        if path.suffix in _REWRITTEN:
            path.write_text(example.rewrite(path.read_text()))
    return example


@contextlib.contextmanager
def running(
    name: str, folder: Path, conf: str = "qanat.conf", elsewhere: Mapping[str, int] | None = None
) -> Iterator[Example]:
    """Run an example; at its end its logs are read, and an alarm in them fails the test."""
    example = prepare(name, folder, conf, elsewhere)
    try:
        example.gateway.start()
        yield example
    finally:
        example.gateway.close()
