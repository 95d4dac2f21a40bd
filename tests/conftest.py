"""Fixtures that all tests of a running gateway share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.harness.certificates import Authority
from tests.harness.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
