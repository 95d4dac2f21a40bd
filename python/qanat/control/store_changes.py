"""What a step writes to the store, and what takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.store.base import (
    Change,
    DeleteRule,
    DeleteServer,
    DeleteTunnel,
    PutRule,
    PutServer,
    PutTunnel,
    StoredRule,
    StoredTunnel,
)

if TYPE_CHECKING:
    from qanat.control.rule_state import RuleKey
    from qanat.control.state import Step
    from qanat.control.tunnel_state import TunnelKey


def store_changes(step: Step) -> tuple[Change, ...]:
    """List what a step writes."""
    changes: list[Change] = [_rule(change.key, change.after) for change in step.rules]
    changes += [_tunnel(change.key, change.after) for change in step.tunnels]
    if step.unskipped is not None:
        record = step.unskipped.record
        changes.append(DeleteServer(record.listener, record.name))
    if step.removed is not None:
        changes.append(DeleteServer(*step.removed.key))
    if step.added is not None:
        changes.append(PutServer(step.added.stored()))
    return tuple(changes)


def undo(step: Step) -> tuple[Change, ...]:
    """List what takes back what a step has written."""
    changes: list[Change] = [_rule(change.key, change.before) for change in step.rules]
    changes += [_tunnel(change.key, change.before) for change in step.tunnels]
    if step.added is not None:
        changes.append(DeleteServer(*step.added.key))
    if step.removed is not None:
        changes.append(PutServer(step.removed.stored()))
    if step.unskipped is not None:
        changes.append(PutServer(step.unskipped.record))
    return tuple(changes)


def _rule(key: RuleKey, record: StoredRule | None) -> Change:
    return DeleteRule(*key) if record is None else PutRule(record)


def _tunnel(key: TunnelKey, record: StoredTunnel | None) -> Change:
    return DeleteTunnel(*key) if record is None else PutTunnel(record)
