"""What docs/behaviour.md says is shown by a test is shown by one that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/behaviour.md").read_text()
SHOWN = [line for line in TEXT.splitlines() if re.search(r"`[a-z_0-9/]+/test_[a-z_]+\.py", line)]
NAMED = re.compile(r"`(?:((?:e2e|netns|unit|soak)/[a-z_0-9/]+\.py)(?:::)?)?(test_[a-z_0-9]+)?`")


RUST = re.compile(r"`(crates/[a-z_/]+\.rs)::([a-z_0-9]+)`")


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if hasattr(node, "name")}


@pytest.mark.parametrize("line", SHOWN, ids=lambda line: line.split("|")[1].strip())
def test_its_tests_exist(line: str) -> None:
    file = None
    for found in NAMED.finditer(line.rsplit("|", 2)[1]):
        name, test = found.groups()
        file = ROOT / "tests" / name if name else file
        assert file is not None
        assert file.exists(), file
        assert test is None or test in functions(file), test


@pytest.mark.parametrize(("file", "test"), sorted(set(RUST.findall(TEXT))))
def test_its_tests_in_rust_exist(file: str, test: str) -> None:
    assert f"fn {test}(" in (ROOT / file).read_text()


def test_there_are_such_lines() -> None:
    assert len(SHOWN) > 20
