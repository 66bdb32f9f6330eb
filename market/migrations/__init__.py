"""Alembic migrations of the catalogue's database."""
