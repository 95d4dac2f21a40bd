"""All directives by context, put together from one table per area."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.config.tables import (
    access,
    core,
    frame,
    handlers,
    log,
    main,
    njet,
    proxy,
    rules,
    tls,
    tunnel,
    upstream,
    variable,
)
from qanat.config.tables.row import UNCHECKED, Row

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AREAS", "BY_CONTEXT", "NAMES", "UNCHECKED", "Row"]

AREAS: tuple[tuple[str, tuple[Row, ...]], ...] = tuple(
    (area.NAME, area.ROWS)
    for area in (
        *(main, core, proxy, upstream, rules, frame),
        *(handlers, tls, access, log, variable, njet, tunnel),
    )
)
"""Tables in the order of the documentation, each with the title of its area."""


def _by_context() -> dict[str, dict[str, Row]]:
    contexts: dict[str, dict[str, Row]] = {}
    for _, rows in AREAS:
        for row in rows:
            for context in row.contexts:
                contexts.setdefault(context, {})[row.name] = row
    return contexts


BY_CONTEXT: Mapping[str, Mapping[str, Row]] = _by_context()

NAMES = frozenset(row.name for _, rows in AREAS for row in rows)
