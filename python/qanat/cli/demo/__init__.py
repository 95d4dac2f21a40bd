"""`qanat demo`: the NJet example and a tunnel, run for real and explained step by step."""

from qanat.cli.demo.run import run_demo

__all__ = ["run_demo"]
