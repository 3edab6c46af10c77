"""The spokes: how agents are executed, and the built-in ones."""
