"""Names of hosts: looked up before a change takes its turn, so that a slow one delays no other.

A change is compiled with the `Addresses` that it knows. If it names a host that is not among them,
it gives its turn up, has the name looked up, and takes another turn.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from qanat.control.errors import Busy, DeadlineExceeded
from qanat.control.threads import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from typing import TypeVar

    from qanat.compiler.compilation import Resolve

    T = TypeVar("T")

_AT_ONCE = 8
_MOST_WAITING = 1024


class HostsWanted(Exception):  # noqa: N818 - reads as what the change lacks
    """A change that names hosts whose addresses it does not know yet."""

    def __init__(self, hosts: frozenset[str]) -> None:
        super().__init__("addresses of hosts are wanted")
        self.hosts = hosts


class Addresses:
    """The addresses of hosts that a change knows; none for a host that was not found."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {}
        self._wanted: set[str] = set()

    def resolve(self, host: str) -> tuple[str, ...]:
        """Give the addresses of a host; without them note that they are wanted."""
        if host not in self._known:
            self._wanted.add(host)
        return self._known.get(host, ())

    @contextlib.contextmanager
    def complete(self) -> Iterator[None]:
        """Raise `HostsWanted`, whatever else is raised, if what happens inside lacks addresses."""
        self._wanted.clear()
        try:
            yield
        finally:
            if self._wanted:
                raise HostsWanted(frozenset(self._wanted))

    def learn(self, found: dict[str, tuple[str, ...]]) -> None:
        """Add what was looked up."""
        self._known.update(found)


class Hosts:
    """Looks names up, a few at once and each once at a time."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._under_way: dict[str, asyncio.Task[tuple[str, ...]]] = {}

    async def supply(
        self, change: Callable[[Addresses], Awaitable[T]], deadline_s: float | None = None
    ) -> T:
        """Carry out a change with the addresses that it wants.

        Raise `Busy`, `DeadlineExceeded` if they are not found in time, or what the change raises.
        """
        addresses = Addresses()
        while True:
            try:
                return await change(addresses)
            except HostsWanted as wanted:
                hosts = wanted.hosts
            try:
                async with asyncio.timeout(deadline_s):
                    addresses.learn(await self._look_up(hosts))
            except TimeoutError as error:
                names = ", ".join(f'"{host}"' for host in sorted(hosts))
                raise DeadlineExceeded(
                    f"looking up {names} took too long, nothing changed"
                ) from error

    async def _look_up(self, hosts: frozenset[str]) -> dict[str, tuple[str, ...]]:
        if len(self._under_way) >= _MOST_WAITING:
            raise Busy(f"{_MOST_WAITING} names of hosts are being looked up, try again later")
        tasks = {host: self._task(host) for host in hosts}
        # Not cancelled with the one who waits: others may wait for the same name.
        await asyncio.wait(tasks.values())
        return {host: task.result() for host, task in tasks.items()}

    def _task(self, host: str) -> asyncio.Task[tuple[str, ...]]:
        task = self._under_way.get(host)
        if task is None:
            task = asyncio.create_task(self._look_up_one(host))
            self._under_way[host] = task
            task.add_done_callback(lambda _: self._under_way.pop(host))
        return task

    async def _look_up_one(self, host: str) -> tuple[str, ...]:
        async with self._slots:
            try:
                return tuple(await in_daemon_thread(lambda: self._resolve(host)))
            except (OSError, UnicodeError):
                return ()
