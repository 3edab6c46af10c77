"""The thin face over HTTP."""
