"""A gateway that all tests of a module share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.harness.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Give a gateway with a control API; the module holds its `CONFIG`."""
    gateway = Gateway(tmp_path_factory.mktemp("served"))
    gateway.write(request.module.CONFIG)
    gateway.start_with_api()
    yield gateway
    gateway.close()
