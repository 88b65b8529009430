"""What is deleted is gone, with all its files; what is needed stays."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot import disposal
from bot.errors import JobError, StorageError
from bot.settings import DAY
from bot.storage import Storage
from tests.doubles import result_for
from tests.records import ALICE, AWAY, BOB, HOME, ORIGIN, OTHER, PICTURES, REQUEST, at, made, queued

NOW = 1_800_000_000.0
PHOTO = replace(REQUEST, tool="kontext", images={"image": b"a photo"})


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    async with Storage.open(tmp_path) as storage:
        yield storage


def files(folder: Path) -> list[str]:
    return sorted(
        f"{name}/{file.name}" for name in ("images", "inputs") for file in (folder / name).iterdir()
    )


def bytes_in_use(folder: Path) -> int:
    return sum((folder / path).stat().st_size for path in files(folder))


async def tables(storage: Storage) -> dict[str, int]:
    """Return how many rows each table has, of those that have any."""
    names = ("jobs", "images", "inputs", "parents", "drafts", "usage", "settings", "settings_log")
    counts = {}
    for name in (*names, "departures", "posts"):
        (row,) = await storage._database.rows(f"SELECT count(*) FROM {name}")
        counts[name] = row[0]
    return {name: count for name, count in counts.items() if count}


async def test_a_deleted_job_leaves_neither_rows_nor_files_but_its_seconds(
    storage: Storage, tmp_path: Path
) -> None:
    job = await queued(storage, request=PHOTO)
    await storage.start_job(job.id)
    await storage.finish_job(job.id, replace(result_for(PHOTO), control_image=b"edges"))
    await storage.mark_delivered(job.id)
    assert len(files(tmp_path)) == 3
    await storage.disposal.delete(job.id)
    assert files(tmp_path) == []
    assert await tables(storage) == {"usage": 1}


@pytest.mark.parametrize("state", ["queued", "running", "made"])
async def test_what_is_not_over_is_not_deleted(
    storage: Storage, tmp_path: Path, state: str
) -> None:
    job = await queued(storage, request=PHOTO)
    if state != "queued":
        await storage.start_job(job.id)
    if state == "made":
        await storage.finish_job(job.id, result_for(PHOTO))
    before = files(tmp_path)
    with pytest.raises(JobError, match="still waits"):
        await storage.disposal.delete(job.id)
    assert (await storage.job(job.id)).state == state
    assert await storage.disposal.delete_expired(HOME, NOW * 2) == 0
    assert await storage.disposal.delete_files(0) == 0
    assert files(tmp_path) == before


async def test_an_input_stays_as_long_as_anything_else_needs_it(
    storage: Storage, tmp_path: Path
) -> None:
    first, second = [await made(storage, request=PHOTO) for _ in range(2)]
    draft = await storage.drafts.add(PHOTO, ORIGIN)
    await storage.disposal.delete(first.id)
    assert await storage.inputs(second.id) == PHOTO.images
    await storage.disposal.delete(second.id)
    assert await storage.drafts.images(draft.id) == PHOTO.images
    await storage.drafts.remove(draft.id)
    assert files(tmp_path) == []


async def test_an_input_that_comes_again_while_it_is_deleted_is_there(storage: Storage) -> None:
    for _ in range(20):
        old = await made(storage, request=PHOTO)
        new, _ = await asyncio.gather(
            queued(storage, request=PHOTO), storage.disposal.delete(old.id)
        )
        assert await storage.inputs(new.id) == PHOTO.images
        await storage.end_job(new.id, "cancelled", "")
        await storage.disposal.delete(new.id)


async def test_expired_jobs_go_in_batches_and_the_others_stay(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disposal, "BATCH", 2)
    old = [await made(storage) for _ in range(5)]
    for job in old:
        await at(storage, job, NOW - 100)
    young = await made(storage)
    await at(storage, young, NOW)
    elsewhere = await made(storage, guild_id=AWAY)
    await at(storage, elsewhere, NOW - 100)
    assert await storage.disposal.delete_expired(HOME, NOW - 50) == 5
    assert await tables(storage) == {"jobs": 2, "images": 2, "usage": 7}
    assert files(tmp_path) == [f"images/{job.id:08}-1.png" for job in (young, elsewhere)]


async def test_a_job_that_ended_by_a_wrong_clock_is_as_old_as_its_message(
    storage: Storage,
) -> None:
    message_id = int((NOW - 1_420_070_400) * 1000) << 22
    job = await made(storage, message_id=message_id)
    await at(storage, job, 3600.0)  # as a machine has it that has lost its time: 1970
    assert await storage.disposal.delete_expired(HOME, NOW - 1) == 0
    assert await storage.disposal.delete_expired(HOME, NOW + 1) == 1


async def test_nothing_of_a_server_is_left_and_nothing_else_is_touched(
    storage: Storage, tmp_path: Path
) -> None:
    for guild_id in (HOME, AWAY):
        await made(storage, guild_id=guild_id)
        await storage.drafts.add(PHOTO, replace(ORIGIN, guild_id=guild_id))
        await storage.settings.change(guild_id, 0, {"keep_days": 3}, user_id=BOB)
        await storage.departures.note(guild_id, 0, NOW)
    await storage.disposal.delete_guild(HOME)
    assert await tables(storage) == dict.fromkeys(
        (*("jobs", "images", "inputs", "drafts"), *("usage", "settings", "settings_log")), 1
    ) | {"departures": 1}
    assert await storage.history.guild_ids() == [AWAY]
    assert len(files(tmp_path)) == 2


async def test_a_member_goes_from_one_server_and_stays_in_the_other(
    storage: Storage,
) -> None:
    kept = await made(storage, guild_id=AWAY)
    others = await made(storage, user_id=BOB)
    await made(storage)
    await storage.drafts.add(PHOTO, ORIGIN)
    await storage.settings.change(HOME, 0, {"keep_days": 3}, user_id=ALICE)
    await storage.departures.note(HOME, ALICE, NOW)
    await storage.disposal.delete_member(ALICE, HOME)
    await storage.disposal.forget_members(time.time() + DAY)
    rows = await storage._database.rows("SELECT id FROM jobs ORDER BY id")
    assert [row["id"] for row in rows] == [kept.id, others.id]
    assert "departures" not in await tables(storage)
    assert "drafts" not in await tables(storage)
    rows = await storage._database.rows("SELECT user_id, guild_id FROM usage ORDER BY 2, 1")
    assert [tuple(row) for row in rows] == [(None, HOME), (BOB, HOME), (ALICE, AWAY)]
    (change,) = await storage.settings.log(HOME, count=9)
    assert (change.user_id, change.new) == (0, 3)


async def test_messages_of_what_a_member_deletes_are_noted_the_latest_first(
    storage: Storage,
) -> None:
    job = await made(storage, message_id=20)
    await made(storage, message_id=30)
    private = await made(storage, message_id=40, private=True)
    theirs = await made(storage, message_id=50, user_id=BOB)
    for each, message_id in ((job, 22), (job, 21), (private, 44), (theirs, 55)):
        await storage.history.note_post(each.id, OTHER, message_id)
    await storage.disposal.delete(job.id)
    assert await storage.disposal.messages() == [(OTHER, 22), (OTHER, 21), (PICTURES, 20)]
    await storage.disposal.strike_message(22)
    await storage.disposal.delete_member(ALICE)
    left = [message_id for _, message_id in await storage.disposal.messages()]
    assert left == [44, 30, 21, 20]
    assert (await tables(storage))["posts"] == 1


async def test_messages_of_what_has_had_its_time_stay(storage: Storage) -> None:
    for guild_id in (HOME, AWAY):
        await storage.history.note_post((await made(storage, guild_id=guild_id)).id, OTHER, 5)
    await storage.disposal.delete_expired(HOME, NOW * 2)
    await storage.disposal.delete_member(ALICE, AWAY)
    assert await storage.disposal.messages() == []
    assert "posts" not in await tables(storage)


async def test_records_that_are_too_old_go(storage: Storage) -> None:
    await made(storage)
    await storage.settings.change(HOME, 0, {"keep_days": 3}, user_id=ALICE)
    long_ago, later = 1000.0, NOW * 2
    await storage.disposal.delete_records(changed_before=long_ago, used_before=long_ago)
    assert {"usage", "settings_log"} <= set(await tables(storage))
    await storage.disposal.delete_records(changed_before=later, used_before=later)
    assert await tables(storage) == {"jobs": 1, "images": 1, "settings": 1}


async def test_over_the_limit_the_oldest_files_go_and_the_requests_stay(
    storage: Storage, tmp_path: Path
) -> None:
    jobs = [
        await made(storage, request=replace(PHOTO, images={"image": b"%d" % n})) for n in range(4)
    ]
    in_use = bytes_in_use(tmp_path)
    of_one = in_use // 4
    assert await storage.disposal.delete_files(in_use) == 0
    assert await storage.disposal.delete_files(in_use - 1) == 1
    assert await storage.disposal.delete_files(in_use - 2 * of_one) == 1
    assert bytes_in_use(tmp_path) == 2 * of_one
    kept = [await storage.history.has_pictures(job.id) for job in jobs]
    assert kept == [False, False, True, True]
    assert (await storage.job(jobs[0].id)).request == jobs[0].request
    with pytest.raises(StorageError):
        await storage.inputs(jobs[0].id)
    assert len(files(tmp_path)) == 4


async def test_an_input_goes_with_the_last_job_that_it_is_for_and_comes_back_with_the_next(
    storage: Storage,
) -> None:
    old, new = [await made(storage, request=PHOTO) for _ in range(2)]
    await storage.disposal.delete_files(len(b"a photo") + len(b"picture 7"))
    assert await storage.inputs(old.id) == PHOTO.images
    assert await storage.history.has_pictures(new.id)
    await storage.disposal.delete_files(0)
    with pytest.raises(StorageError):
        await storage.inputs(old.id)
    await queued(storage, request=PHOTO)
    assert await storage.inputs(old.id) == PHOTO.images


async def test_an_input_that_a_waiting_job_needs_does_not_go(storage: Storage) -> None:
    waiting = await queued(storage, request=PHOTO)
    await made(storage, request=PHOTO)
    await storage.disposal.delete_files(0)
    assert await storage.inputs(waiting.id) == PHOTO.images


async def test_files_that_no_row_names_go_after_an_hour(storage: Storage, tmp_path: Path) -> None:
    job = await made(storage, request=PHOTO)
    known = files(tmp_path)
    for name in ("images/00000099-1.png", "images/tmpabc", "inputs/0123", "inputs/tmpdef"):
        (tmp_path / name).write_bytes(b"left by a crash")
    assert await storage.disposal.remove_orphans(0) == 0
    later = (tmp_path / "images/tmpabc").stat().st_mtime + 1
    (tmp_path / "inputs/tmpdef").touch()
    os.utime(tmp_path / "inputs/tmpdef", (later, later))
    assert await storage.disposal.remove_orphans(later) == 3
    assert files(tmp_path) == sorted([*known, "inputs/tmpdef"])
    assert await storage.result(job) == result_for(PHOTO)


async def test_a_crash_between_rows_and_files_is_made_good(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted, emptied = [await made(storage) for _ in range(2)]

    async def crash(*_: object) -> None:
        raise StorageError(tmp_path, "the power went")

    with monkeypatch.context() as patch:
        patch.setattr(storage.disposal, "_unlink", crash)
        with pytest.raises(StorageError):
            await storage.disposal.delete(deleted.id)
        with pytest.raises(StorageError):
            await storage.disposal.delete_files(0)
    assert len(files(tmp_path)) == 2
    assert not await storage.history.has_pictures(emptied.id)
    assert await storage.disposal.remove_orphans(NOW * 2) == 2
    assert files(tmp_path) == []
