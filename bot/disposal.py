"""What is deleted for good: rows first, their files afterwards, a few hundred jobs at a time.

A crash in between leaves files that no row names: `remove_orphans` finds them later.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import aiosqlite

from bot.database import Database
from bot.errors import JobError
from bot.files import FOLDERS, input_path, sentences
from bot.i18n import _
from bot.records import ENDED_AT
from bot.settings import DAY

BATCH = 250
"""Jobs in one transaction, so that other writers have their turn soon."""

ENDED = "state NOT IN ('queued', 'running', 'made')"

THESE = "(SELECT value FROM json_each(?))"

PICTURE_FILES = f"""
    SELECT job_id, path FROM images WHERE bytes > 0 AND job_id IN {THESE}
    UNION ALL
    SELECT id, control_path FROM jobs WHERE control_path IS NOT NULL AND id IN {THESE}"""

# those of private jobs are seen by their members alone, and soon out of the bot's reach
NOTE_MESSAGES = f"""INSERT OR IGNORE INTO removals (message_id, channel_id)
    SELECT message_id, channel_id FROM jobs WHERE NOT private AND id IN {THESE}
    UNION ALL SELECT message_id, channel_id FROM posts WHERE job_id IN {THESE}"""

# each with the last of the jobs that it is for, unless somebody still needs it
INPUT_FILES = f"""
    SELECT max(job_id) AS job_id, sha256
    FROM inputs LEFT JOIN jobs ON jobs.id = job_id
    WHERE sha256 IN (SELECT sha256 FROM inputs WHERE job_id IN {THESE})
    GROUP BY sha256 HAVING sum(draft_id IS NOT NULL OR NOT {ENDED}) = 0"""

UNUSED = "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT sha256 FROM inputs)"

KNOWN_PICTURES = """SELECT path FROM images WHERE bytes > 0
    UNION ALL SELECT control_path FROM jobs WHERE control_path IS NOT NULL"""


class Disposal:
    """Deletes jobs, drafts and files; `inputs` is held while it is decided which inputs go."""

    def __init__(self, database: Database, inputs: asyncio.Lock) -> None:
        self._database = database
        self._folder = database.folder
        self._inputs = inputs

    async def delete(self, job_id: int) -> None:
        """Delete a job, its messages too; raise JobError while it is not over."""
        if not await self._remove_jobs([job_id], ENDED, messages=True):
            raise JobError(
                _(
                    "This still waits, is being painted or on its way to you. Cancel it first, or"
                    " try again in a moment."
                )
            )

    async def delete_expired(self, guild_id: int, ended_before: float) -> int:
        """Delete the jobs of a server that ended before a time, and return how many."""
        return await self._delete_where(
            f"guild_id = ? AND {ENDED} AND {ENDED_AT} < ?", guild_id, ended_before
        )

    async def delete_guild(self, guild_id: int) -> None:
        """Delete everything that there is of a server."""
        await self._delete_where("guild_id = ?", guild_id)
        await self._delete_drafts("json_extract(origin, '$.guild_id') = ?", guild_id)
        async with self._database.transaction() as connection:
            for table in ("settings", "settings_log", "usage", "departures"):
                await connection.execute(f"DELETE FROM {table} WHERE guild_id = ?", (guild_id,))

    async def delete_member(self, user_id: int, guild_id: int | None = None) -> None:
        """Delete everything that there is of a member, in one server or everywhere.

        What counts for the server stays, without the member: seconds that were used, those of the
        last day only once `forget_members` is called, and changes of settings. The messages go
        with what is deleted everywhere.
        """
        here, where = "(?2 IS NULL OR guild_id = ?2)", "user_id = ?1 AND "
        await self._delete_where(where + here, user_id, guild_id, messages=guild_id is None)
        origin = "json_extract(origin, '$.user_id') = ?1 AND "
        there = "(?2 IS NULL OR json_extract(origin, '$.guild_id') = ?2)"
        await self._delete_drafts(origin + there, user_id, guild_id)
        async with self._database.transaction() as connection:
            for change in (
                "UPDATE usage SET forgotten = 1",
                "UPDATE settings_log SET user_id = 0",
                "DELETE FROM departures",
            ):
                await connection.execute(f"{change} WHERE {where}{here}", (user_id, guild_id))
        await self.forget_members(time.time() - DAY)

    async def forget_members(self, used_before: float) -> None:
        """Take the names of deleted members from seconds that count for no limit any more."""
        await self._database.change(
            "UPDATE usage SET user_id = NULL WHERE forgotten AND ended_at < ?", used_before
        )

    async def messages(self) -> list[tuple[int, int]]:
        """Return the messages that are still to be deleted, as channel and id, the latest first."""
        rows = await self._database.rows("SELECT * FROM removals ORDER BY message_id DESC")
        return [(row["channel_id"], row["message_id"]) for row in rows]

    async def strike_message(self, message_id: int) -> None:
        """Note that a message is deleted, or cannot be."""
        await self._database.change("DELETE FROM removals WHERE message_id = ?", message_id)

    async def delete_records(self, *, changed_before: float, used_before: float) -> None:
        """Delete records that are too old: who changed settings, and seconds that were used."""
        await self._database.change("DELETE FROM settings_log WHERE changed_at < ?", changed_before)
        await self._database.change("DELETE FROM usage WHERE ended_at < ?", used_before)

    async def delete_files(self, limit: int) -> int:
        """Delete files of the oldest jobs until `limit` bytes are left, and return how many jobs'.

        Their rows stay, so that a request can be made again.
        """
        sizes = await self._sizes()
        over, last, emptied = sum(sizes.values()) - limit, 0, 0
        while over > 0:
            rows = await self._database.rows(
                f"SELECT id FROM jobs WHERE id > ? AND {ENDED} ORDER BY id LIMIT {BATCH}", last
            )
            if not rows:
                break
            last = rows[-1]["id"]
            async with self._inputs:
                files = await self._files([row["id"] for row in rows])
                chosen: dict[int, list[str]] = {}
                for job_id in sorted(files):
                    there = [path for path in files[job_id] if path in sizes]
                    if there and over > 0:
                        chosen[job_id] = there
                        over -= sum(sizes.pop(path) for path in there)
                await self._forget_pictures(list(chosen))
                await self._unlink(path for paths in chosen.values() for path in paths)
            emptied += len(chosen)
        return emptied

    async def remove_orphans(self, written_before: float) -> int:
        """Remove files that no row names, and return how many."""
        found = await self._files_before(written_before)
        removed = 0
        for start in range(0, len(found), 10 * BATCH):
            batch = found[start : start + 10 * BATCH]
            async with self._inputs:
                orphans = await self._unknown(batch)
                await self._unlink(orphans)
            removed += len(orphans)
        return removed

    async def forget(self) -> None:
        """Leave no copy of what was deleted in the database's own journal."""
        await self._database.forget()

    async def _delete_where(self, condition: str, *values: object, messages: bool = False) -> int:
        deleted = 0
        while rows := await self._database.rows(
            f"SELECT id FROM jobs WHERE {condition} ORDER BY id LIMIT {BATCH}", *values
        ):
            deleted += await self._remove_jobs([row["id"] for row in rows], messages=messages)
        return deleted

    async def _remove_jobs(
        self, job_ids: Sequence[int], condition: str = "TRUE", *, messages: bool = False
    ) -> int:
        """Remove those of the jobs that meet a condition, and return how many did.

        With `messages` it is noted, in the same transaction, that theirs are to be deleted too.
        """
        ids = json.dumps(job_ids)
        async with self._inputs:
            async with self._database.transaction() as connection:
                rows = await connection.execute_fetchall(
                    f"SELECT id FROM jobs WHERE {condition} AND id IN {THESE}", (ids,)
                )
                ids = json.dumps([row["id"] for row in rows])
                pictures = await connection.execute_fetchall(PICTURE_FILES, (ids, ids))
                hashes = await _hashes(connection, "job_id", ids)
                if messages:
                    await connection.execute(NOTE_MESSAGES, (ids, ids))
                await connection.execute(f"DELETE FROM jobs WHERE id IN {THESE}", (ids,))
                unused = await connection.execute_fetchall(UNUSED, (hashes,))
            paths = [row["path"] for row in pictures]
            await self._unlink([*paths, *(input_path(row["value"]) for row in unused)])
        return len(list(rows))

    async def _delete_drafts(self, condition: str, *values: object) -> None:
        async with self._inputs:
            async with self._database.transaction() as connection:
                rows = await connection.execute_fetchall(
                    f"SELECT id FROM drafts WHERE {condition}", values
                )
                ids = json.dumps([row["id"] for row in rows])
                hashes = await _hashes(connection, "draft_id", ids)
                await connection.execute(f"DELETE FROM drafts WHERE id IN {THESE}", (ids,))
                unused = await connection.execute_fetchall(UNUSED, (hashes,))
            await self._unlink(input_path(row["value"]) for row in unused)

    async def _files(self, job_ids: Sequence[int]) -> Mapping[int, list[str]]:
        """Return the files of jobs that could go with them, by job."""
        ids = json.dumps(job_ids)
        files: dict[int, list[str]] = {}
        for row in await self._database.rows(PICTURE_FILES, ids, ids):
            files.setdefault(row["job_id"], []).append(row["path"])
        for row in await self._database.rows(INPUT_FILES, ids):
            if row["job_id"] in job_ids:
                files.setdefault(row["job_id"], []).append(input_path(row["sha256"]))
        return files

    async def _forget_pictures(self, job_ids: Sequence[int]) -> None:
        ids = json.dumps(job_ids)
        async with self._database.transaction() as connection:
            await connection.execute(f"UPDATE images SET bytes = 0 WHERE job_id IN {THESE}", (ids,))
            await connection.execute(
                f"UPDATE jobs SET control_path = NULL WHERE id IN {THESE}", (ids,)
            )

    async def _unknown(self, paths: Sequence[str]) -> list[str]:
        """Return those of the files that no row names."""
        pictures = [path for path in paths if path.startswith("images/")]
        hashes = [path.removeprefix("inputs/") for path in paths if path.startswith("inputs/")]
        unknown = f"SELECT value FROM json_each(?) WHERE value NOT IN ({KNOWN_PICTURES})"
        return [
            *(row["value"] for row in await self._database.rows(unknown, json.dumps(pictures))),
            *(
                input_path(row["value"])
                for row in await self._database.rows(UNUSED, json.dumps(hashes))
            ),
        ]

    async def _sizes(self) -> dict[str, int]:
        """Return the size of each file by its path in the data folder."""

        def look() -> dict[str, int]:
            return {path: stat.st_size for path, stat in _stats(self._folder)}

        with sentences(self._folder):
            return await asyncio.to_thread(look)

    async def _files_before(self, written_before: float) -> list[str]:
        def look() -> list[str]:
            stats = _stats(self._folder)
            return [path for path, stat in stats if stat.st_mtime < written_before]

        with sentences(self._folder):
            return await asyncio.to_thread(look)

    async def _unlink(self, paths: Iterable[str]) -> None:
        files = [self._folder / path for path in paths]

        def unlink() -> None:
            for file in files:
                file.unlink(missing_ok=True)

        with sentences(self._folder):
            await asyncio.to_thread(unlink)


def _stats(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield each file that jobs have, by its path in the data folder."""
    for name in FOLDERS:
        with os.scandir(folder / name) as entries:
            for entry in entries:
                # what another thread has just renamed or removed is not there any more
                with contextlib.suppress(FileNotFoundError):
                    yield f"{name}/{entry.name}", entry.stat(follow_symlinks=False)


async def _hashes(connection: aiosqlite.Connection, owner: str, ids: str) -> str:
    rows = await connection.execute_fetchall(
        f"SELECT DISTINCT sha256 FROM inputs WHERE {owner} IN {THESE}", (ids,)
    )
    return json.dumps([row["sha256"] for row in rows])
