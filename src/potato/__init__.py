"""Potato: a control plane for agents in CI/CD."""

__version__ = "0.1.0"
