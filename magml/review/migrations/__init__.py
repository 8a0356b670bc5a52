"""Versions of a record's database, for alembic."""
