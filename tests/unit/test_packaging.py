"""What a built package holds: maturin leaves out what lies behind a link unless it is named."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_files_behind_links_are_included() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["maturin"]
    included = {path for pattern in settings["include"] for path in ROOT.glob(pattern)}
    links = [path for path in (ROOT / "python/qanat").rglob("*") if path.is_symlink()]
    behind = {file for link in links for file in (link.iterdir() if link.is_dir() else [link])}
    assert len(behind) == 5
    assert behind <= included
