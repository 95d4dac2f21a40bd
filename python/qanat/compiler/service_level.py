"""What tunnelled services take over from `stream`: the level of settings that their servers have.

It is what a service has no words of its own for: logs, handlers, `allow` and `deny`, timeouts. How
peers are spoken to (TLS, PROXY protocol, a source address) is said by each service, or by a virtual
server whose `proxy_pass` is the tunnel. The block `tunnels` is a level inside `stream`, so it may
say any of it otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from qanat.compiler import access, handlers, log, preread, proxy
from qanat.compiler.inherit import Level, by_directive, read_setting
from qanat.compiler.tunnels import ServiceLevel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qanat.compiler.compilation import Compilation
    from qanat.config.tree import Directive

SETTINGS = (
    *access.SETTINGS,
    *log.SETTINGS,
    *(handlers.ACCESS, handlers.PREREAD, handlers.LOG, handlers.TIMEOUT),
    *(preread.BUFFER_SIZE, preread.TIMEOUT, preread.TCP_NODELAY),
    *(proxy.TIMEOUT, proxy.SOCKET_KEEPALIVE),
)
DIRECTIVES = by_directive(SETTINGS)
"""Those of the block `tunnels`, by name."""


def read_service_level(
    compilation: Compilation, entries: Iterable[Directive], stream: Level
) -> ServiceLevel:
    """Read the settings of the block `tunnels` over those of `stream`."""
    values: dict[str, object] = {}
    for entry in entries:
        read_setting(compilation, entry, DIRECTIVES[entry.name], values)
    handlers.add_to_outer(stream, values)
    known = {key: stream.values[key] for key in _KEYS if key in stream.values}
    return _service_level(Level(known).inside(values))


_KEYS = tuple(setting.name for setting in SETTINGS)


def _service_level(level: Level) -> ServiceLevel:
    open_ends = ServiceLevel()
    server = structs.replace(
        open_ends.server,
        error_log=level.items(log.ERROR_LOG) or None,
        access=level.items(access.RULES) or (),
        preread=preread.make_preread(level),
        handlers=handlers.make_handlers(level),
        tcp_nodelay=level.get(preread.TCP_NODELAY),
        access_log=log.access_logs(level.items(log.ACCESS_LOG) or ()),
    )
    keepalive, timeout = level.get(proxy.SOCKET_KEEPALIVE), level.get(proxy.TIMEOUT)
    return ServiceLevel(
        server,
        structs.replace(open_ends.proxy, socket_keepalive=keepalive, timeout_ms=timeout),
        timeout if proxy.TIMEOUT.name in level.values else None,
    )
