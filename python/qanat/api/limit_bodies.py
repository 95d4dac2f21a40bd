"""Limits in bodies about tunnels and services: bytes a second, as numbers or as sizes of nginx."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from qanat.compiler.tunnel_limits import RATES, SERVICE_RATES
from qanat.compiler.tunnels import ServiceRates
from qanat.compiler.units import LARGEST_I64, LARGEST_U32, parse_offset
from qanat.control.errors import InvalidRequest

Rate = Annotated[int, Meta(ge=0, le=LARGEST_I64)] | str
"""Bytes a second, or a text such as `500k`; 0 is no limit."""

Streams = Annotated[int, Meta(ge=0, le=LARGEST_U32)]


class ServiceRatesBody(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a service, in bytes a second or as `500k`; 0 is none.

    Upload is what clients send to the target: of all streams on this gateway, or of each.
    """

    upload_rate: Rate = 0
    download_rate: Rate = 0
    stream_upload_rate: Rate = 0
    stream_download_rate: Rate = 0

    def rates(self) -> ServiceRates:
        """Make the rates. Raise `InvalidRequest`."""
        return ServiceRates(**{name: bytes_of(name, getattr(self, name)) for name in SERVICE_RATES})


class ServiceRatesPatch(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a service that change, for open streams too."""

    upload_rate: Rate | UnsetType = UNSET
    download_rate: Rate | UnsetType = UNSET
    stream_upload_rate: Rate | UnsetType = UNSET
    stream_download_rate: Rate | UnsetType = UNSET


def bytes_of(name: str, value: object) -> int:
    """Read bytes a second. Raise `InvalidRequest`."""
    found = value if isinstance(value, int) else parse_offset(str(value))
    if found is None or not 0 <= found <= LARGEST_I64:
        raise InvalidRequest(name, f'`{name}` is no size: "{value}"; bytes a second, or as 500k')
    return found


def with_rates(fields: dict[str, Any]) -> dict[str, Any]:
    """Make numbers of the rates among fields. Raise `InvalidRequest`."""
    return {
        name: bytes_of(name, value) if name in {*RATES, *SERVICE_RATES} else value
        for name, value in fields.items()
    }
