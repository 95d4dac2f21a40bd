"""What telnet clients send besides text (RFC 854)."""

from __future__ import annotations

_IAC = 255
_WILL, _DONT = 251, 254
_SB, _SE = 250, 240


class Text:
    """Takes telnet's commands out of lines; one that is cut by a line's end is finished in the
    next."""

    def __init__(self) -> None:
        self._pending = b""
        self._is_negotiating = False

    def of(self, line: bytes) -> str:
        """Return the text of a line, without its end."""
        if _IAC in line or self._pending or self._is_negotiating:
            line = self._without_commands(self._pending + line)
        text = line.decode(errors="replace").strip()
        return text if text.isprintable() else "".join(filter(str.isprintable, text))

    def _without_commands(self, data: bytes) -> bytes:
        kept = bytearray()
        self._pending = b""
        at = 0
        while at < len(data):
            if data[at] != _IAC:
                if not self._is_negotiating:
                    kept.append(data[at])
                at += 1
                continue
            length = self._command(data, at)
            if length == 0:
                self._pending = data[at:]
                break
            if data[at + 1] == _IAC and not self._is_negotiating:
                kept.append(_IAC)
            at += length
        return bytes(kept)

    def _command(self, data: bytes, at: int) -> int:
        """How long the command at this place is; 0 if it is cut."""
        if at + 1 == len(data):
            return 0
        kind = data[at + 1]
        if _WILL <= kind <= _DONT:
            return 3 if at + 2 < len(data) else 0
        if kind in {_SB, _SE}:
            self._is_negotiating = kind == _SB
        return 2
