"""Namespaces for the tests of this directory; they are skipped where there can be none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.harness.netns import Cable, cable, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ends() -> Iterator[Cable]:
    """Give two namespaces with a cable between them."""
    if reason := why_not():
        pytest.skip(reason)
    with cable() as ends:
        yield ends
