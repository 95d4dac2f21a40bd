"""Directives of rule tables."""

from __future__ import annotations

from qanat.config.tables.row import MANY, STREAM, Row

NAME = "Rules"

RULES = ("rules",)

ROWS = (
    Row(
        "rules",
        STREAM,
        (1, 1),
        "A table of rules that chooses an upstream, for `proxy_pass rules:NAME`.",
        block="rules",
        repeats=True,
    ),
    Row(
        "rule",
        RULES,
        (2, MANY),
        "A name; conditions `source= port= sni= alpn= starts_with= tls=`, all of which must hold, "
        "with alternatives between commas; `priority=`; then `pass=UPSTREAM`, `reject` or "
        "`reject=STATUS`.",
        repeats=True,
    ),
    Row("default", RULES, (1, 1), "What happens if no rule matches, as in a rule.", "reject"),
)
