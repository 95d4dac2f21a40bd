"""Gateways that all tests of a module share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.harness.forwarding import clear
from tests.harness.gateway import Gateway
from tests.harness.tunnels import Node, new_secret, start_node, stop_node

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


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """Give two gateways that can have tunnels to each other."""
    secret, folder = new_secret(), tmp_path_factory.mktemp("tunnels")
    a, b = (start_node(folder / name, name, secret) for name in "ab")
    yield a, b
    stop_node(a)
    stop_node(b)


@pytest.fixture
def pair(nodes: tuple[Node, Node]) -> Iterator[tuple[Node, Node]]:
    """Give both, and remove what a test has added."""
    yield nodes
    clear(*nodes)
