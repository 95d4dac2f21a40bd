"""What a command loads: whoever only tests a configuration does not wait for the web framework."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

WEB = {"fastapi", "pydantic", "starlette", "uvicorn"}
REPORT = """
import sys
sys.argv = sys.argv[1:]
try:
    {code}
finally:
    print(*sys.modules, file=sys.__stdout__)
"""


def loaded(directory: Path, code: str, *arguments: str) -> set[str]:
    """Run code in a process of its own; return the modules that it loaded."""
    script = directory / "report.py"
    script.write_text(REPORT.format(code=code))
    command = [sys.executable, str(script), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.stdout, result.stderr
    return set(result.stdout.split())


@pytest.mark.parametrize("flags", ["-v", "-V", "-h", "-t", "-s stop"])
def test_flags_of_nginx_load_no_web_framework(tmp_path: Path, flags: str) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/nginx.conf").write_text("events {}\n")
    code = "from qanat.cli.main import main; main()"
    modules = loaded(tmp_path, code, "qanat", "-p", str(tmp_path), *flags.split())
    assert "qanat.cli.nginx" in modules
    assert not modules & {*WEB, "typer", "asyncio", "cryptography"}


def test_a_start_loads_no_web_framework_before_its_control_addresses(tmp_path: Path) -> None:
    assert not loaded(tmp_path, "import qanat.cli.serve") & WEB


def test_the_application_loads_the_framework_when_its_resources_are_asked_for(
    tmp_path: Path,
) -> None:
    modules = loaded(tmp_path, "import qanat.api.app")
    assert "starlette" in modules
    assert not modules & {"fastapi", "pydantic"}
