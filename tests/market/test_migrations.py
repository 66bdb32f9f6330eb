"""Migrations build exactly the tables the program declares, on both databases."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import market.migrations
import market.procurement_tables
from market.store import Store
from market.tables import metadata


def _differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, metadata))


async def test_an_upgrade_from_nothing_builds_the_declared_tables(store: Store) -> None:
    async with store.read() as connection:
        assert await connection.run_sync(_differences) == []


async def test_the_comparison_sees_a_missing_column(store: Store) -> None:
    async with store.write() as connection:
        await connection.exec_driver_sql("ALTER TABLE providers DROP COLUMN notice")
    async with store.read() as connection:
        assert len(await connection.run_sync(_differences)) == 1


async def test_every_check_and_foreign_key_of_the_declaration_is_in_the_database(store: Store) -> None:
    declared = {
        str(constraint.name)
        for table in metadata.tables.values()
        for constraint in table.constraints
        if str(constraint.name).startswith(("ck_", "fk_"))
    }
    query = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL",
        "postgresql": "SELECT conname FROM pg_constraint",
    }
    async with store.read() as connection:
        found = " ".join((await connection.exec_driver_sql(query[store.dialect])).scalars())
    assert {name for name in declared if name not in found} == set()
    assert len(declared) > 8


def test_the_versions_named_in_the_program_are_those_of_the_folder() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(market.migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == market.migrations.KNOWN
    assert scripts.get_current_head() == market.migrations.CURRENT
