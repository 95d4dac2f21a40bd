"""What the documentation takes from the code is what the code says now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tools import generate_docs
from tools.generate_docs import API, CONFIGURATION, HANDLERS, ROOT

from qanat.compiler.builtin import NAMES
from qanat.config.tables import AREAS, Row

if TYPE_CHECKING:
    from pathlib import Path

RESULTS = """# Measured

nginx 1.22.1 on x86_64.

| row | unit | qanat |
|---|---|---|
| TCP | byte | 1 |

## Profiles

More.
"""


@pytest.mark.parametrize("path", [CONFIGURATION, API, HANDLERS], ids=str)
def test_is_up_to_date(path: Path) -> None:
    assert (ROOT / path).read_text() == generate_docs.documents(ROOT)[path], "run make docs"


def test_every_directive_is_described() -> None:
    text = (ROOT / CONFIGURATION).read_text()
    missing = [row.name for _, rows in AREAS for row in rows if f"| `{row.name} " not in text]
    assert [name for name in missing if f"| `{name};`" not in text] == []


def test_every_variable_is_described() -> None:
    text = (ROOT / "docs/variables.md").read_text()
    assert [name for name in sorted(NAMES) if f"`${name}`" not in text] == []


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (Row("a", ("main",), (1, 1), "", flag=True), "a on | off;"),
        (Row("a", ("main",), (0, 2), ""), "a [VALUE] [VALUE];"),
        (Row("a", ("main",), (1, None), ""), "a VALUE …;"),
        (Row("a", ("main",), (2, 2), "", block="b"), "a VALUE VALUE { … }"),
    ],
)
def test_the_syntax_of_a_directive(row: Row, shown: str) -> None:
    assert generate_docs.syntax(row) == shown


def test_figures_come_from_the_results(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "docs").mkdir()
    for path in (API, generate_docs.README):
        (tmp_path / path).write_text((ROOT / path).read_text())
    (tmp_path / generate_docs.RESULTS).write_text(RESULTS)
    text = generate_docs.documents(tmp_path)[generate_docs.README]
    assert "| TCP | byte | 1 |" in text
    assert "# Measured" not in text
    assert "Profiles" not in text
    (tmp_path / generate_docs.RESULTS).unlink()
    assert "Not measured yet" in generate_docs.documents(tmp_path)[generate_docs.README]


def test_a_section_needs_its_markers() -> None:
    with pytest.raises(ValueError, match="no section"):
        generate_docs.replace_section("no markers", "measured", "text")
