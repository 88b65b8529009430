"""What outlives the process: jobs in SQLite, their pictures as files beside it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import aiosqlite

from bot.errors import DiskFull, JobError, StorageError
from bot.inference.types import MemoryStats, Request, Result, Weights

JobState = Literal["queued", "running", "made", "delivered", "failed", "cancelled", "interrupted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Who asked, where, and how the answer gets back to them."""

    user_id: int
    guild_id: int | None
    channel_id: int
    message_id: int
    application_id: int
    token: str = field(repr=False)
    private: bool = False
    spoiler: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One request of one member, and what has become of it; times are seconds since 1970.

    `outcome` is what the result said apart from the pictures, once there is one.
    """

    id: int
    state: JobState
    origin: Origin
    request: Request
    outcome: Mapping[str, Any] | None
    error: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredImage:
    """One picture of a job, as a file."""

    job_id: int
    position: int
    seed: int
    path: Path
    bytes: int


class Storage:
    """The database and the picture files of one data folder. Open it with `Storage.open`."""

    def __init__(self, folder: Path, connection: aiosqlite.Connection) -> None:
        self._folder = folder
        self._connection = connection
        # one connection: what runs between BEGIN and COMMIT would take other writes with it
        self._writing = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Storage]:
        """Open a data folder, made and migrated as needed; raise StorageError."""
        prepare_folder(folder)
        with sentences(folder):
            connection = await aiosqlite.connect(folder / "bot.sqlite3", isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            storage = cls(folder, connection)
            with sentences(folder):
                # it holds prompts and tokens of interactions; the files of WAL get the same mode
                (folder / "bot.sqlite3").chmod(0o600)
                await connection.execute("PRAGMA journal_mode = WAL")
                await connection.execute("PRAGMA synchronous = NORMAL")
                await connection.execute("PRAGMA foreign_keys = ON")
                await migrate(connection, folder)
            yield storage
        finally:
            await connection.close()

    async def add_job(self, request: Request, origin: Origin) -> Job:
        """Record a new job as queued."""
        created_at = time.time()
        async with self._transaction():
            cursor = await self._connection.execute(
                "INSERT INTO jobs (state, user_id, guild_id, channel_id, message_id,"
                " application_id, token, private, spoiler, request, created_at)"
                " VALUES ('queued', :user_id, :guild_id, :channel_id, :message_id,"
                " :application_id, :token, :private, :spoiler, :request, :created_at)",
                asdict(origin) | {"request": json.dumps(asdict(request)), "created_at": created_at},
            )
        assert cursor.lastrowid is not None
        return await self.job(cursor.lastrowid)

    async def job(self, job_id: int) -> Job:
        """Return a job; raise JobError if there is none of that id."""
        rows = await self._rows("SELECT * FROM jobs WHERE id = ?", job_id)
        if not rows:
            raise JobError("This job is not known any more.")
        return _job(rows[0])

    async def unfinished_jobs(self) -> list[Job]:
        """Return the jobs that an earlier process did not bring to their members, in order."""
        rows = await self._rows(
            "SELECT * FROM jobs WHERE state IN ('queued', 'running', 'made') ORDER BY id"
        )
        return [_job(row) for row in rows]

    async def start_job(self, job_id: int) -> Job:
        """Record that a job is being worked on."""
        await self._change(
            "UPDATE jobs SET state = 'running', started_at = ? WHERE id = ?", time.time(), job_id
        )
        return await self.job(job_id)

    async def finish_job(self, job_id: int, result: Result) -> None:
        """Keep the pictures of a job and record it as made, both or neither."""
        paths = [f"images/{job_id:08}-{n}.png" for n in range(1, len(result.images) + 1)]
        outcome = {
            "seeds": result.seeds,
            "seconds": dict(result.seconds),
            "memory": asdict(result.memory),
            "quantization": result.quantization,
            "fallback_reason": result.fallback_reason,
            "notes": result.notes,
        }
        with sentences(self._folder):
            await asyncio.to_thread(write_files, self._folder, paths, result.images)
        try:
            await self._record_images(job_id, result, paths, json.dumps(outcome))
        except BaseException:
            for path in paths:
                (self._folder / path).unlink(missing_ok=True)
            raise

    async def _record_images(
        self, job_id: int, result: Result, paths: list[str], outcome: str
    ) -> None:
        async with self._transaction():
            await self._connection.executemany(
                "INSERT INTO images (job_id, position, seed, path, bytes) VALUES (?, ?, ?, ?, ?)",
                [
                    (job_id, position, seed, path, len(image))
                    for position, (seed, path, image) in enumerate(
                        zip(result.seeds, paths, result.images, strict=True), 1
                    )
                ],
            )
            await self._connection.execute(
                "UPDATE jobs SET state = 'made', outcome = ?, finished_at = ? WHERE id = ?",
                (outcome, time.time(), job_id),
            )

    async def images(self, job_id: int) -> list[StoredImage]:
        """Return the pictures of a job in their order."""
        rows = await self._rows("SELECT * FROM images WHERE job_id = ? ORDER BY position", job_id)
        return [StoredImage(**{**dict(row), "path": self._folder / row["path"]}) for row in rows]

    async def result(self, job: Job) -> Result:
        """Return the result of a job as it was made; raise StorageError if a file has gone."""
        assert job.outcome is not None
        outcome = job.outcome
        images = await self.images(job.id)
        with sentences(self._folder):
            contents = await asyncio.to_thread(lambda: [each.path.read_bytes() for each in images])
        weights = Weights(**outcome["memory"]["weights"])
        return Result(
            images=tuple(contents),
            seeds=tuple(outcome["seeds"]),
            seconds=outcome["seconds"],
            memory=MemoryStats(**outcome["memory"] | {"weights": weights}),
            quantization=outcome["quantization"],
            fallback_reason=outcome["fallback_reason"],
            notes=tuple(outcome["notes"]),
        )

    async def mark_delivered(self, job_id: int) -> None:
        """Record that the member has the pictures of a job."""
        await self._change("UPDATE jobs SET state = 'delivered' WHERE id = ?", job_id)

    async def end_job(
        self, job_id: int, state: Literal["failed", "cancelled", "interrupted"], error: str
    ) -> None:
        """Record that a job ended without pictures, and why."""
        await self._change(
            "UPDATE jobs SET state = ?, error = ?, finished_at = ? WHERE id = ?",
            state,
            error,
            time.time(),
            job_id,
        )

    async def _rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with sentences(self._folder):
            return list(await self._connection.execute_fetchall(sql, values))

    async def _change(self, sql: str, *values: object) -> None:
        async with self._transaction():
            await self._connection.execute(sql, values)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        async with self._writing:
            with sentences(self._folder):
                try:
                    await self._connection.execute("BEGIN IMMEDIATE")
                    yield
                    await self._connection.execute("COMMIT")
                except BaseException:
                    # SQLite ends some failed transactions itself, those of a full disk for one
                    with contextlib.suppress(sqlite3.OperationalError):
                        await self._connection.execute("ROLLBACK")
                    raise


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


def prepare_folder(folder: Path) -> None:
    """Make the data folder, for its owner alone; raise StorageError if it cannot be written."""
    with sentences(folder):
        for each in (folder, folder / "images"):  # `parents` would ignore the mode
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder / "images"):
            pass


def write_files(folder: Path, paths: list[str], contents: tuple[bytes, ...]) -> None:
    """Write files under `folder`, all or none, each complete under its name or not there at all."""
    written: list[Path] = []
    try:
        for path, content in zip(paths, contents, strict=True):
            written.append(write_file(folder / path, content))
    except OSError:
        for file in written:
            file.unlink(missing_ok=True)
        raise


def write_file(path: Path, content: bytes) -> Path:
    """Write a file so that its name never stands for half of it."""
    descriptor, partial = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return Path(partial).replace(path)
    except OSError:
        Path(partial).unlink(missing_ok=True)
        raise


@contextmanager
def sentences(folder: Path) -> Iterator[None]:
    """Turn the errors of disk and database into StorageErrors."""
    try:
        yield
    except OSError as error:
        kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
        raise kind(folder, error.strerror or str(error)) from error
    except sqlite3.Error as error:
        kind = DiskFull if "disk is full" in str(error) else StorageError
        raise kind(folder, str(error)) from error


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        state=row["state"],
        origin=Origin(
            user_id=row["user_id"],
            guild_id=row["guild_id"],
            channel_id=row["channel_id"],
            message_id=row["message_id"],
            application_id=row["application_id"],
            token=row["token"],
            private=bool(row["private"]),
            spoiler=bool(row["spoiler"]),
        ),
        request=Request(**json.loads(row["request"])),
        outcome=json.loads(row["outcome"]) if row["outcome"] else None,
        error=row["error"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )
