"""What outlives the process: jobs in SQLite, their pictures as files beside it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Literal

from bot.database import Database
from bot.departures import Departures
from bot.disposal import Disposal
from bot.drafts import Drafts
from bot.errors import JobError
from bot.files import read_files, sentences, write_files
from bot.history import History
from bot.i18n import N_, _
from bot.inference.types import Request, Result
from bot.inputs import Inputs, record_inputs
from bot.personal import PersonalData
from bot.records import (
    RECORD_PARENTS,
    SELECT_JOBS,
    Job,
    Origin,
    StoredImage,
    read_job,
    result_of,
)
from bot.settings_store import WHOLE_SERVER, SettingsStore

END_JOB = """UPDATE jobs SET state = ?, error = ?, finished_at = coalesce(finished_at, ?)
    WHERE id = ?"""
"""What was made was finished then, however late it turns out that nobody gets it."""

UNKNOWN = N_("This job is not known any more. Please send a new command.")

RECORD_USAGE = """INSERT INTO usage (user_id, guild_id, ended_at, seconds)
    SELECT user_id, guild_id, finished_at, ?2
    FROM jobs WHERE id = ?1 AND started_at IS NOT NULL"""
"""To be carried out once, by what ends the work on a job, with the seconds that it took."""


class Storage:
    """The database and the picture files of one data folder. Open it with `Storage.open`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._folder = database.folder
        self._inputs = Inputs(database)
        self._begun: dict[int, float] = {}
        self.settings = SettingsStore(database)
        self.history = History(database)
        self.departures = Departures(database)
        self.drafts = Drafts(database, self._inputs)
        self.disposal = Disposal(database, self._inputs.lock)
        self.personal = PersonalData(database, self.disposal)

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Storage]:
        """Open a data folder, made and migrated as needed; raise StorageError."""
        async with Database.open(folder) as database:
            yield cls(database)

    async def add_job(self, request: Request, origin: Origin, *, repeats: int | None = None) -> Job:
        """Keep the images of a request, and record it as a queued job."""
        values = asdict(origin) | {
            "look": json.dumps(asdict(origin.look)),
            "request": json.dumps(request.options()),
            "repeats": repeats,
            "created_at": time.time(),
        }
        async with (
            self._inputs.written(request.images) as hashes,
            self._database.transaction() as connection,
        ):
            cursor = await connection.execute(
                "INSERT INTO jobs (state, user_id, guild_id, channel_id, message_id,"
                " application_id, token, private, spoiler, filesize_limit, look, request, repeats,"
                " created_at)"
                " VALUES ('queued', :user_id, :guild_id, :channel_id, :message_id,"
                " :application_id, :token, :private, :spoiler, :filesize_limit, :look, :request,"
                " :repeats, :created_at)",
                values,
            )
            await record_inputs(connection, "job_id", cursor.lastrowid, hashes)
            await connection.execute(RECORD_PARENTS, (cursor.lastrowid,))
        assert cursor.lastrowid is not None
        return await self.job(cursor.lastrowid)

    async def inputs(self, job_id: int) -> dict[str, bytes]:
        """Return the images that a job's member attached; raise StorageError if one has gone."""
        return await self._inputs.read("job_id", job_id)

    async def job(self, job_id: int) -> Job:
        """Return a job; raise JobError if there is none of that id."""
        rows = await self._database.rows(f"{SELECT_JOBS} WHERE id = ?", job_id)
        if not rows:
            raise JobError(_(UNKNOWN))
        return read_job(rows[0])

    async def unfinished_jobs(self) -> list[Job]:
        """Return the jobs that an earlier process did not bring to their members, in order."""
        rows = await self._database.rows(
            f"{SELECT_JOBS} WHERE state IN ('queued', 'running', 'made') ORDER BY id"
        )
        return [read_job(row) for row in rows]

    async def start_job(self, job_id: int) -> Job:
        """Record that a job is being worked on."""
        await self._database.change(
            "UPDATE jobs SET state = 'running', started_at = ?, attempts = attempts + 1"
            " WHERE id = ?",
            time.time(),
            job_id,
        )
        self._begun[job_id] = time.perf_counter()
        return await self.job(job_id)

    async def put_back(self, job_id: int, *, counts: bool) -> None:
        """Record that a job waits again; whether its attempt `counts` as one of the few."""
        await self._database.change(
            "UPDATE jobs SET state = 'queued', started_at = NULL, attempts = attempts - ?"
            " WHERE id = ? AND state = 'running'",
            0 if counts else 1,
            job_id,
        )

    async def note_nonce(self, job_id: int, nonce: str) -> None:
        """Record that a message with this nonce is about to be posted for a job."""
        await self._database.change("UPDATE jobs SET nonce = ? WHERE id = ?", nonce, job_id)

    async def ended_since(self, finished_at: float) -> list[Job]:
        """Return the jobs that ran and have ended since a time, in order."""
        rows = await self._database.rows(
            f"{SELECT_JOBS} WHERE finished_at >= ? AND started_at IS NOT NULL ORDER BY id",
            finished_at,
        )
        return [read_job(row) for row in rows]

    async def last_made(self, count: int) -> list[Job]:
        """Return the jobs that were made last, the oldest of them first."""
        rows = await self._database.rows(
            f"{SELECT_JOBS} WHERE outcome IS NOT NULL ORDER BY id DESC LIMIT ?", count
        )
        return [read_job(row) for row in reversed(rows)]

    async def finish_job(self, job_id: int, result: Result) -> None:
        """Keep the pictures of a job and record it as made, both or neither.

        Raise JobError if it was deleted meanwhile.
        """
        paths = [f"images/{job_id:08}-{n}.png" for n in range(1, len(result.images) + 1)]
        files = dict(zip(paths, result.images, strict=True))
        control_path = None
        if result.control_image is not None:
            control_path = f"images/{job_id:08}-control.webp"
            files[control_path] = result.control_image
        outcome = {
            "seeds": result.seeds,
            "size": result.size,
            "seconds": dict(result.seconds),
            "memory": asdict(result.memory),
            "quantization": result.quantization,
            "fallback_reason": result.fallback_reason,
            "reused": result.reused,
            "notes": result.notes,
            "made_with": dict(result.made_with),
            "unsafe": result.unsafe,
            "cells": [asdict(cell) for cell in result.cells],
        }

        def write() -> list[str]:
            write_files(self._folder, files)
            return [sha256(image).hexdigest() for image in result.images]

        with sentences(self._folder):
            hashes = await asyncio.to_thread(write)
        rows = [
            (job_id, position, seed, path, len(image), each)
            for position, (seed, path, image, each) in enumerate(
                zip(result.seeds, paths, result.images, hashes, strict=True), 1
            )
        ]
        try:
            await self._record_images(job_id, rows, control_path, json.dumps(outcome))
        except BaseException:
            # a cancel that lands on COMMIT does not undo it: then the job is made
            if not await self.images(job_id):
                for path in files:
                    (self._folder / path).unlink(missing_ok=True)
            await self.job(job_id)
            raise

    async def _record_images(
        self,
        job_id: int,
        rows: Iterable[tuple[object, ...]],
        control_path: str | None,
        outcome: str,
    ) -> None:
        async with self._database.transaction() as connection:
            await connection.executemany(
                "INSERT INTO images (job_id, position, seed, path, bytes, sha256)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            await connection.execute(
                "UPDATE jobs SET state = 'made', outcome = ?, control_path = ?, finished_at = ?"
                " WHERE id = ?",
                (outcome, control_path, time.time(), job_id),
            )
            await connection.execute(RECORD_USAGE, (job_id, self._took(job_id)))

    def _took(self, job_id: int) -> float:
        """Return how long a job has run; the time of day may have been set meanwhile.

        It counts once, and not what an earlier process did, which did not come to its end.
        """
        begun = self._begun.pop(job_id, None)
        return 0.0 if begun is None else time.perf_counter() - begun

    async def set_notes(self, job_id: int, notes: Sequence[str]) -> None:
        """Record what is to be said with the pictures of a job, if they are kept."""
        await self._database.change(
            "UPDATE jobs SET outcome = json_set(outcome, '$.notes', json(?)) WHERE id = ?",
            json.dumps(notes),
            job_id,
        )

    async def images(self, job_id: int) -> list[StoredImage]:
        """Return the pictures of a job in their order."""
        rows = await self._database.rows(
            "SELECT * FROM images WHERE job_id = ? ORDER BY position", job_id
        )
        return [StoredImage(**{**dict(row), "path": self._folder / row["path"]}) for row in rows]

    async def result(self, job: Job) -> Result:
        """Return the result of a job as it was made.

        Raises StorageError if a file has gone, JobError if the job itself has.
        """
        assert job.outcome is not None
        rows = await self._database.rows("SELECT control_path FROM jobs WHERE id = ?", job.id)
        if not rows:
            raise JobError(_(UNKNOWN))
        control_path = rows[0]["control_path"]
        pictures = await self._database.rows(
            "SELECT path FROM images WHERE job_id = ? ORDER BY position", job.id
        )
        paths = [row["path"] for row in pictures]
        if control_path is not None:
            paths.append(control_path)
        contents = await read_files(self._folder, paths)
        control_image = contents.pop() if control_path is not None else None
        return result_of(job.outcome, contents, control_image)

    async def mark_delivered(self, job_id: int) -> None:
        """Record that the member has the pictures of a job."""
        await self._database.change("UPDATE jobs SET state = 'delivered' WHERE id = ?", job_id)

    async def end_job(self, job_id: int, state: Literal["failed", "cancelled"], error: str) -> None:
        """Record that a job ended without pictures, and why."""
        async with self._database.transaction() as connection:
            # what was made has been counted
            ended = "SELECT 1 FROM jobs WHERE id = ? AND finished_at IS NOT NULL"
            counted = await (await connection.execute(ended, (job_id,))).fetchone()
            await connection.execute(END_JOB, (state, error, time.time(), job_id))
            if counted is None:
                await connection.execute(RECORD_USAGE, (job_id, self._took(job_id)))

    async def usage(
        self, since: float, guild_id: int, user_id: int | None = None
    ) -> list[tuple[float, float]]:
        """Return when work of a server, or of one member there, has ended since, and its seconds.

        The oldest comes first.
        """
        rows = await self._database.rows(
            "SELECT ended_at, seconds FROM usage WHERE guild_id = ?1 AND ended_at > ?2"
            " AND (?3 IS NULL OR user_id = ?3) ORDER BY ended_at",
            guild_id,
            since,
            user_id,
        )
        return [(row["ended_at"], row["seconds"]) for row in rows]

    async def purge_guild(self, guild_id: int) -> None:
        """Delete everything that there is of a server."""
        for channel_id in (WHOLE_SERVER, *await self.settings.channels(guild_id)):
            await self.settings.reset(guild_id, channel_id, user_id=0)
        await self.disposal.delete_guild(guild_id)
