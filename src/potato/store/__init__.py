"""Tables and queries on SQLAlchemy Core."""
