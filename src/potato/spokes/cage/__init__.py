"""Where agents that are programs run: a process that is watched, and by default locked up."""
