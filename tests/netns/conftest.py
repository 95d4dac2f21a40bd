"""Namespaces for the tests of this directory; they are skipped where there can be none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness.netns import Cable, cable, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this directory."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.netns)


@pytest.fixture
def ends() -> Iterator[Cable]:
    """Give two namespaces with a cable between them."""
    if reason := why_not():
        pytest.skip(reason)
    with cable() as ends:
        yield ends
