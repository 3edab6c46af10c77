"""The command line: a thin face over bootstrap and the hub."""
