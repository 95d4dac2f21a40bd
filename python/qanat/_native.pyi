"""The extension: the data plane in Rust. Bytes, numbers and frozen handles cross.

Only `control.engine` and `handlers` import this.
"""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextvars import Context
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, final, overload

from typing_extensions import disjoint_base, override

__all__ = [
    "Arrival",
    "Balancer",
    "Bridge",
    "BusyError",
    "CertifiedKey",
    "ConsistentHash",
    "Datagrams",
    "FrameError",
    "FrameParser",
    "Gateway",
    "LackError",
    "LeastConnections",
    "ListenError",
    "Maglev",
    "Peer",
    "PhaseError",
    "PlanError",
    "RandomTwo",
    "RoundRobin",
    "Session",
    "SharedDict",
    "SmoothWeighted",
    "Stream",
    "check",
    "first_frame",
    "look_for_frame",
    "variable_names",
]

_T = TypeVar("_T")

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

    def probe_tunnel(self, name: str, dial: str, peer: str | None) -> str | None:
        """Try whether a tunnel could be brought up, leaving nothing behind.

        Return why it could not. Blocks for as long as `handshake_timeout` allows.
        """

    def wait_for_tunnel(self, name: str, seconds: float) -> bool:
        """Wait until a tunnel is up; false if it is not within that time.

        One that is not up is dialled at once, also if the other end had removed it.
        """

    def close_tunnel(self, name: str) -> bool:
        """End a tunnel that the other end has dialled; false if there is none."""

    def leave_tunnel(self, name: str, seconds: float) -> None:
        """Open no more streams on a tunnel, and take none; the others have that time to end."""

    def reset_streams(self, service: str, *, local: bool, tunnel: str | None = None) -> None:
        """Reset the streams of a local service, or those that a remote one serves."""

    def snapshot(self, what: str) -> bytes:
        """Read state as MessagePack: `status`, `listeners`, `servers`, `upstreams` or
        `rules`.

        Raise `ValueError` for others.
        """

    def explain_rules(self, query: bytes) -> bytes | None:
        """Ask the rules of a table about a session that might come, as MessagePack both ways.

        `None` if there is no such table. Raise `PlanError` if the query cannot be read.
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

class FrameError(ValueError):
    """Bytes that are no frame of the format: the text says what is wrong with them.

    If no handler catches it, the session ends with status 400.
    """

_Parts = tuple[bytes, dict[str, int | bool | bytes], int, int, str]

@final
class FrameParser:
    """Recognises frames. `frame` is a frame of the plan, as MessagePack.

    A frame is shown as `(whole, fields, start of the body, its end, what it is)`.
    """

    def __new__(cls, frame: bytes) -> FrameParser: ...
    def parse(self, data: bytes) -> _Parts | None:
        """Read the frame at the start of `data`; `None` if more bytes are needed.

        Raise `FrameError` if it is none.
        """

class LackError(Exception):
    """Bytes that will not come: `args` is `(why, what there is)`; why is `ended`, `full` or
    `silent`."""

class BusyError(RuntimeError):
    """Another task waits for the bytes of this client already."""

class PhaseError(RuntimeError):
    """Something that cannot be done in this phase, or not any more: the text says what.

    If no handler catches it, the session ends with status 500.
    """

@final
class Bridge:
    """The event loop's end of the queue of calls."""

    def fileno(self) -> int:
        """Return the descriptor that is readable while something waits."""

    def resume(self) -> None:
        """Go on with content handlers whose bytes have come, in one batch."""

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
        """`access`, `ssl_client_hello`, `ssl_certificate`, `preread`, `balance`, `content`,
        `proxy_ssl_verify` or `log`."""

    @property
    def tries(self) -> int:
        """How many attempts to reach a peer were made before."""

    @property
    def last_failure(
        self,
    ) -> (
        tuple[str, str, Literal["refused", "timed_out", "reset", "unreachable", "tls", "failed"]]
        | None
    ):
        """The peer of the last of them, why it failed, and what kind of failure that was."""

    def ending(self) -> str | None:
        """Why the handler is to end: `client`, `deadline`, `idle`, or nothing."""

    def stream(self, event_loop: AbstractEventLoop) -> Stream:
        """Return the client's connection, in the content phase, for tasks of this loop."""

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

    def more_tries(self, count: int) -> int:
        """Ask for more attempts to reach a peer; return how many of them are granted."""

    def client_hello(
        self,
    ) -> (
        tuple[
            str | None,
            list[bytes],
            list[int],
            list[tuple[int, str]],
            list[tuple[int, bytes]],
        ]
        | None
    ):
        """Return the server name, ALPN protocols, versions, cipher suites with their names, and
        extensions with their contents of a ClientHello, without GREASE."""

    def limit_versions(self, minimum: str | None, maximum: str | None) -> None:
        """Leave out the versions of TLS below and above these. Raise `ValueError` for others than
        `TLSv1.2` and `TLSv1.3`."""

    def set_alert(self, number: int) -> None:
        """Tell a rejection by this alert."""

    def certify(self, certificate: CertifiedKey) -> bool:
        """Show a certificate to the client."""

    def shown(self) -> tuple[list[bytes], str | None, str, str] | None:
        """Return a peer's certificates, what speaks against them, the name that was asked for, and
        the peer's address."""

    def accept(self) -> bool:
        """Take the peer for who it should be, whatever speaks against it."""

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
class CertifiedKey:
    """A certificate chain with its key, ready to sign."""

    def __new__(cls, chain: Sequence[bytes], key: bytes) -> CertifiedKey:
        """Take DER certificates, the leaf first, and the leaf's key as PKCS #8 DER.

        Raise `ValueError` if that cannot be used.
        """

