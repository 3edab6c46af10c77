"""The built-in agents: deterministic, and bound by the same gate as any other."""
