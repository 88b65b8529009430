"""The schema of the database: numbered migrations, plain SQL, only ever appended to."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import aiosqlite

from bot.errors import StorageError


async def migrate(connection: aiosqlite.Connection, folder: Path) -> None:
    """Bring the schema up to date, each numbered step in a transaction of its own."""
    async with connection.execute("PRAGMA user_version") as rows:
        row = await rows.fetchone()
    assert row is not None
    version = int(row[0])
    scripts = migrations()
    if version > len(scripts):
        raise StorageError(folder, "its database was written by a newer version of the bot")
    for number, script in enumerate(scripts[version:], version + 1):
        await connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;"
        )


def migrations() -> list[str]:
    """Return the SQL of all migrations in their order; they are only ever appended to."""
    folder = resources.files("bot") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [file.read_text(encoding="utf-8") for file in files]
