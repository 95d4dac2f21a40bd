"""A gateway as a Python program: declared in code, and served by the same machinery as a file."""

from qanat.gateway.gateway import Gateway
from qanat.gateway.phases import Decorator
from qanat.gateway.server import Server
from qanat.gateway.upstream import Upstream

__all__ = ["Decorator", "Gateway", "Server", "Upstream"]
