"""Settings of a level of the configuration, and how a server inherits those of `stream`.

A setting is one row: a directive, the function that reads it, and its default. Inheritance has one
level, and a list at the inner level replaces the outer one. Reading happens once per directive,
however many servers inherit it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.units import (
    LARGEST_U32,
    parse_number,
    parse_size,
    parse_time_ms,
    parse_time_s,
)

if TYPE_CHECKING:
    from qanat.config.tree import Directive

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Read = Callable[[Compilation, "Directive"], T_co]


@dataclass(frozen=True, slots=True)
class Setting(Generic[T_co]):
    """A directive that is given at most once per level."""

    name: str
    read: Read[T_co]
    default: T_co


@dataclass(frozen=True, slots=True)
class ListSetting(Generic[T_co]):
    """Directives that add to a list; `names` share one list (`allow` and `deny`)."""

    names: tuple[str, ...]
    read: Read[T_co]

    @property
    def name(self) -> str:
        """The key of the list."""
        return self.names[0]


AnySetting = Setting[object] | ListSetting[object]


@dataclass(frozen=True, slots=True)
class Level:
    """What holds at one level: its own values over those of the level around it."""

    # The type of each value is that of the setting of its name, which Python's types cannot say.
    values: Mapping[str, Any] = field(default_factory=dict)

    def inside(self, values: Mapping[str, object]) -> Level:
        """Make the level inside this one that says `values` itself."""
        return Level({**self.values, **values})

    def get(self, setting: Setting[T]) -> T:
        """Look a setting up, or take its default."""
        value: T = self.values.get(setting.name, setting.default)
        return value

    def items(self, setting: ListSetting[T]) -> tuple[T, ...] | None:
        """Look a list up; None if neither level has any of it."""
        values: list[T] | None = self.values.get(setting.name)
        return None if values is None else tuple(values)


def by_directive(
    settings: Iterable[Setting[object] | ListSetting[object]],
) -> dict[str, AnySetting]:
    """Index settings by the directives that give them."""
    table: dict[str, AnySetting] = {}
    for setting in settings:
        names = setting.names if isinstance(setting, ListSetting) else (setting.name,)
        table.update(dict.fromkeys(names, setting))
    return table


def read_setting(
    compilation: Compilation,
    directive: Directive,
    setting: AnySetting,
    values: dict[str, object],
) -> None:
    """Read one directive into the values of its level; note what is wrong with it."""
    key = setting.name
    try:
        if isinstance(setting, ListSetting):
            value = setting.read(compilation, directive)
            cast("list[object]", values.setdefault(key, [])).append(value)
            return
        if key in values:
            raise Refused(f'"{directive.name}" directive is duplicate')
        values[key] = setting.default
        values[key] = setting.read(compilation, directive)
    except Refused as refused:
        compilation.note(directive, refused)


def flag(_: Compilation, directive: Directive) -> bool:
    """Read `on` or `off`."""
    value = directive.args[0]
    lower = value.lower()
    if lower not in {"on", "off"}:
        raise Refused(
            f'invalid value "{value}" in "{directive.name}" directive, it must be "on" or "off"'
        )
    return lower == "on"


def time_ms(_: Compilation, directive: Directive) -> int:
    """Read a time into milliseconds."""
    return _valid(directive, parse_time_ms(directive.args[0]), "value")


def time_s(_: Compilation, directive: Directive) -> int:
    """Read a time into seconds that fit 32 bits."""
    return _valid(directive, _fits_u32(parse_time_s(directive.args[0])), "value")


def size(_: Compilation, directive: Directive) -> int:
    """Read a size that fits 32 bits."""
    return _valid(directive, _fits_u32(parse_size(directive.args[0])), "value")


def positive_size(compilation: Compilation, directive: Directive) -> int:
    """Read a size of a buffer, which cannot be nothing."""
    return _valid(directive, size(compilation, directive) or None, "value")


def number(_: Compilation, directive: Directive) -> int:
    """Read a whole number that fits 32 bits."""
    return _valid(directive, _fits_u32(parse_number(directive.args[0])), "number")


def _fits_u32(value: int | None) -> int | None:
    return value if value is not None and value <= LARGEST_U32 else None


def _valid(directive: Directive, value: int | None, what: str) -> int:
    if value is None:
        raise Refused(f'"{directive.name}" directive invalid {what}')
    return value