@final
class Arrival:
    """Bytes that a task may wait for: to it a future, but whoever waits is gone on with at once."""

    def __await__(self) -> Generator[Any]: ...
    def __iter__(self) -> Arrival: ...
    def __next__(self) -> Arrival: ...
    @property
    def _asyncio_future_blocking(self) -> bool: ...
    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, value: bool, /) -> None: ...
    def get_loop(self) -> AbstractEventLoop:
        """Return the loop that tasks have to belong to."""

    def add_done_callback(self, callback: Callable[[Arrival], object], *, context: Context) -> None:
        """Take a task's callback, for the next time."""

    def cancel(self, msg: object = None) -> bool:
        """Wait no longer; false if nobody waits."""

    def result(self) -> None:
        """Return nothing; raise `CancelledError` if the wait was cancelled."""

@final
class Stream:
    """The client's connection as a content handler has it.

    Nothing waits. What reads returns `None` if the bytes may still come: `arrival` is to be awaited
    then. It raises `LackError` if they will not come, `BusyError` if another task waits for some,
    and `ConnectionResetError` if the connection is broken. All raise `PhaseError` once the call was
    answered.
    """

    LIMIT: ClassVar[int]
    """The longest line, separator included."""

    @property
    def arrival(self) -> Arrival:
        """What to await before looking again."""

    def read(self, most: int) -> bytes | None:
        """Take what there is, at most `most` bytes; nothing at the end."""

    def read_exactly(self, count: int) -> bytes | None:
        """Take the next `count` bytes."""

    def read_line(self) -> bytes | None:
        """Take all up to and including a line feed, or the rest."""

    def read_until(self, separators: list[bytes]) -> bytes | None:
        """Take all up to and including the separator that ends first."""

    def take_rest(self) -> bytes:
        """Take what there is, whatever is waited for."""

    def give_back(self, data: bytes) -> None:
        """Give bytes back, to be the first again."""

    def give_up(self) -> None:
        """Wait no longer for what was last looked for."""

    def is_at_end(self) -> bool:
        """Tell whether the client has ended and everything was taken."""

    def write(self, data: bytes) -> None:
        """Write to the client."""

    def is_congested(self) -> bool:
        """Tell whether the handler should wait: it is signalled when it need not."""

    def is_unsent(self) -> bool:
        """Tell whether anything waits for the client, whether or not the call is over."""

    def end(self) -> None:
        """Write no more: the client is told."""

    def close(self, linger: float) -> None:
        """Close, once everything is written; the client has `linger` seconds to end as well."""

    def is_closing(self) -> bool:
        """Tell whether it is being closed, or gone."""

    def is_closed(self) -> bool:
        """Tell whether nothing is left of it, which is signalled."""

    def start_tls(self) -> None:
        """Begin TLS with the server's certificate, once everything is written."""

    def upgraded(self) -> str | None:
        """Return nothing while TLS is being begun, then an empty text or why it failed."""

    def forget(self) -> None:
        """The handler has ended: whoever still waits learns of it."""

