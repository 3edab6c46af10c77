"""Executors of the workflow behind one port."""
