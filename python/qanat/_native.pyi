"""The extension: the data plane in Rust. Bytes, numbers and frozen handles cross.

Only `control.engine` and `handlers` import this.
"""

from collections.abc import Sequence
from typing import final

from typing_extensions import override

__all__ = [
    "Bridge",
    "ConsistentHash",
    "Datagrams",
    "Gateway",
    "LackError",
    "ListenError",
    "Peer",
    "PhaseError",
    "PlanError",
    "RoundRobin",
    "Session",
    "check",
    "variable_names",
]

class PlanError(ValueError):
    """A change set that cannot be run. `args` is `(kind, id, field, message, origin)`, all `str`.

    `kind` is the plural field of `Objects` (`servers`), or `change_set`; `field` is the field at
    fault or empty; `origin` is the `FILE:LINE` known to the plan or empty.
    """

class ListenError(OSError):
    """A listener that cannot be bound.

    `errno` and `strerror` are the system's, `filename` is the listener's id.
    """

@final
class Gateway:
    """A running data plane: worker threads that serve the current plan.

    A change is made in two steps so that it can be stored in between: `prepare` does everything
    that can fail.
    """

    def __new__(cls, options: bytes) -> Gateway: ...
    def bridge(self) -> Bridge:
        """Return where the calls of handlers arrive."""

    def prepare(self, change_set: bytes) -> int:
        """Validate and link a change set and bind its sockets, unseen. Return a ticket.

        At most one ticket is open at a time. Raise `PlanError` or `ListenError`, with nothing
        changed.
        """

    def commit(self, ticket: int) -> None:
        """Make a prepared change live on every worker before returning.

        Raise `KeyError` for an unknown ticket, `RuntimeError` if a worker does not answer in time:
        the change is live all the same.
        """

    def abort(self, ticket: int) -> None:
        """Drop a prepared change and close the sockets it bound."""

    def snapshot(self, what: str) -> bytes:
        """Read state as MessagePack: `status`, `listeners`, `servers` or `upstreams`.

        Raise `ValueError` for others.
        """

    def log(self, level: str, message: str) -> None:
        """Write a line to the main error log, if its level admits it."""

    def reopen_logs(self) -> None:
        """Open every log file anew (after rotation)."""

    def drain(self) -> None:
        """Close all listening sockets; sessions go on. Returns at once."""

    def sessions(self) -> int:
        """Count the sessions that are open."""

    def stop(self) -> None:
        """End every session, stop the workers, write out the logs.

        The gateway cannot be used afterwards.
        """

class LackError(Exception):
    """Bytes that will not come: `args` is `(why, what there is)`; why is `ended`, `full` or
    `silent`."""

class PhaseError(RuntimeError):
    """Something that cannot be done in this phase, or not any more."""

@final
class Bridge:
    """The event loop's end of the queue of calls."""

    def fileno(self) -> int:
        """Return the descriptor that is readable while something waits."""

    def take(self, most: int) -> tuple[list[Session], list[int]]:
        """Take calls, at most `most`, and the ids of calls that something has happened to."""

    def retired_fileno(self) -> int:
        """Return the descriptor that is readable while there are retired generations."""

    def take_retired(self) -> list[int]:
        """Take the numbers of generations that neither a plan nor a session uses any more."""

    def begin_batch(self) -> None:
        """Hold answers back until the batch is over."""

    def end_batch(self) -> None:
        """Let the workers have the answers of the batch."""