@final
class Peer:
    """A peer that a balance handler may choose.

    `address` is `IP:PORT`, `[V6]:PORT` or `unix:/PATH`; a name is a `ValueError`. `weight` is its
    share in a balancer, from 0 (never picked) to 65535. `tls` says whether to speak TLS, which
    needs `proxy_ssl on`; `name` is the name to verify and send instead of `proxy_ssl_name`.
    `connect_timeout` and `timeout` are in seconds and stand for `proxy_connect_timeout` and
    `proxy_timeout`. `None` leaves them to the configuration.
    """

    def __new__(
        cls,
        address: str,
        *,
        weight: int = 1,
        tls: bool | None = None,
        name: str | None = None,
        connect_timeout: float | None = None,
        timeout: float | None = None,
    ) -> Peer: ...
    @property
    def address(self) -> str:
        """Where it is: `10.0.0.1:1000`, `[::1]:1000` or `unix:/PATH`."""

    @property
    def weight(self) -> int:
        """Its share in a balancer, from 0 to 65535."""

    @property
    def tls(self) -> bool | None:
        """Whether to speak TLS; `None` leaves it to `proxy_ssl`."""

    @property
    def name(self) -> str | None:
        """The name to verify and send; `None` leaves it to `proxy_ssl_name`."""

    @property
    def connect_timeout(self) -> float | None:
        """Seconds for one attempt, TLS included; `None` leaves it to `proxy_connect_timeout`."""

    @property
    def timeout(self) -> float | None:
        """Seconds that a session may be silent; `None` leaves it to `proxy_timeout`."""

    @override
    def __eq__(self, other: object, /) -> bool: ...
    @override
    def __ne__(self, other: object, /) -> bool: ...
    @override
    def __hash__(self) -> int: ...

