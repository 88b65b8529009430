"""The schema: from an empty file and from every earlier version, nothing that was there is lost."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bot.database import FILENAME
from bot.errors import StorageError
from bot.inference.types import Region, Request
from bot.records import DEFAULT_FILESIZE_LIMIT, Look
from bot.schema import migrations
from bot.storage import Storage
from tests.doubles import MEMORY, result_for
from tests.records import UNUSUAL as REQUEST

EARLIER = range(1, len(migrations()))

FILL = Request(
    tool="fill",
    prompt="a hat",
    num_inference_steps=30,
    guidance_scale=30.0,
    seed=1,
    region=Region(area="centre", adjustments=("grow",)),
)
ORIGIN = {
    "user_id": 1,
    "guild_id": 5,
    "channel_id": 2**62,
    "message_id": 3,
    "application_id": 4,
    "token": "token",
}
JOB = ORIGIN | {"private": 1, "spoiler": 0, "created_at": 100.0}
PICTURES = result_for(REQUEST).images


def options(request: Request, version: int) -> str:
    """Return a request as a version wrote it: later ones know more options."""
    values = request.options()
    late = {"max_pixels": 4, "classify": 4, "region": 2, "low": 2, "high": 2, "strength": 2}
    return json.dumps({k: v for k, v in values.items() if late.get(k, 1) <= version})


def outcome(version: int) -> str:
    """Return what a version noted of a result."""
    result = result_for(REQUEST)
    values: dict[str, Any] = {
        "seeds": result.seeds,
        "seconds": dict(result.seconds),
        "memory": asdict(MEMORY),
        "quantization": "8-bit",
        "fallback_reason": None,
        "notes": ["as it was"],
    }
    if version >= 2:
        values |= {"size": [96, 128], "reused": ["encode"]}
    return json.dumps(values)


def insert(connection: sqlite3.Connection, table: str, **values: Any) -> None:
    names = ", ".join(values)
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))


def write_database(folder: Path, version: int) -> None:
    """Make a data folder as a version of the bot left it, with one of everything."""
    for name in ("images", "inputs"):
        (folder / name).mkdir(parents=True)
    with closing(sqlite3.connect(folder / FILENAME)) as connection, connection:
        for script in migrations()[:version]:
            connection.executescript(script)
        connection.execute(f"PRAGMA user_version = {version}")
        request = options(REQUEST, version)
        done = {"started_at": 110.0, "finished_at": 130.0, "outcome": outcome(version)}
        insert(connection, "jobs", state="delivered", request=request, **JOB | done)
        for position, picture in enumerate(PICTURES, 1):
            path = f"images/00000001-{position}.png"
            (folder / path).write_bytes(picture)
            values = {"job_id": 1, "position": position, "seed": REQUEST.seeds[position - 1]}
            insert(connection, "images", path=path, bytes=len(picture), **values)
        insert(connection, "jobs", state="queued", request=request, **JOB)
        failed = {"started_at": 140.0, "finished_at": 145.0, "error": "out of memory"}
        insert(connection, "jobs", state="failed", request=request, **JOB | failed)
        stopped = {"started_at": 150.0, "finished_at": 140.0, "guild_id": None}
        insert(connection, "jobs", state="interrupted", request=request, **JOB | stopped)
        if version >= 2:
            fill = options(FILL, version)
            insert(connection, "jobs", state="running", request=fill, started_at=160.0, **JOB)
            insert(connection, "inputs", job_id=5, name="image", sha256="aa")
            insert(
                connection,
                "drafts",
                origin=json.dumps(ORIGIN | {"private": True}),
                request=fill,
                created_at=170.0,
            )
            insert(connection, "inputs", draft_id=1, name="image", sha256="aa")
            (folder / "inputs" / "aa").write_bytes(b"a photo")
        if version >= 3:
            connection.execute("UPDATE jobs SET attempts = 2, nonce = 'result-1' WHERE id = 5")


def written(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of all tables."""
    with closing(sqlite3.connect(folder / FILENAME)) as connection:
        connection.row_factory = sqlite3.Row
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")]
            for (name,) in names.fetchall()
        }


async def migrate(folder: Path) -> None:
    async with Storage.open(folder):
        pass


async def test_an_empty_file_gets_the_schema_of_today(tmp_path: Path) -> None:
    (tmp_path / FILENAME).touch()
    await migrate(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILENAME)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(migrations()),)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("version", EARLIER)
