"""The images that members attached: files named by their content, each there once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Literal

import aiosqlite

from bot.database import Database
from bot.files import input_path, read_files, sentences, write_inputs

Owner = Literal["job_id", "draft_id"]


class Inputs:
    """Keeps attached images for as long as a job or a draft has use for them.

    `lock` is held from the look whether one is there, or in use, until what is done about it.
    """

    def __init__(self, database: Database) -> None:
        self.lock = asyncio.Lock()
        self._database = database
        self._folder = database.folder

    @asynccontextmanager
    async def written(self, images: Mapping[str, bytes]) -> AsyncIterator[dict[str, str]]:
        """Write images, give their hashes, and take back those that no row came for."""
        async with self.lock:
            with sentences(self._folder):
                hashes = await asyncio.to_thread(write_inputs, self._folder, images)
            try:
                yield hashes
            except BaseException:
                await self.remove_unused(hashes.values())
                raise

    async def read(self, owner: Owner, owner_id: int) -> dict[str, bytes]:
        """Return the images of a job or a draft; raise StorageError if one has gone."""
        rows = await self._database.rows(
            f"SELECT name, sha256 FROM inputs WHERE {owner} = ?", owner_id
        )
        contents = await read_files(self._folder, [input_path(row["sha256"]) for row in rows])
        return {row["name"]: content for row, content in zip(rows, contents, strict=True)}

    async def hashes(self, owner: Owner, owner_id: int) -> set[str]:
        """Return the hashes of the images of a job or a draft."""
        rows = await self._database.rows(f"SELECT sha256 FROM inputs WHERE {owner} = ?", owner_id)
        return {row["sha256"] for row in rows}

    async def remove_unused(self, hashes: Iterable[str]) -> None:
        """Remove those images that neither a job nor a draft has use for."""
        for each in hashes:
            used = "SELECT 1 FROM inputs WHERE sha256 = ? LIMIT 1"
            if not await self._database.rows(used, each):
                with sentences(self._folder):
                    (self._folder / input_path(each)).unlink(missing_ok=True)


async def record_inputs(
    connection: aiosqlite.Connection, owner: Owner, owner_id: int | None, hashes: Mapping[str, str]
) -> None:
    """Note in a transaction whose images those are."""
    await connection.executemany(
        f"INSERT INTO inputs ({owner}, name, sha256) VALUES (?, ?, ?)",
        [(owner_id, name, each) for name, each in hashes.items()],
    )
