"""The functional core: no I/O, clock, randomness, async or logging. Time and ids come in as arguments."""
