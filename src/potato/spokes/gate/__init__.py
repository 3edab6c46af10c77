"""The one door of a caged agent: on one port of its loopback are the hub's tools, the models it may ask, the hosts it may reach."""

from potato.spokes.gate.gate import Gate, Pass

__all__ = ["Gate", "Pass"]
