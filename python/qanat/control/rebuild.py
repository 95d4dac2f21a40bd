"""A whole state from a configuration and the records of the store, at the start and at a reload.

A stored virtual server that no longer fits is set aside with the reason; the caller decides whether
that is an error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qanat.compiler.compilation import Resolve, resolve_host
from qanat.config.errors import ConfigError
from qanat.control.errors import ChangeRefused
from qanat.control.state import FileAccess, Key, Skipped, State, read_stored
from qanat.control.virtual_servers import bringing_back
from qanat.store.base import StoredServer, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qanat.compiler.compile import Compiled


def rebuild(
    compiled: Compiled,
    files: FileAccess,
    records: Iterable[StoredServer],
    excluded: Mapping[Key, str],
    resolve: Resolve = resolve_host,
) -> State:
    """Bring every record back, in order; `excluded` ones are set aside unread."""
    state = State(compiled, files)
    for record in records:
        key = (record.listener, record.name)
        reason = excluded.get(key) or _bring_back(state, record, resolve)
        if reason:
            state.skipped[key] = Skipped(record, reason)
    return state


def _bring_back(state: State, record: StoredServer, resolve: Resolve) -> str:
    """Add a stored server to the state; return why it cannot be, or nothing."""
    try:
        request, opening = read_stored(record)
        step = bringing_back(state, record.listener, request, opening, resolve)
    except (StoreError, ConfigError, ChangeRefused) as error:
        return str(error)
    added = step.added
    if added is None or added.key != (record.listener, record.name):
        return f"{request.address} is another address now"
    state.take(replace(step, added=replace(added, revision=record.revision)))
    return ""


def records_of(state: State) -> list[StoredServer]:
    """List what the store holds of a state, in the order in which it is to come back."""
    live = [dynamic.stored() for dynamic in state.dynamic.values()]
    return live + [skipped.record for skipped in state.skipped.values()]