async def test_no_row_and_no_value_is_lost(tmp_path: Path, version: int) -> None:
    write_database(tmp_path, version)
    before = written(tmp_path)
    await migrate(tmp_path)
    after = written(tmp_path)
    for table, rows in before.items():
        kept = [
            {name: new[name] for name in old if name != "outcome"}
            for old, new in zip(rows, after[table], strict=True)
        ]
        assert kept == [{k: v for k, v in row.items() if k != "outcome"} for row in rows]


@pytest.mark.parametrize("version", EARLIER)
async def test_it_has_the_schema_of_a_new_database(tmp_path: Path, version: int) -> None:
    write_database(tmp_path / "old", version)
    schemas = []
    for folder in (tmp_path / "old", tmp_path / "new"):
        await migrate(folder)
        with closing(sqlite3.connect(folder / FILENAME)) as connection:
            found = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name")
            schemas.append(found.fetchall())
            assert connection.execute("PRAGMA user_version").fetchone() == (len(migrations()),)
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert schemas[0] == schemas[1]


@pytest.mark.parametrize("version", EARLIER)
async def test_jobs_are_read_as_they_were_written(tmp_path: Path, version: int) -> None:
    write_database(tmp_path, version)
    async with Storage.open(tmp_path) as storage:
        job = await storage.job(1)
        result = await storage.result(job)
        unfinished = await storage.unfinished_jobs()
        failed = await storage.job(3)
    assert job.request == REQUEST
    assert (job.state, job.origin.user_id, job.origin.private) == ("delivered", 1, True)
    assert (job.started_at, job.finished_at) == (110.0, 130.0)
    assert job.origin.filesize_limit == DEFAULT_FILESIZE_LIMIT
    assert job.origin.look == Look()
    assert (job.parents, job.repeats) == ((), None)
    assert (result.images, result.seeds, result.size) == (PICTURES, REQUEST.seeds, (96, 128))
    assert (result.notes, result.memory) == (("as it was",), MEMORY)
    assert (result.made_with, result.unsafe) == ({}, ())
    assert result.reused == (("encode",) if version >= 2 else ())
    assert (failed.state, failed.error) == ("failed", "out of memory")
    assert [each.id for each in unfinished] == ([2, 5] if version >= 2 else [2])


@pytest.mark.parametrize("version", [each for each in EARLIER if each >= 2])
async def test_attached_images_and_drafts_are_still_there(tmp_path: Path, version: int) -> None:
    write_database(tmp_path, version)
    async with Storage.open(tmp_path) as storage:
        job = await storage.job(5)
        assert (job.request, job.inputs) == (FILL, ("image",))
        assert await storage.inputs(5) == {"image": b"a photo"}
        draft = await storage.drafts.get(1)
        assert await storage.drafts.images(1) == {"image": b"a photo"}
    assert (job.attempts, job.nonce) == ((2, "result-1") if version >= 3 else (0, None))
    assert (draft.request, draft.origin.private, draft.origin.look) == (FILL, True, Look())


@pytest.mark.parametrize("version", EARLIER)
async def test_what_ran_before_counts_as_used(tmp_path: Path, version: int) -> None:
    write_database(tmp_path, version)
    async with Storage.open(tmp_path) as storage:
        assert await storage.usage(0, 5) == [(130.0, 20.0), (145.0, 5.0)]
        assert await storage.usage(0, 5, 1) == [(130.0, 20.0), (145.0, 5.0)]
    # one of direct messages, whose clock had gone back meanwhile
    (other,) = [row for row in written(tmp_path)["usage"] if row["guild_id"] is None]
    assert other.pop("forgotten") == 0
    assert other == {"user_id": 1, "guild_id": None, "ended_at": 140.0, "seconds": 0}


@pytest.mark.parametrize("version", EARLIER)
async def test_a_second_start_changes_nothing(tmp_path: Path, version: int) -> None:
    write_database(tmp_path, version)
    await migrate(tmp_path)
    once = written(tmp_path)
    await migrate(tmp_path)
    assert written(tmp_path) == once


async def test_a_database_of_a_newer_version_is_refused_in_one_sentence_and_left_alone(
    tmp_path: Path,
) -> None:
    newer = len(migrations()) + 1
    await migrate(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILENAME)) as connection, connection:
        connection.execute("CREATE TABLE of_tomorrow (id INTEGER)")
        connection.execute(f"PRAGMA user_version = {newer}")
    with pytest.raises(StorageError) as caught:
        await migrate(tmp_path)
    assert "was written by a newer version of the bot" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "of_tomorrow" in written(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILENAME)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (newer,)
