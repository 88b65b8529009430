"""The database and the picture files: what is in them is whole, or not there."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import sqlite3
import stat
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from bot import files, schema
from bot.errors import DiskFull, JobError, StorageError
from bot.inference.sweep_results import merged
from bot.inference.sweeps import compare, variations
from bot.inference.types import Region, Result
from bot.records import Origin
from bot.schema import migrations
from bot.storage import Storage

from .doubles import MEMORY, result_for
from .records import UNUSUAL as REQUEST

ORIGIN = Origin(
    user_id=1,
    guild_id=None,
    channel_id=2**63 - 1,
    message_id=3,
    application_id=4,
    token="token",
    private=True,
)
RESULT = Result(
    images=(b"first", b"second"),
    seeds=REQUEST.seeds,
    size=(96, 128),
    seconds={"denoise": 1.5},
    memory=MEMORY,
    quantization="None",
    fallback_reason="quantising failed",
)
FILL = replace(
    REQUEST,
    tool="fill",
    height=None,
    width=None,
    images={"image": b"a photo", "mask": b"a mask"},
    region=Region(area="10 10 50 50", left=20, adjustments=("grow", "invert")),
)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    async with Storage.open(tmp_path / "data") as storage:
        yield storage


async def test_a_job_comes_back_as_it_was_given_also_after_a_restart(tmp_path: Path) -> None:
    async with Storage.open(tmp_path) as storage:
        job = await storage.add_job(REQUEST, ORIGIN)
    async with Storage.open(tmp_path) as storage:
        again = await storage.job(job.id)
    assert again == job
    assert (again.request, again.origin, again.state) == (REQUEST, ORIGIN, "queued")


async def test_a_finished_job_has_its_pictures_and_what_was_measured(storage: Storage) -> None:
    job = await storage.add_job(REQUEST, ORIGIN)
    await storage.start_job(job.id)
    await storage.finish_job(job.id, RESULT)
    made = await storage.job(job.id)
    assert made.state == "made"
    assert made.outcome is not None
    assert made.outcome["memory"]["weights"] == {"actual": 2, "bfloat16": 4, "float32": 8}
    assert made.outcome["fallback_reason"] == "quantising failed"
    assert made.started_at is not None
    assert made.finished_at is not None
    assert made.created_at <= made.started_at <= made.finished_at
    images = await storage.images(job.id)
    assert [image.path.read_bytes() for image in images] == [b"first", b"second"]
    assert [image.seed for image in images] == [2**32 - 1, 0]
    assert await storage.result(made) == RESULT
    await storage.mark_delivered(job.id)
    assert (await storage.job(job.id)).state == "delivered"


async def test_a_clock_that_is_set_while_a_job_runs_costs_its_member_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await storage.add_job(REQUEST, replace(ORIGIN, guild_id=5))
    await storage.start_job(job.id)
    tomorrow = time.time() + 86400
    monkeypatch.setattr("bot.storage.time.time", lambda: tomorrow)
    await storage.finish_job(job.id, RESULT)
    ((_, seconds),) = await storage.usage(0, 5)
    assert 0 < seconds < 86400


async def test_the_control_image_of_a_result_is_kept_with_its_pictures(storage: Storage) -> None:
    job = await storage.add_job(REQUEST, ORIGIN)
    result = replace(RESULT, control_image=b"edges", reused=("annotate", "encode"))
    await storage.finish_job(job.id, result)
    assert await storage.result(await storage.job(job.id)) == result


async def test_a_sweep_comes_back_with_each_of_its_pictures(storage: Storage) -> None:
    request = compare(REQUEST, 2)
    results = [
        replace(result_for(each), fallback_reason=reason, seconds={"load": 0.1, "denoise": 1 / 3})
        for each, reason in zip(variations(request), (None, "quantising failed"), strict=True)
    ]
    whole = merged(request, results)
    whole = replace(whole, cells=(whole.cells[0], replace(whole.cells[1], ssim=0.98765)))
    job = await storage.add_job(request, ORIGIN)
    assert job.request == request
    await storage.finish_job(job.id, whole)
    made = await storage.job(job.id)
    assert made.request == request
    assert await storage.result(made) == whole
    assert [image.seed for image in await storage.images(job.id)] == list(whole.seeds)


async def test_a_result_that_was_recorded_before_there_were_sweeps_is_read(
    storage: Storage,
) -> None:
    job = await storage.add_job(REQUEST, ORIGIN)
    await storage.finish_job(job.id, RESULT)
    await storage._database.change("UPDATE jobs SET outcome = json_remove(outcome, '$.cells')")
    await storage._database.change("UPDATE jobs SET request = json_remove(request, '$.sweep')")
    made = await storage.job(job.id)
    assert made.request == REQUEST
    assert await storage.result(made) == RESULT


async def test_attached_images_wait_in_files_and_not_in_memory(tmp_path: Path) -> None:
    async with Storage.open(tmp_path) as storage:
        job = await storage.add_job(FILL, ORIGIN)
        assert job.request == replace(FILL, images={})
    async with Storage.open(tmp_path) as storage:
        assert (await storage.job(job.id)).request == replace(FILL, images={})
        assert await storage.inputs(job.id) == {"image": b"a photo", "mask": b"a mask"}


async def test_the_same_image_in_two_jobs_is_one_file(storage: Storage, tmp_path: Path) -> None:
    first, second = [await storage.add_job(FILL, ORIGIN) for _ in range(2)]
    assert len(list((tmp_path / "data" / "inputs").iterdir())) == 2
    assert await storage.inputs(first.id) == await storage.inputs(second.id) == FILL.images


async def test_an_attached_image_that_has_gone_is_a_sentence(
    storage: Storage, tmp_path: Path
) -> None:
    job = await storage.add_job(FILL, ORIGIN)
    for file in (tmp_path / "data" / "inputs").iterdir():
        file.unlink()
    with pytest.raises(StorageError, match="No such file"):
        await storage.inputs(job.id)


async def test_images_of_a_job_that_could_not_be_recorded_are_taken_back(
    storage: Storage, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match="NOT NULL"):
        await storage.add_job(FILL, replace(ORIGIN, user_id=None))  # type: ignore[arg-type]
    assert list((tmp_path / "data" / "inputs").iterdir()) == []


async def test_a_draft_is_adjusted_and_then_removed_once(storage: Storage, tmp_path: Path) -> None:
    draft = await storage.drafts.add(FILL, ORIGIN)
    assert (draft.request, draft.origin) == (replace(FILL, images={}), ORIGIN)
    adjusted = await storage.drafts.adjust(draft.id, ("feather",))
    assert adjusted.request.region is not None
    assert adjusted.request.region.adjustments == ("feather",)
    assert await storage.drafts.images(draft.id) == FILL.images
    removals = [storage.drafts.remove(draft.id) for _ in range(2)]
    _, refused = await asyncio.gather(*removals, return_exceptions=True)
    assert isinstance(refused, JobError)
    assert "expired" in str(refused)
    assert list((tmp_path / "data" / "inputs").iterdir()) == []


async def test_removing_a_draft_leaves_the_files_that_a_job_needs(storage: Storage) -> None:
    draft, job = await storage.drafts.add(FILL, ORIGIN), await storage.add_job(FILL, ORIGIN)
    await storage.drafts.remove(draft.id)
    assert await storage.inputs(job.id) == FILL.images


async def test_all_drafts_are_found_until_they_are_removed(storage: Storage) -> None:
    first, second = [await storage.drafts.add(FILL, ORIGIN) for _ in range(2)]
    assert await storage.drafts.all() == [first, second]
    await storage.drafts.remove(first.id)
    assert await storage.drafts.all() == [second]


async def test_a_job_that_ended_otherwise_says_why(storage: Storage) -> None:
    job = await storage.add_job(REQUEST, ORIGIN)
    await storage.end_job(job.id, "failed", "out of memory")
    ended = await storage.job(job.id)
    assert (ended.state, ended.error) == ("failed", "out of memory")


async def test_unfinished_jobs_are_those_that_wait_or_run_in_their_order(storage: Storage) -> None:
    first, second, third = [await storage.add_job(REQUEST, ORIGIN) for _ in range(3)]
    await storage.start_job(first.id)
    await storage.end_job(second.id, "cancelled", "by its owner")
    assert [job.id for job in await storage.unfinished_jobs()] == [first.id, third.id]


async def test_an_unknown_job_is_a_sentence(storage: Storage) -> None:
    with pytest.raises(JobError, match="not known"):
        await storage.job(404)


async def test_folder_and_database_are_their_owners_alone(tmp_path: Path) -> None:
    async with Storage.open(tmp_path / "data") as storage:
        await storage.add_job(REQUEST, ORIGIN)
        modes = {
            path.name: oct(stat.S_IMODE(path.stat().st_mode))
            for path in [tmp_path / "data", *(tmp_path / "data").iterdir()]
        }
    assert modes == {
        "data": "0o700",
        "images": "0o700",
        "inputs": "0o700",
        "bot.sqlite3": "0o600",
        "bot.sqlite3-wal": "0o600",
        "bot.sqlite3-shm": "0o600",
    }


async def test_a_database_from_blank_has_every_migration(tmp_path: Path) -> None:
    async with Storage.open(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "bot.sqlite3") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(migrations()),)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_a_database_of_the_first_schema_keeps_its_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrations", lambda: migrations()[:1])
        async with Storage.open(tmp_path):
            pass
    options = REQUEST.options()
    outcome = {key: getattr(RESULT, key) for key in ("seeds", "quantization", "fallback_reason")}
    outcome |= {"seconds": RESULT.seconds, "notes": [], "memory": asdict(MEMORY)}
    with sqlite3.connect(tmp_path / "bot.sqlite3") as connection:
        connection.execute(
            "INSERT INTO jobs (state, user_id, channel_id, message_id, application_id, token,"
            " private, spoiler, request, outcome, created_at)"
            " VALUES ('made', 1, 2, 3, 4, 'token', 0, 0, ?, ?, 5)",
            (json.dumps(options), json.dumps(outcome)),
        )
    connection.close()
    async with Storage.open(tmp_path) as storage:
        (job,) = await storage.unfinished_jobs()
        result = await storage.result(job)
    assert job.request == REQUEST
    assert (result.size, result.reused, result.control_image) == ((96, 128), (), None)
    assert job.origin.filesize_limit == 10 * 2**20


async def test_a_database_of_a_newer_bot_is_left_alone(tmp_path: Path) -> None:
    async with Storage.open(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "bot.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(StorageError, match="newer version of the bot"):
        async with Storage.open(tmp_path):
            pass


async def test_a_migration_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [*migrations(), "CREATE TABLE half (id INTEGER); SELECT no_such_function();"]
    monkeypatch.setattr(schema, "migrations", lambda: broken)
    with pytest.raises(StorageError, match="no_such_function"):
        async with Storage.open(tmp_path):
            pass
    with sqlite3.connect(tmp_path / "bot.sqlite3") as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        version = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    assert "half" not in tables
    assert version == (len(broken) - 1,)


async def test_a_database_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "bot.sqlite3").write_bytes(b"this is no database" * 100)
    with pytest.raises(StorageError, match="file is not a database"):
        async with Storage.open(tmp_path):
            pass


async def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot be used: Not a directory\. Mend it"):
        async with Storage.open(tmp_path / "file" / "data"):
            pass


async def test_a_folder_without_permission_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # root may write anywhere, so the refusal of the kernel is played
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        async with Storage.open(tmp_path):
            pass


async def test_a_full_disk_leaves_no_half_written_picture(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await storage.add_job(REQUEST, ORIGIN)
    fsync, calls = os.fsync, []

    def full_at_second(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_at_second)
    with pytest.raises(DiskFull, match="The operator has to make room there"):
        await storage.finish_job(job.id, RESULT)
    assert list((tmp_path / "data" / "images").iterdir()) == []
    assert await storage.images(job.id) == []
    assert (await storage.job(job.id)).state == "queued"
    await storage.finish_job(job.id, RESULT)


async def test_rows_and_files_are_all_written_or_none(storage: Storage, tmp_path: Path) -> None:
    job = await storage.add_job(REQUEST, ORIGIN)
    twice = replace(RESULT, seeds=(1, None), images=(b"a", b"b"))  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="NOT NULL"):
        await storage.finish_job(job.id, twice)
    assert await storage.images(job.id) == []
    assert list((tmp_path / "data" / "images").iterdir()) == []
    await storage.finish_job(job.id, RESULT)


async def test_a_cancel_that_comes_with_the_commit_takes_no_picture_from_what_is_made(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await storage.add_job(REQUEST, ORIGIN)
    connection = storage._database._connection
    execute = connection.execute

    def cancelled_at_the_commit(sql: str, *values: Any) -> Any:
        task = asyncio.current_task()
        if sql == "COMMIT" and task is not None:
            task.cancel()
        return execute(sql, *values)

    with monkeypatch.context() as patch:
        patch.setattr(connection, "execute", cancelled_at_the_commit)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(storage.finish_job(job.id, RESULT))
    made = await storage.job(job.id)
    assert made.state == "made"
    assert await storage.result(made) == RESULT


async def test_the_loop_goes_on_while_pictures_are_hashed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def noted(content: bytes) -> Any:
        threads.append(threading.current_thread())
        return hashlib.sha256(content)

    monkeypatch.setattr("bot.storage.sha256", noted)
    job = await storage.add_job(REQUEST, ORIGIN)
    await storage.finish_job(job.id, RESULT)
    assert len(threads) == 2
    assert threading.main_thread() not in threads
    hashes = [image.sha256 for image in await storage.images(job.id)]
    assert hashes == [hashlib.sha256(image).hexdigest() for image in RESULT.images]


async def test_the_result_of_a_job_that_is_deleted_meanwhile_is_a_sentence(
    storage: Storage,
) -> None:
    job = await storage.add_job(REQUEST, ORIGIN)
    await storage.finish_job(job.id, RESULT)
    made = await storage.job(job.id)
    await storage.mark_delivered(job.id)
    await storage.disposal.delete(job.id)
    with pytest.raises(JobError, match="not known any more"):
        await storage.result(made)


async def test_notes_that_come_later_are_kept_and_change_nothing_else(storage: Storage) -> None:
    job = await storage.add_job(REQUEST, ORIGIN)
    await storage.set_notes(job.id, ["too early"])
    assert (await storage.job(job.id)).outcome is None
    await storage.finish_job(job.id, RESULT)
    await storage.set_notes(job.id, ["the «same» pixels"])
    made = await storage.job(job.id)
    assert await storage.result(made) == replace(RESULT, notes=("the «same» pixels",))


async def test_what_was_made_is_as_old_as_it_is_when_nobody_gets_it(storage: Storage) -> None:
    job = await storage.add_job(REQUEST, ORIGIN)
    await storage.finish_job(job.id, RESULT)
    await storage._database.change("UPDATE jobs SET finished_at = 5 WHERE id = ?", job.id)
    await storage.end_job(job.id, "failed", "Discord did not take it.")
    assert (await storage.job(job.id)).finished_at == 5


async def test_a_picture_file_that_has_gone_is_a_sentence(storage: Storage) -> None:
    job = await storage.add_job(REQUEST, ORIGIN)
    await storage.finish_job(job.id, RESULT)
    (await storage.images(job.id))[0].path.unlink()
    with pytest.raises(StorageError, match="No such file"):
        await storage.result(await storage.job(job.id))


async def test_tokens_do_not_show_where_a_job_is_printed(storage: Storage) -> None:
    job = await storage.add_job(REQUEST, replace(ORIGIN, token="a-secret-token"))
    assert "a-secret-token" not in repr(job)


async def test_a_database_that_another_program_holds_is_one_sentence_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    async with Storage.open(tmp_path) as storage:
        job = await storage.add_job(REQUEST, ORIGIN)
        await storage._database._connection.execute("PRAGMA busy_timeout = 50")
        other = sqlite3.connect(tmp_path / "bot.sqlite3", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="Another program holds"):
            await storage.start_job(job.id)
        other.execute("ROLLBACK")
        other.close()
        assert (await storage.start_job(job.id)).attempts == 1
