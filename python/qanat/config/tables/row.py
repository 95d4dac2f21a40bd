"""What a row of a directive table says: checks and documentation are made from rows."""

from __future__ import annotations

from dataclasses import dataclass

MAIN = ("main",)
EVENTS = ("events",)
STREAM = ("stream",)
SERVER = ("server",)
UPSTREAM = ("upstream",)
STREAM_SERVER = ("stream", "server")
LEVELS = ("stream", "server", "tunnels")
"""Where settings stand that servers of tunnelled services have, too."""

UNCHECKED = "unchecked"
"""The context of blocks whose directives are not checked: maps and everything inside `http`."""

MANY: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One directive in some contexts; another shape in another context is another row."""

    name: str
    contexts: tuple[str, ...]
    args: tuple[int, int | None]
    meaning: str
    default: str | None = None
    block: str | None = None
    """The context inside its block; `None` for a directive that ends in `;`."""
    flag: bool = False
    """Takes `on` or `off` alone."""
    repeats: bool = False
    """May stand several times in one block; otherwise nginx refuses the second as a duplicate."""
    planned: bool = False
    """Known, but refused by this version."""

    def takes(self, count: int) -> bool:
        """Tell whether that many arguments are allowed."""
        least, most = self.args
        return least <= count and (most is None or count <= most)


def flag(
    name: str,
    contexts: tuple[str, ...],
    meaning: str,
    default: str = "off",
    *,
    planned: bool = False,
) -> Row:
    """Make the row of an `on` or `off` directive."""
    return Row(name, contexts, (1, 1), meaning, default, flag=True, planned=planned)
