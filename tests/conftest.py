"""Marks, and fixtures that all tests of a running gateway share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness.certificates import Authority
from tests.harness.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
MARKED = ("e2e", "netns")
"""Directories whose tests bear their name as a mark."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their directory."""
    for item in items:
        for name in MARKED:
            if item.path.is_relative_to(HERE / name):
                item.add_marker(name)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Give a gateway to configure and start; at the end it is stopped and its logs are read."""
    gateway = Gateway(tmp_path)
    yield gateway
    gateway.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Give an authority whose certificates lie beside the configuration."""
    return Authority(tmp_path / "conf")
