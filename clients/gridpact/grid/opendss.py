"""OpenDSS, where it is installed."""

from __future__ import annotations

try:
    import opendssdirect as dss
except ModuleNotFoundError as error:
    if error.name != "opendssdirect":
        raise
    dss = None

__all__ = ["CHECKS", "dss"]

CHECKS = "OpenDSS" if dss else "a power flow of its own"
"""What finds the voltages of a plan, in words."""
