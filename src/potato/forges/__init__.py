"""Forges: where events come from and effects go."""
