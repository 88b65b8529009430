"""The SQLite file of a data folder: one connection, one writer at a time, faults as sentences."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite

from bot.files import prepare_folder, sentences
from bot.schema import migrate

FILENAME = "bot.sqlite3"

BUSY_SECONDS = 5.0
"""How long a change waits for another program that writes into the file: a backup, a person."""


class Database:
    """The connection to a data folder's database. Open it with `Database.open`."""

    def __init__(self, folder: Path, connection: aiosqlite.Connection) -> None:
        self.folder = folder
        self._connection = connection
        # one connection: what runs between BEGIN and COMMIT would take other writes with it
        self._writing = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Database]:
        """Open a data folder, made and migrated as needed; raise StorageError."""
        prepare_folder(folder)
        with sentences(folder):
            connection = await aiosqlite.connect(
                folder / FILENAME, isolation_level=None, timeout=BUSY_SECONDS
            )
        try:
            connection.row_factory = sqlite3.Row
            with sentences(folder):
                # it holds prompts and tokens of interactions; the files of WAL get the same mode
                (folder / FILENAME).chmod(0o600)
                await connection.execute("PRAGMA journal_mode = WAL")
                await connection.execute("PRAGMA synchronous = NORMAL")
                await connection.execute("PRAGMA foreign_keys = ON")
                # what a member has deleted must not be found in the file any more
                await connection.execute("PRAGMA secure_delete = ON")
                # SQLite's own LIKE knows upper and lower case of ASCII alone
                await connection.create_function("casefold", 1, str.casefold, deterministic=True)
                await migrate(connection, folder)
            yield cls(folder, connection)
        finally:
            await connection.close()

    async def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Return the rows of a query."""
        with sentences(self.folder):
            return list(await self._connection.execute_fetchall(sql, values))

    async def change(self, sql: str, *values: object) -> int:
        """Carry out one statement in a transaction of its own, and return how many rows changed."""
        async with self.transaction() as connection:
            return (await connection.execute(sql, values)).rowcount

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """Give the connection for statements of which all take effect, or none."""
        async with self._writing:
            with sentences(self.folder):
                try:
                    await self._connection.execute("BEGIN IMMEDIATE")
                    yield self._connection
                    await self._connection.execute("COMMIT")
                except BaseException:
                    # SQLite ends some failed transactions itself, those of a full disk for one
                    with contextlib.suppress(sqlite3.OperationalError):
                        await self._connection.execute("ROLLBACK")
                    raise

    async def forget(self) -> None:
        """Empty the journal of what was deleted, of which it may still hold copies."""
        async with self._writing:
            with sentences(self.folder):
                # with its row: a statement that is not read to its end holds up the next COMMIT
                await self._connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