@disjoint_base
class Balancer:
    """What all balancers have in common: members, each an address with a weight.

    Members are `Peer`s and addresses in a sequence, or a mapping of addresses to weights. An
    address is a member once: of several peers with the same one, the last stands. The members are
    the same for all handlers, and every change takes effect at once and as a whole. One by one:
    `balancer["10.0.0.1:1000"] = 2` adds a member or changes its weight, `del` removes it.
    """

    def replace(self, peers: Sequence[Peer | str] | Mapping[str, int]) -> None:
        """Put other peers in place of the present ones, at once.

        Raise `ValueError`, with nothing changed, for something that is not an address, and for
        weights that a ring has no room for.
        """

    def add(self, peer: Peer | str) -> None:
        """Add a peer, or put it in place of the one with the same address.

        Raise `ValueError` for something that is not an address, and for weights that a ring has no
        room for.
        """

    @staticmethod
    def load(peer: Peer | str) -> int:
        """Count the sessions that are open through a peer, whichever handler chose it.

        A session counts from the moment when its handler returns the peer until it ends, or until
        the attempt fails.
        """

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The present members, in the order in which they were added."""

    def __len__(self) -> int: ...
    def __contains__(self, address: str, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __getitem__(self, address: str, /) -> int: ...
    def __setitem__(self, address: str, weight: int, /) -> None: ...
    def __delitem__(self, address: str, /) -> None: ...

@final
class ConsistentHash(Balancer):
    """Chooses by the hash of a key, on a ring: a member that goes moves only its own keys.

    With `compat="nginx"` keys go where nginx's `hash KEY consistent` sends them: `points` crc32
    points for each unit of weight. With `compat="ketama"` they go where libketama sends them:
    `points`, a multiple of 4, is what a member of average weight has, by MD5.
    """

    def __new__(
        cls,
        peers: Sequence[Peer | str] | Mapping[str, int] = ...,
        *,
        points: int = 160,
        compat: Literal["nginx", "ketama"] = "nginx",
    ) -> ConsistentHash: ...
    def pick(self, key: str | bytes, exclude: Sequence[Peer | str] | None = None) -> Peer | None:
        """Return the peer that a key belongs to, or the next one on the ring that is not excluded;
        `None` if nobody is left."""

@final
class Maglev(Balancer):
    """Chooses by the hash of a key, in a table of 65,537 slots: the members' shares are within one
    slot of their weights, and found in one step.

    When a member goes, its keys move, and about one in a hundred of the others. Gateways with the
    same members agree, in whatever order they list them. From the paper on Maglev, NSDI 2016.
    """

    def __new__(cls, peers: Sequence[Peer | str] | Mapping[str, int] = ...) -> Maglev: ...
    def pick(self, key: str | bytes, exclude: Sequence[Peer | str] | None = None) -> Peer | None:
        """Return the peer that a key belongs to, or another one if it is excluded; `None` if nobody
        is left."""

@final
class RoundRobin(Balancer):
    """Lets peers take turns, in rounds by their weights: of 5, 1 and 1, `a a a a a b c`."""

    def __new__(cls, peers: Sequence[Peer | str] | Mapping[str, int] = ...) -> RoundRobin: ...
    def pick(self, exclude: Sequence[Peer | str] | None = None) -> Peer | None:
        """Return the peer whose turn it is among those that are not excluded, or `None`."""

@final
class SmoothWeighted(Balancer):
    """Lets peers take turns, spread evenly by their weights: of 5, 1 and 1, `a a b a c a a`.

    These are the turns of nginx's own round robin.
    """

    def __new__(cls, peers: Sequence[Peer | str] | Mapping[str, int] = ...) -> SmoothWeighted: ...
    def pick(self, exclude: Sequence[Peer | str] | None = None) -> Peer | None:
        """Return the peer whose turn it is among those that are not excluded, or `None`."""

@final
class LeastConnections(Balancer):
    """Chooses the peer with the fewest open sessions (`load`) for its weight; equals take turns.

    As nginx's `least_conn`, except that it counts the sessions of all handlers and upstreams.
    """

    def __new__(cls, peers: Sequence[Peer | str] | Mapping[str, int] = ...) -> LeastConnections: ...
    def pick(self, exclude: Sequence[Peer | str] | None = None) -> Peer | None:
        """Return the peer with the least load among those that are not excluded, or `None`."""

@final
class RandomTwo(Balancer):
    """Chooses two peers by chance and weight, and takes the one with fewer open sessions (`load`)
    for its weight; as nginx's `random two`."""

    def __new__(cls, peers: Sequence[Peer | str] | Mapping[str, int] = ...) -> RandomTwo: ...
    def pick(self, exclude: Sequence[Peer | str] | None = None) -> Peer | None:
        """Return the better of two peers that are not excluded, or `None`."""

_Key: TypeAlias = str | bytes
_Value: TypeAlias = bytes | str | int | float | bool

