"""Peers from etcd: each key below a prefix has an entry as its value.

Speaks etcd's JSON gateway (`/v3/kv/range`, `/v3/watch`; etcd 3.4 and later): the list is read, then
watched from the revision after it. If the history has been compacted meanwhile, it is read anew.
"""

# `typing.override` is not in Python 3.11.
from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import msgspec

from qanat.handlers.sources.source import PeerSource, SourceError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Sequence


class EtcdPeers(PeerSource):
    """The peers below a prefix: `EtcdPeers(["http://127.0.0.1:2379"], "/servers/")`.

    The end of a key names the entry and means nothing else. The endpoints are those of one cluster:
    if one does not answer, the next one is asked. `tls` is what `https://` endpoints are verified
    with.

    Raise `ImportError` without httpx, which `pip install "qanat[etcd]"` installs, and `ValueError`
    without an endpoint or with an empty prefix. Speaks etcd's JSON gateway, etcd 3.4 and later.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        prefix: str,
        *,
        tls: ssl.SSLContext | None = None,
        timeout: float = 5.0,
        poll: float = 60.0,
    ) -> None:
        try:
            import httpx  # noqa: PLC0415 - only who uses it needs it
        except ImportError as error:
            raise ImportError('EtcdPeers needs httpx: pip install "qanat[etcd]"') from error
        if not endpoints or not prefix:
            raise ValueError("EtcdPeers wants at least one endpoint, and a prefix")
        super().__init__(f'etcd prefix "{prefix}"', timeout=timeout, poll=poll)
        self._httpx = httpx
        self._endpoints = [endpoint.rstrip("/") for endpoint in endpoints]
        self._prefix = prefix.encode()
        # A watch that is silent for `poll` seconds is begun anew.
        limits = httpx.Timeout(timeout, read=poll)
        self._client = httpx.AsyncClient(verify=tls or True, timeout=limits, trust_env=False)

    async def _read(self) -> dict[str, str]:  # type: ignore[explicit-override]
        return (await self._range())[0]

    async def _range(self) -> tuple[dict[str, str], int]:
        """Read all entries, with their revision, from the first endpoint that answers."""
        last: Exception | None = None
        for _ in self._endpoints:
            try:
                async with asyncio.timeout(self.timeout / len(self._endpoints)):
                    response = await self._client.post(
                        f"{self._endpoints[0]}/v3/kv/range", json=self._span()
                    )
                answer = _checked(response.status_code, response.content)
            except self._failures() as error:
                last = error
                self._endpoints.append(self._endpoints.pop(0))
                continue
            pairs = (_pair(kv) for kv in answer.get("kvs", []))
            return dict(pairs), int(answer["header"]["revision"])
        raise SourceError(f"no endpoint answers: {last or 'none'}") from last

    async def _watch(self) -> AsyncIterator[dict[str, str]]:  # type: ignore[explicit-override]
        entries, revision = await self._range()
        yield entries
        request = {"create_request": {**self._span(), "start_revision": str(revision + 1)}}
        url = f"{self._endpoints[0]}/v3/watch"
        try:
            async with self._client.stream("POST", url, json=request) as response:
                async for line in response.aiter_lines():
                    result = _checked(response.status_code, line.encode()).get("result", {})
                    if result.get("canceled"):
                        # The history before `compact_revision` is gone, or the server goes.
                        return
                    if _apply(entries, result.get("events", [])):
                        yield entries
        except self._httpx.ReadTimeout:
            return

    def _span(self) -> dict[str, str]:
        """The prefix, as etcd's pair of a first key and one past the last."""
        end = bytearray(self._prefix)
        while end and end[-1] == 0xFF:
            end.pop()
        if end:
            end[-1] += 1
        past = bytes(end) or b"\0"
        return {"key": b64encode(self._prefix).decode(), "range_end": b64encode(past).decode()}

    def _failures(self) -> tuple[type[Exception], ...]:  # type: ignore[explicit-override]
        return (self._httpx.HTTPError, SourceError, OSError, TimeoutError)


def _checked(status: int, body: bytes) -> dict[str, Any]:
    """Decode an answer. Raise `SourceError` for one that is none, or an error."""
    try:
        answer = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise SourceError(f"status {status}, and no JSON: {error}") from error
    if status != 200 or "error" in answer:
        told = answer.get("error", answer)
        said = told.get("message", told) if isinstance(told, dict) else told
        raise SourceError(f"status {status}: {said}" if status != 200 else str(said))
    return answer


def _apply(entries: dict[str, str], events: list[dict[str, Any]]) -> bool:
    """Change entries as events say; tell whether there were any."""
    for event in events:
        key, value = _pair(event["kv"])
        if event.get("type") == "DELETE":
            entries.pop(key, None)
        else:
            entries[key] = value
    return bool(events)


def _pair(kv: dict[str, str]) -> tuple[str, str]:
    key, value = b64decode(kv["key"]), b64decode(kv.get("value", ""))
    return key.decode(errors="replace"), value.decode(errors="replace")
