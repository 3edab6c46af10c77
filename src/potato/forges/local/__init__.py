"""The local forge: facts from files, effects staged."""
