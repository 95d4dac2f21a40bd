"""What the documentation shows works: configurations pass, commands parse, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer.main
from mypy import api

from qanat import Gateway
from qanat.cli import nginx
from qanat.cli.check import check
from qanat.cli.commands import app
from qanat.cli.configuration import Source
from qanat.config.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    page for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md") for page in ROOT.glob(pattern)
)
CONTINUED = re.compile(r"\\\n\s*")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Find the code blocks of a language, with the place of each."""
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    for page in PAGES:
        text = page.read_text()
        for found in fence.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield f"{page.relative_to(ROOT)}:{line}", found[1]


FIRST_HANDLERS = next(text for place, text in blocks("python") if "handlers.md" in place)
"""The module that the configurations of that page name."""


def commands(*programs: str) -> Iterator[tuple[str, list[str]]]:
    """Find the lines that call a program, as words."""
    for place, text in blocks("sh"):
        for line in CONTINUED.sub(" ", text).splitlines():
            program, _, rest = line.partition(" ")
            if program.rpartition("/")[2] in programs:
                yield f"{place} {line}", shlex.split(rest, comments=True)


def by_place(cases: Iterator[tuple[str, object]]) -> list[object]:
    return [pytest.param(case, id=place) for place, case in cases]


@pytest.mark.parametrize("text", by_place(blocks("nginx")))
def test_a_configuration_passes(text: str, tmp_path: Path) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_text(text)
    for name in re.findall(r"token_file=([^\s;]+)", text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("secret")
    (tmp_path / "app.py").write_text(FIRST_HANDLERS)
    loaded = check(Source(Paths.of(conf)))
    assert loaded.warnings == ()


def test_the_first_configuration_passes(tmp_path: Path) -> None:
    conf = Path(shutil.copy(ROOT / "examples/first/nginx.conf", tmp_path))
    assert check(Source(Paths.of(conf))).warnings == ()


@pytest.mark.parametrize("words", by_place(commands("qanat")))
def test_a_command_parses(words: list[str]) -> None:
    if words[0].startswith("-"):
        nginx.parse_options(words)
        return
    command = typer.main.get_command(app)
    name = "qanat"
    while isinstance(command, typer.core.TyperGroup):
        # What stands before the name of a command belongs to the group.
        context = command.make_context(name, list(words), resilient_parsing=True)
        rest = [*context._protected_args, *context.args]
        found = command.get_command(context, rest[0])
        assert found is not None, f"{name} has no command {rest[0]}"
        command, name, words = found, rest[0], rest[1:]
    command.make_context(name, list(words))


@pytest.mark.parametrize("words", by_place(commands("make")))
def test_a_target_exists(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert [word for word in words if f"\n{word}:" not in makefile] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text()) if not leads(page, link)]
    assert broken == []


def leads(page: Path, link: str) -> bool:
    if link.startswith("https:"):
        return True
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}


def test_python_passes_a_strict_type_checker(tmp_path: Path) -> None:
    for number, (_, text) in enumerate(blocks("python")):
        (tmp_path / f"example_{number}.py").write_text(text)
    output, errors, _ = api.run(["--strict", "--config-file=", str(tmp_path)])
    assert output.startswith("Success"), output + errors


@pytest.mark.parametrize("text", by_place(one for one in blocks("python") if "Gateway(" in one[1]))
def test_a_gateway_in_python_is_one_that_would_run(text: str) -> None:
    namespace: dict[str, object] = {"__name__": "example"}
    exec(compile(text, "example.py", "exec"), namespace)
    gateway = namespace.get("gateway")
    if isinstance(gateway, Gateway):
        with gateway._declared.ready() as source:
            assert check(source).warnings == ()