@final
class SharedDict:
    """A dictionary in memory that all handlers share, with a bound, and times to live.

    There is one for each `name` in the process; it outlives a reload of the handlers, and ends with
    the process. `size` is in bytes, or as nginx writes sizes: `"512k"`, `"64m"`, `"1g"`. It is 64m
    unless another one is given; a size that is given to a dictionary that exists resizes it.

    Keys are `str` or `bytes` (which are different keys, as in a `dict`) of 1 to 65,535 bytes;
    values are `bytes`, `str`, `int` of 64 bits, `float` and `bool`. Every operation is atomic. What
    an entry takes counts with its key and about 192 bytes; if there is no room, entries whose time
    is over go first, then those that were not used for longest. An entry that is larger than the
    whole dictionary is a `ValueError`, and evicts nothing.

    Times to live are positive seconds; `None` is for ever. A value that is set anew without one
    lasts for ever again. As OpenResty's `ngx.shared.DICT`, with the names of Python.
    """

    def __new__(cls, name: str, size: int | str | None = None) -> SharedDict: ...
    @property
    def name(self) -> str:
        """The name that it is shared by."""

    @property
    def capacity(self) -> int:
        """How many bytes there is room for."""

    @property
    def used(self) -> int:
        """How many bytes of them are taken."""

    @property
    def evictions(self) -> int:
        """How many entries had to go before their time, since the process began."""

    @overload
    def get(self, key: _Key, default: None = None) -> _Value | None: ...
    @overload
    def get(self, key: _Key, default: _T) -> _Value | _T:
        """Return the value of a key, or `default`. It becomes the last one to be evicted."""

    def get_with_version(self, key: _Key) -> tuple[_Value, int] | None:
        """Return the value of a key and its version, which differs after every change; `None` if
        nothing is there."""

    def set(self, key: _Key, value: _Value, ttl: float | None = None) -> None:
        """Put a value, whatever is there.

        Raise `ValueError` for an entry that is larger than the dictionary, a key that is too long
        and a `ttl` that is not positive, `TypeError` for a value of another kind, and
        `OverflowError` for an `int` of more than 64 bits; so do all that put something.
        """

    def add(self, key: _Key, value: _Value, ttl: float | None = None) -> bool:
        """Put a value if nothing is there; tell whether it was put."""

    def replace(self, key: _Key, value: _Value, ttl: float | None = None) -> bool:
        """Put a value if something is there; tell whether it was put."""

    def compare_and_set(
        self, key: _Key, version: int, value: _Value, ttl: float | None = None
    ) -> bool:
        """Put a value if the present one is of this version; tell whether it was put.

        Raise `KeyError` if nothing is there.
        """

    def incr(
        self,
        key: _Key,
        by: float = ...,
        initial: float | None = None,
        ttl: float | None = None,
    ) -> int | float:
        """Add `by`, 1 unless it is given, to a number and return the sum, an `int` if both are.

        If nothing is there it begins at `initial`, and lasts for `ttl`; otherwise `ttl` means
        nothing. Raise `KeyError` if nothing is there and there is no `initial`, `TypeError` if the
        value is not a number, and `OverflowError` for an `int` of more than 64 bits.
        """

    def delete(self, key: _Key) -> bool:
        """Remove a value; tell whether there was one."""

    @overload
    def pop(self, key: _Key) -> _Value: ...
    @overload
    def pop(self, key: _Key, default: _T, /) -> _Value | _T:
        """Remove and return a value; without a default, raise `KeyError` if there is none."""

    def expire(self, key: _Key, ttl: float | None) -> bool:
        """Give a value another time to live; tell whether there is one."""

    def ttl(self, key: _Key) -> float | None:
        """Return for how many seconds a value lasts, `None` for ever; raise `KeyError` if there is
        none."""

    def keys(self, limit: int | None = ...) -> list[_Key]:
        """List keys, those used last first: 1024 of them unless another limit is given, `None` for
        all. Other handlers wait meanwhile."""

    def clear(self) -> None:
        """Remove everything."""

    def flush_expired(self, limit: int | None = None) -> int:
        """Remove values whose time is over, and return how many.

        They are removed by the way, too, whenever something changes.
        """

    def __len__(self) -> int: ...
    def __contains__(self, key: _Key, /) -> bool: ...
    def __iter__(self) -> Iterator[_Key]: ...
    def __getitem__(self, key: _Key, /) -> _Value: ...
    def __setitem__(self, key: _Key, value: _Value, /) -> None: ...
    def __delitem__(self, key: _Key, /) -> None: ...

def check(change_set: bytes) -> None:
    """Validate a change set that starts from nothing, opening no socket. Raise `PlanError`."""

def look_for_frame(session: Session, parser: FrameParser | None, takes: bool) -> _Parts | None:
    """Look at the frame that comes next, or take it: of a parser, or of the `frame` block.

    `None` if it may still come: that is signalled then. Raise `FrameError` if it is none, and as
    methods of `Session` do.
    """

def first_frame(session: Session) -> _Parts | None:
    """Return the frame that the `frame` block has seen; `None` without one."""

def variable_names() -> list[str]:
    """List the built-in variables that the data plane knows.

    Prefixes such as `proxy_protocol_tlv_` end in `_`.
    """
