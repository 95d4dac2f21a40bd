"""Modules of handlers for a gateway under test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.harness.gateway import Gateway


def write_module(gateway: Gateway, name: str, text: str) -> None:
    """Write a module into the directory `py` beside that of the configuration."""
    folder = gateway.prefix / "py"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text)
