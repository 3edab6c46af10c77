"""Alembic's environment and versions, run in process by `potato.store.engine`."""