@final
class Session:
    """A session while its handlers are called: one phase of it.

    Methods that look for bytes return `None` if they may still come: that is signalled then. They
    raise `LackError` if they will not. All raise `PhaseError` once the call was answered.
    """

    @property
    def call(self) -> int:
        """The id by which it is signalled."""

    @property
    def handlers(self) -> str:
        """The phase and the names of the handlers, one a line."""

    @property
    def generation(self) -> int:
        """Which load of the handlers."""

    @property
    def phase(self) -> str:
        """`access`, `preread`, `balance` or `log`."""

    @property
    def tries(self) -> int:
        """How many attempts to reach a peer were made before."""

    @property
    def last_failure(self) -> tuple[str, str] | None:
        """The peer of the last of them, and why it failed."""

    def ending(self) -> str | None:
        """Why the handler is to end: `client`, `deadline`, or nothing."""

    @property
    def datagrams(self) -> Datagrams | None:
        """The datagrams of the client; none for a connection, or in phases without them."""

    def peek(self, count: int) -> bytes | None:
        """Look at the first `count` bytes."""

    def peek_until(self, separator: bytes) -> bytes | None:
        """Look at all bytes up to and including a separator."""

    def read_exactly(self, count: int) -> bytes | None:
        """Take the first `count` bytes."""

    def read_until(self, separator: bytes) -> bytes | None:
        """Take all bytes up to and including a separator."""

    def read(self, most: int) -> bytes | None:
        """Take what there is, at least one byte and at most `most`."""

    def unread(self, data: bytes) -> bool:
        """Give bytes back, to be the first again; false if there is no room for them."""

    def write(self, data: bytes) -> bool:
        """Write to the client, or send it a datagram; true if the handler has to wait until that is
        done. Raise `OSError` (`EMSGSIZE`) for what is larger than a datagram."""

    def is_draining(self) -> bool:
        """Tell whether what was written still waits for the client."""

    def give_up(self) -> None:
        """Wait no longer for what was last looked for."""

    def variable(self, name: str) -> str | None:
        """Return the value of a variable."""

    def set_variable(self, name: str, value: bytes) -> bool:
        """Set a variable; false if it is a built-in one."""

    def context(self) -> object:
        """Return what handlers of this session have kept; `None` at first."""

    def set_context(self, context: object) -> None:
        """Keep something until the session's end."""

    def more_tries(self, count: int) -> None:
        """Ask for more attempts to reach a peer."""

    def move_on(self) -> bool:
        """Go on to the next phase within this call; false if it has to be answered instead."""

    def go_on(self) -> bool:
        """Let the session go on; false if it was answered before, as with all answers."""

    def reject(self, status: int, text: bytes) -> bool:
        """End the session with a status and a text."""

    def choose(self, peer: Peer) -> bool:
        """Connect to a peer."""

    def blame_client(self, status: int, message: str) -> bool:
        """End the session for what the client did."""

    def fail(self, message: str) -> bool:
        """End the session with status 500 and a line in the error log."""

@final
class Datagrams:
    """The datagrams of a client, one by one. All methods raise `PhaseError` after the call."""

    def receive(self) -> bytes | None:
        """Take the next one; `None` if it may still come. Raise `LackError` if it will not."""

    def give_up(self) -> None:
        """Wait no longer for one."""

    def send(self, data: bytes) -> bool:
        """Send one; false if too many are on their way, and it is lost.

        Raise `OSError` (`EMSGSIZE`) if it is larger than a datagram can be.
        """

    def dropped(self) -> int:
        """Count those of the client that were lost because too many were waiting."""

@final
class Peer:
    """A peer that a balance handler may choose.

    `address` is `IP:PORT`, `[V6]:PORT` or `unix:/PATH`. `tls` says whether to speak TLS, which
    needs `proxy_ssl on`; `name` is the name to verify and send; `connect_timeout` is in seconds.
    `None` leaves them to the configuration.
    """

    def __new__(
        cls,
        address: str,
        *,
        weight: int = 1,
        tls: bool | None = None,
        name: str | None = None,
        connect_timeout: float | None = None,
    ) -> Peer: ...
    @property
    def address(self) -> str: ...
    @property
    def weight(self) -> int: ...
    @property
    def tls(self) -> bool | None: ...
    @property
    def name(self) -> str | None: ...
    @property
    def connect_timeout(self) -> float | None: ...
    @override
    def __eq__(self, other: object, /) -> bool: ...
    @override
    def __ne__(self, other: object, /) -> bool: ...
    @override
    def __hash__(self) -> int: ...

@final
class ConsistentHash:
    """Chooses by the hash of a key, on a ring that is placed as nginx's `hash … consistent` is.

    A member that goes moves only its own keys.
    """

    def __new__(cls, peers: Sequence[Peer | str] = ...) -> ConsistentHash: ...
    def pick(self, key: str | bytes, exclude: Sequence[Peer] | None = None) -> Peer | None:
        """Return the peer that a key belongs to, or the next one that is not excluded."""

    def replace(self, peers: Sequence[Peer | str]) -> None:
        """Put other peers in place of the present ones, at once."""

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The present peers."""

    def __len__(self) -> int: ...

@final
class RoundRobin:
    """Lets peers take turns, smoothly by their weights."""

    def __new__(cls, peers: Sequence[Peer | str] = ...) -> RoundRobin: ...
    def pick(self, exclude: Sequence[Peer] | None = None) -> Peer | None:
        """Return the peer whose turn it is among those that are not excluded."""

    def replace(self, peers: Sequence[Peer | str]) -> None:
        """Put other peers in place of the present ones, at once."""

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The present peers."""

    def __len__(self) -> int: ...

def check(change_set: bytes) -> None:
    """Validate a change set that starts from nothing, opening no socket. Raise `PlanError`."""

def variable_names() -> list[str]:
    """List the built-in variables that the data plane knows.

    Prefixes such as `proxy_protocol_tlv_` end in `_`.
    """
