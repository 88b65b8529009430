"""What is kept about one member, in all servers: told, given, and deleted."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.database import Database
from bot.disposal import Disposal
from bot.files import input_path, sentences
from bot.records import SELECT_JOBS, Job, read_job

SECRETS = ("token", "nonce", "application_id")
"""Columns of jobs that are the bot's own affair: the way to a message, for fifteen minutes."""

JSON = ("request", "outcome", "look", "origin", "old", "new")

HELD = """
    SELECT guild_id, count(*) AS jobs, min(created_at) AS since,
        sum((SELECT count(*) FROM images WHERE job_id = jobs.id AND bytes > 0)) AS pictures,
        sum((SELECT coalesce(sum(bytes), 0) FROM images WHERE job_id = jobs.id)) AS bytes
    FROM jobs WHERE user_id = ? GROUP BY guild_id ORDER BY guild_id"""

DRAFTS = "SELECT * FROM drafts WHERE json_extract(origin, '$.user_id') = ?1"

INPUTS = """
    SELECT DISTINCT sha256 FROM inputs LEFT JOIN jobs ON jobs.id = job_id
    WHERE user_id = ?1 OR draft_id IN (
        SELECT id FROM drafts WHERE json_extract(origin, '$.user_id') = ?1
    )"""

PICTURES = """
    SELECT job_id, position, path
    FROM images JOIN jobs ON jobs.id = job_id WHERE user_id = ?1 AND bytes > 0
    UNION ALL
    SELECT id, NULL, control_path FROM jobs WHERE user_id = ?1 AND control_path IS NOT NULL
    ORDER BY path"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What is kept of a member in one server, or in direct messages, since when."""

    guild_id: int | None
    jobs: int
    pictures: int
    bytes: int
    since: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What is kept of a member: by server, and beside that; sizes in bytes."""

    held: tuple[Held, ...]
    inputs: int
    input_bytes: int
    drafts: int
    usage: int
    changes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """The files of a member that are for them to have, and how many pictures are not."""

    paths: tuple[Path, ...]
    hidden: int


class PersonalData:
    """All that a data folder holds about members, each of whom asks about themselves."""

    def __init__(self, database: Database, disposal: Disposal) -> None:
        self._database = database
        self._disposal = disposal

    async def summary(self, user_id: int) -> Summary:
        """Return how much is kept of a member."""
        held = [Held(**dict(row)) for row in await self._database.rows(HELD, user_id)]
        files = await self._input_files(user_id)
        with sentences(self._database.folder):
            sizes = await asyncio.to_thread(_sizes, files)
        return Summary(
            held=tuple(held),
            inputs=len(sizes),
            input_bytes=sum(sizes),
            drafts=len(await self._database.rows(DRAFTS, user_id)),
            usage=await self._count("usage", user_id),
            changes=await self._count("settings_log", user_id),
        )

    async def jobs(self, user_id: int) -> list[Job]:
        """Return all jobs of a member, the latest first."""
        rows = await self._database.rows(
            f"{SELECT_JOBS} WHERE user_id = ? ORDER BY id DESC", user_id
        )
        return [read_job(row) for row in rows]

    async def records(self, user_id: int) -> dict[str, Any]:
        """Return everything about a member, but for the files, as values that JSON can hold."""
        images = await self._database.rows(
            "SELECT images.* FROM images JOIN jobs ON jobs.id = job_id WHERE user_id = ?", user_id
        )
        inputs = await self._database.rows(
            "SELECT inputs.* FROM inputs JOIN jobs ON jobs.id = job_id WHERE user_id = ?", user_id
        )
        jobs = await self._database.rows(f"{SELECT_JOBS} WHERE user_id = ? ORDER BY id", user_id)
        drafts = await self._database.rows(DRAFTS, user_id)
        posts = await self._database.rows(
            "SELECT posts.* FROM posts JOIN jobs ON jobs.id = job_id WHERE user_id = ?", user_id
        )
        tables = ("usage", "settings_log", "departures")
        return {
            "user_id": user_id,
            "jobs": _plain(jobs),
            "pictures": _plain(images),
            "attached images": _plain(inputs),
            "drafts": _plain(drafts),
            "posts": _plain(posts),
            **{
                table: _plain(
                    await self._database.rows(f"SELECT * FROM {table} WHERE user_id = ?", user_id)
                )
                for table in tables
            },
        }

    async def files(self, user_id: int, hidden: Callable[[Job], frozenset[int]]) -> Files:
        """Return the pictures of a member and what they attached, as far as they are kept.

        Those that are `hidden`, by their positions, are left out, and so is the control image that
        has their outline.
        """
        pictures = await self._database.rows(PICTURES, user_id)
        # only now, when the verdicts on all of them are there
        hidden_of = {job.id: hidden(job) for job in await self.jobs(user_id)}
        paths, count = [], 0
        for row in pictures:
            positions = hidden_of.get(row["job_id"])
            if positions is None:
                continue  # deleted meanwhile
            if row["position"] in positions:
                count += 1
            elif row["position"] is not None or not positions:
                paths.append(self._database.folder / row["path"])
        return Files(paths=(*paths, *await self._input_files(user_id)), hidden=count)

    async def delete(self, user_id: int) -> None:
        """Delete everything about a member, so that nothing of it is left in any file."""
        await self._disposal.delete_member(user_id)
        await self._disposal.forget()

    async def _count(self, table: str, user_id: int) -> int:
        (row,) = await self._database.rows(
            f"SELECT count(*) AS rows FROM {table} WHERE user_id = ?", user_id
        )
        return int(row["rows"])

    async def _input_files(self, user_id: int) -> list[Path]:
        rows = await self._database.rows(INPUTS, user_id)
        return [self._database.folder / input_path(row["sha256"]) for row in rows]


def _sizes(files: Iterable[Path]) -> list[int]:
    sizes = []
    for file in files:
        with suppress(FileNotFoundError):  # deleted meanwhile
            sizes.append(file.stat().st_size)
    return sizes


def _plain(rows: Iterable[sqlite3.Row]) -> list[dict[str, Any]]:
    """Return rows with their JSON read, and without what is not theirs."""
    return [
        {name: _value(name, value) for name, value in dict(row).items() if name not in SECRETS}
        for row in rows
    ]


def _value(name: str, value: Any) -> Any:
    if name not in JSON or value is None:
        return value
    read = json.loads(value)
    if not isinstance(read, dict):
        return read
    return {name: each for name, each in read.items() if name not in SECRETS}
