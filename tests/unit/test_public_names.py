"""What users import from `qanat` itself."""

import subprocess
import sys

import pytest

import qanat
import qanat.handlers


def test_all_that_handlers_use_is_there() -> None:
    assert set(qanat.handlers.__all__) <= set(qanat.__all__)
    for name in qanat.handlers.__all__:
        assert getattr(qanat, name) is getattr(qanat.handlers, name)


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'qanat' has no attribute 'nonsense'"):
        qanat.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_importing_it_loads_nothing() -> None:
    code = "import sys, qanat; print(*(name for name in sys.modules if 'qanat' in name))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert loaded.stdout.split() == ["qanat"]
