"""Who may know the extension: `control/engine.py` and `handlers/`, and nobody else.

import-linter keeps the layers; it does not see compiled modules, so this rule is kept here.
"""

import ast
from pathlib import Path

import qanat

PACKAGE = Path(qanat.__file__).parent
ALLOWED = {"control/engine.py"}


def imports_extension(source: Path) -> bool:
    """Whether a module imports `qanat._native` in any spelling."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        else:
            continue
        if "qanat._native" in names:
            return True
    return False


def test_only_the_engine_and_the_handlers_import_the_extension() -> None:
    modules = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    users = {name for name, path in modules.items() if imports_extension(path)}
    strangers = {name for name in users - ALLOWED if not name.startswith("handlers/")}
    assert strangers == set()
    assert users >= ALLOWED
