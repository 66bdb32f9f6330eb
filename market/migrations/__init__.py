"""Alembic migrations; the names of the versions stand here too, so that a current database opens without Alembic."""

from __future__ import annotations

KNOWN = ("0001", "0002", "0003")
"""Every revision this program understands, oldest first."""

CURRENT = KNOWN[-1]
