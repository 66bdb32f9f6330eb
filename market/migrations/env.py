"""What Alembic runs: the migrations on the connection the store hands over, inside the transaction it has begun."""

from __future__ import annotations

from alembic import context

from market.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
