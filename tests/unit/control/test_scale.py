"""The ten-thousandth virtual server costs what the first one did: counted in work, not in time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.harness.live import compile_text

from qanat.compiler.virtual_server import VirtualServerRequest
from qanat.config.paths import Paths
from qanat.control.rebuild import rebuild, stored_of
from qanat.control.state import FileAccess, State
from qanat.control.virtual_servers import adding, removing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

STREAM = 'stream { server { listen 22222; return "default"; } }'


def count_events(action: Callable[[], object]) -> int:
    """Count the lines of Python that an action runs: the same on any machine."""
    lines = 0

    def trace(_: FrameType, event: str, __: object) -> object:
        nonlocal lines
        lines += event == "line"
        return trace

    sys.settrace(trace)  # type: ignore[arg-type]  # the stub names a narrower type
    try:
        action()
    finally:
        sys.settrace(None)
    return lines


def add(state: State, number: int) -> None:
    request = VirtualServerRequest("0.0.0.0:22222", f"server-{number}", 'return "x";')
    state.take(adding(state, request))


def test_one_more_costs_the_same(tmp_path: Path) -> None:
    paths = Paths.of(tmp_path / "nginx.conf")
    state = State(compile_text(tmp_path, STREAM), FileAccess(paths))
    add(state, 0)  # whatever is made once is made now
    first = count_events(lambda: add(state, 1))
    gone = count_events(lambda: state.take(removing(state, "0.0.0.0:22222", "server-1")))
    for number in range(1, 3000):
        add(state, number)
    last = count_events(lambda: add(state, 3000))
    gone_last = count_events(lambda: state.take(removing(state, "0.0.0.0:22222", "server-3000")))
    assert last <= first * 1.1
    assert gone_last <= gone * 1.1
    again = rebuild(state.compiled, state.files, stored_of(state), {})
    assert again.index == state.index
    assert not again.skipped
