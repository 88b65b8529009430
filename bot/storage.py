"""What outlives the process: jobs in SQLite, their pictures as files beside it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import aiosqlite

from bot.database import Database
from bot.errors import JobError
from bot.files import input_path, sentences, write_files, write_inputs
from bot.inference.types import Adjustment, MemoryStats, Request, Result, Weights
from bot.records import Draft, Job, Origin, StoredImage, read_draft, read_job

SELECT_JOBS = """SELECT *,
    (SELECT group_concat(name) FROM inputs WHERE job_id = jobs.id) AS inputs FROM jobs"""


class Storage:
    """The database and the picture files of one data folder. Open it with `Storage.open`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._folder = database.folder
        # between the look whether an input is in use, or there, and the act
        self._inputs = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Storage]:
        """Open a data folder, made and migrated as needed; raise StorageError."""
        async with Database.open(folder) as database:
            yield cls(database)

    async def add_job(self, request: Request, origin: Origin) -> Job:
        """Keep the images of a request, and record it as a queued job."""
        async with (
            self._recording(request.images) as hashes,
            self._database.transaction() as connection,
        ):
            cursor = await connection.execute(
                "INSERT INTO jobs (state, user_id, guild_id, channel_id, message_id,"
                " application_id, token, private, spoiler, filesize_limit, request, created_at)"
                " VALUES ('queued', :user_id, :guild_id, :channel_id, :message_id,"
                " :application_id, :token, :private, :spoiler, :filesize_limit, :request,"
                " :created_at)",
                asdict(origin)
                | {"request": json.dumps(request.options()), "created_at": time.time()},
            )
            await _record_inputs(connection, "job_id", cursor.lastrowid, hashes)
        assert cursor.lastrowid is not None
        return await self.job(cursor.lastrowid)

    async def inputs(self, job_id: int) -> dict[str, bytes]:
        """Return the images that a job's member attached; raise StorageError if one has gone."""
        rows = await self._database.rows("SELECT name, sha256 FROM inputs WHERE job_id = ?", job_id)
        return await self._read_inputs(rows)

    async def job(self, job_id: int) -> Job:
        """Return a job; raise JobError if there is none of that id."""
        rows = await self._database.rows(f"{SELECT_JOBS} WHERE id = ?", job_id)
        if not rows:
            raise JobError("This job is not known any more.")
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
        """Keep the pictures of a job and record it as made, both or neither."""
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
        }
        with sentences(self._folder):
            await asyncio.to_thread(write_files, self._folder, files)
        try:
            await self._record_images(job_id, result, paths, control_path, json.dumps(outcome))
        except BaseException:
            for path in files:
                (self._folder / path).unlink(missing_ok=True)
            raise

    async def _record_images(
        self, job_id: int, result: Result, paths: list[str], control_path: str | None, outcome: str
    ) -> None:
        async with self._database.transaction() as connection:
            await connection.executemany(
                "INSERT INTO images (job_id, position, seed, path, bytes) VALUES (?, ?, ?, ?, ?)",
                [
                    (job_id, position, seed, path, len(image))
                    for position, (seed, path, image) in enumerate(
                        zip(result.seeds, paths, result.images, strict=True), 1
                    )
                ],
            )
            await connection.execute(
                "UPDATE jobs SET state = 'made', outcome = ?, control_path = ?, finished_at = ?"
                " WHERE id = ?",
                (outcome, control_path, time.time(), job_id),
            )

    async def images(self, job_id: int) -> list[StoredImage]:
        """Return the pictures of a job in their order."""
        rows = await self._database.rows(
            "SELECT * FROM images WHERE job_id = ? ORDER BY position", job_id
        )
        return [StoredImage(**{**dict(row), "path": self._folder / row["path"]}) for row in rows]

    async def result(self, job: Job) -> Result:
        """Return the result of a job as it was made; raise StorageError if a file has gone."""
        assert job.outcome is not None
        outcome = job.outcome
        paths = [image.path for image in await self.images(job.id)]
        (row,) = await self._database.rows("SELECT control_path FROM jobs WHERE id = ?", job.id)
        if row["control_path"] is not None:
            paths.append(self._folder / row["control_path"])
        contents = await self._read_files(paths)
        control_image = contents.pop() if row["control_path"] is not None else None
        weights = Weights(**outcome["memory"]["weights"])
        return Result(
            images=tuple(contents),
            seeds=tuple(outcome["seeds"]),
            size=tuple(outcome["size"]),
            seconds=outcome["seconds"],
            memory=MemoryStats(**outcome["memory"] | {"weights": weights}),
            quantization=outcome["quantization"],
            control_image=control_image,
            fallback_reason=outcome["fallback_reason"],
            reused=tuple(outcome["reused"]),
            notes=tuple(outcome["notes"]),
        )

    async def mark_delivered(self, job_id: int) -> None:
        """Record that the member has the pictures of a job."""
        await self._database.change("UPDATE jobs SET state = 'delivered' WHERE id = ?", job_id)

    async def end_job(self, job_id: int, state: Literal["failed", "cancelled"], error: str) -> None:
        """Record that a job ended without pictures, and why."""
        await self._database.change(
            "UPDATE jobs SET state = ?, error = ?, finished_at = ? WHERE id = ?",
            state,
            error,
            time.time(),
            job_id,
        )

    async def add_draft(self, request: Request, origin: Origin) -> Draft:
        """Keep a request that is to be looked at first, with its images."""
        async with (
            self._recording(request.images) as hashes,
            self._database.transaction() as connection,
        ):
            cursor = await connection.execute(
                "INSERT INTO drafts (origin, request, created_at) VALUES (?, ?, ?)",
                (json.dumps(asdict(origin)), json.dumps(request.options()), time.time()),
            )
            await _record_inputs(connection, "draft_id", cursor.lastrowid, hashes)
        assert cursor.lastrowid is not None
        return await self.draft(cursor.lastrowid)

    async def draft(self, draft_id: int) -> Draft:
        """Return a draft; raise JobError if there is none of that id."""
        rows = await self._database.rows("SELECT * FROM drafts WHERE id = ?", draft_id)
        if not rows:
            raise JobError("This preview has expired. Please send the command once more.")
        return read_draft(rows[0])

    async def drafts_before(self, created_at: float) -> list[Draft]:
        """Return the drafts that are older than a time."""
        rows = await self._database.rows("SELECT * FROM drafts WHERE created_at < ?", created_at)
        return [read_draft(row) for row in rows]

    async def draft_images(self, draft_id: int) -> dict[str, bytes]:
        """Return the images of a draft; raise StorageError if one has gone."""
        rows = await self._database.rows(
            "SELECT name, sha256 FROM inputs WHERE draft_id = ?", draft_id
        )
        return await self._read_inputs(rows)

    async def adjust_draft(self, draft_id: int, adjustments: tuple[Adjustment, ...]) -> Draft:
        """Record what is to be done to the mask of a draft."""
        draft = await self.draft(draft_id)
        assert draft.request.region is not None
        region = replace(draft.request.region, adjustments=adjustments)
        request = replace(draft.request, region=region)
        await self._database.change(
            "UPDATE drafts SET request = ? WHERE id = ?", json.dumps(request.options()), draft_id
        )
        return await self.draft(draft_id)

    async def remove_draft(self, draft_id: int) -> None:
        """Remove a draft with its images; raise JobError if there is none of that id."""
        async with self._inputs:
            await self.draft(draft_id)
            rows = await self._database.rows(
                "SELECT sha256 FROM inputs WHERE draft_id = ?", draft_id
            )
            await self._database.change("DELETE FROM drafts WHERE id = ?", draft_id)
            await self._remove_unused({row["sha256"] for row in rows})

    @asynccontextmanager
    async def _recording(self, images: Mapping[str, bytes]) -> AsyncIterator[dict[str, str]]:
        """Write attached images, give their hashes, and take back those that no row came for."""
        async with self._inputs:
            with sentences(self._folder):
                hashes = await asyncio.to_thread(write_inputs, self._folder, images)
            try:
                yield hashes
            except BaseException:
                await self._remove_unused(hashes.values())
                raise

    async def _read_inputs(self, rows: list[sqlite3.Row]) -> dict[str, bytes]:
        paths = [self._folder / input_path(row["sha256"]) for row in rows]
        contents = await self._read_files(paths)
        return {row["name"]: content for row, content in zip(rows, contents, strict=True)}

    async def _remove_unused(self, hashes: Iterable[str]) -> None:
        for sha256 in hashes:
            if not await self._database.rows(
                "SELECT 1 FROM inputs WHERE sha256 = ? LIMIT 1", sha256
            ):
                with sentences(self._folder):
                    (self._folder / input_path(sha256)).unlink(missing_ok=True)

    async def _read_files(self, paths: list[Path]) -> list[bytes]:
        with sentences(self._folder):
            return await asyncio.to_thread(lambda: [path.read_bytes() for path in paths])


async def _record_inputs(
    connection: aiosqlite.Connection,
    owner: Literal["job_id", "draft_id"],
    owner_id: int | None,
    hashes: Mapping[str, str],
) -> None:
    await connection.executemany(
        f"INSERT INTO inputs ({owner}, name, sha256) VALUES (?, ?, ?)",
        [(owner_id, name, sha256) for name, sha256 in hashes.items()],
    )
