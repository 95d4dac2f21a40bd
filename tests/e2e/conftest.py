"""Tests of a running gateway: the mark of all of them, and a gateway that a module shares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this directory."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="module")
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Give one gateway with a control API to all tests of a module, which holds its `CONFIG`."""
    gateway = Gateway(tmp_path_factory.mktemp("served"))
    gateway.write(request.module.CONFIG)
    gateway.start_with_api()
    yield gateway
    gateway.close()
