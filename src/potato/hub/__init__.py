"""The only control flow: what happens to an event, in which order, and what is recorded."""
