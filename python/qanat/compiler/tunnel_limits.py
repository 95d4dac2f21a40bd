"""Limits of tunnels, services and peers, as options of their directives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.compiler.compilation import Refused
from qanat.compiler.tunnels import ServiceRates
from qanat.compiler.units import LARGEST_U32, parse_number, parse_offset

if TYPE_CHECKING:
    from collections.abc import Mapping

RATES = ("send_rate", "receive_rate")
SERVICE_RATES = ServiceRates.__struct_fields__


def rate(values: Mapping[str, str], name: str) -> int:
    """Read bytes a second, as a size of nginx; 0 is no limit. Raise `Refused`."""
    found = parse_offset(values.get(name, "0"))
    if found is None:
        raise Refused(f'invalid value in "{name}={values[name]}": a size such as 500k, a second')
    return found


def service_rates(values: Mapping[str, str]) -> ServiceRates:
    """Read the rates of a service. Raise `Refused`."""
    return ServiceRates(**{name: rate(values, name) for name in SERVICE_RATES})


def max_streams(values: Mapping[str, str]) -> int:
    """Read how many streams there may be; 0 is any number. Raise `Refused`."""
    found = parse_number(values.get("max_streams", "0"))
    if found is None or found > LARGEST_U32:
        raise Refused(f'invalid value in "max_streams={values["max_streams"]}"')
    return found
