"""Last words on their way: recorded first, tried again, and over at last."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from bot.errors import DiskFull, StorageError
from bot.events import Ended, JobEvent
from bot.inference.types import Result
from bot.outbox import UNDELIVERED, Outbox
from bot.records import Job, Look
from bot.storage import Storage
from tests.catalogues import Catalogues
from tests.doubles import Mailbox, result_for
from tests.records import BOB, REQUEST, made, queued


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    async with Storage.open(tmp_path) as storage:
        yield storage


async def comes_to_be(storage: Storage, job: Job, state: str) -> Job:
    async with asyncio.timeout(10):
        while (row := await storage.job(job.id)).state != state:
            await asyncio.sleep(0.01)
    return row


async def is_through(outbox: Outbox) -> None:
    """Wait until nothing is on its way; what is to be tried later may be left."""
    async with asyncio.timeout(10):
        while not outbox.is_empty:
            await asyncio.sleep(0.01)


def outbox_for(storage: Storage, mailbox: Mailbox) -> Outbox:
    return Outbox(storage, mailbox.deliver, lambda: None)


async def test_what_is_over_says_so_in_the_language_of_its_job(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, catalogues: Catalogues
) -> None:
    catalogues.add_quoted("fr")
    monkeypatch.setattr("bot.outbox.LATER", (0.01,))
    mailbox = Mailbox()
    mailbox.takes = None
    job = await queued(storage)
    french = replace(job, origin=replace(job.origin, look=Look(language="fr")))
    await storage.start_job(job.id)
    assert await outbox_for(storage, mailbox).send(french, result_for(REQUEST))
    assert (await comes_to_be(storage, job, "failed")).error == f"« {UNDELIVERED} »"


async def test_what_nobody_takes_to_the_last_is_over_and_stays_in_the_history(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.outbox.LATER", (0.01, 0.01))
    mailbox = Mailbox()
    mailbox.takes = None
    job = await queued(storage)
    await storage.start_job(job.id)
    assert await outbox_for(storage, mailbox).send(job, result_for(REQUEST))
    over = await comes_to_be(storage, job, "failed")
    assert over.error == UNDELIVERED
    assert [type(event) for event in mailbox.of(job)] == [Result, Ended] * 3
    assert await storage.history.has_pictures(job.id)
    assert await storage.result(over) == result_for(REQUEST)
    await storage.disposal.delete(job.id)


async def test_between_two_tries_no_pictures_are_in_memory(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched(Result):
        """A result that can be seen to go."""

    seen: list[weakref.ref[Result]] = []
    read = storage.result

    async def watched(job: Job) -> Result:
        result = await read(job)
        copy = Watched(**{each.name: getattr(result, each.name) for each in fields(result)})
        seen.append(weakref.ref(copy))
        return copy

    async def refuse(job: Job, event: JobEvent) -> bool:
        return False

    monkeypatch.setattr(storage, "result", watched)
    monkeypatch.setattr("bot.outbox.LATER", (0.01, 0.01, 60.0))
    outbox = Outbox(storage, refuse, lambda: None)
    await outbox.send(await queued(storage), result_for(REQUEST))
    async with asyncio.timeout(10):
        while len(seen) < 2 or seen[-1]() is not None:
            await asyncio.sleep(0.01)
    assert [each() for each in seen] == [None, None]
    outbox.stopping = True
    await outbox.abandon()


async def test_of_what_an_earlier_process_made_one_result_is_read_at_a_time(
    storage: Storage,
) -> None:
    jobs = [await queued(storage) for _ in range(3)]
    for job in jobs:
        await storage.finish_job(job.id, result_for(REQUEST))
    mailbox = Mailbox()
    mailbox.open.clear()
    outbox = outbox_for(storage, mailbox)
    for job in jobs:
        outbox.bring_kept(job)
    assert not outbox.is_empty
    assert not outbox.is_full
    async with asyncio.timeout(10):
        while not mailbox.asked:
            await asyncio.sleep(0.01)
    assert mailbox.asked == 1
    mailbox.open.set()
    await is_through(outbox)
    assert [(await storage.job(job.id)).state for job in jobs] == ["delivered"] * 3


async def test_pictures_that_cannot_be_read_any_more_end_in_a_sentence(storage: Storage) -> None:
    job = await queued(storage)
    await storage.finish_job(job.id, result_for(REQUEST))
    (image,) = await storage.images(job.id)
    image.path.unlink()
    mailbox = Mailbox()
    outbox = outbox_for(storage, mailbox)
    outbox.bring_kept(job)
    over = await comes_to_be(storage, job, "failed")
    assert over.error is not None
    assert "No such file" in over.error
    assert mailbox.of(job) == [Ended(state="failed", text=over.error)]


async def test_what_is_cut_off_before_it_is_recorded_is_known_not_to_be(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = asyncio.Event()

    async def for_ever(*_: object) -> None:
        recording.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(storage, "finish_job", for_ever)
    outbox = outbox_for(storage, Mailbox())
    job = await queued(storage)
    sending = asyncio.create_task(outbox.send(job, result_for(REQUEST)))
    await recording.wait()
    outbox.stopping = True
    await outbox.abandon()
    assert await sending is False
    assert outbox.is_empty


async def test_a_repetition_is_recorded_before_it_is_compared(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = asyncio.Event()

    async def slowly(storage: Storage, job: Job, result: Result) -> str:
        await compared.wait()
        return "The pixels are the same as in job 1."

    monkeypatch.setattr("bot.outbox.agreement", slowly)
    earlier = await made(storage)
    job = replace(await queued(storage), repeats=earlier.id)
    mailbox = Mailbox()
    outbox = outbox_for(storage, mailbox)
    async with asyncio.timeout(10):
        assert await outbox.send(job, result_for(REQUEST))
    row = await storage.job(job.id)
    assert row.state == "made"
    assert await storage.result(row) == result_for(REQUEST)
    assert mailbox.of(job) == []
    compared.set()
    await is_through(outbox)
    noted = replace(result_for(REQUEST), notes=("The pixels are the same as in job 1.",))
    assert mailbox.of(job) == [noted]
    assert await storage.result(await storage.job(job.id)) == noted


async def test_a_note_that_cannot_be_recorded_costs_no_pictures_and_the_log_says_so(
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def full(*_: object) -> None:
        raise StorageError(tmp_path, "no room")

    monkeypatch.setattr(storage, "set_notes", full)
    earlier = await made(storage)
    job = replace(await queued(storage), repeats=earlier.id)
    mailbox = Mailbox()
    outbox = outbox_for(storage, mailbox)
    await outbox.send(job, result_for(REQUEST))
    await is_through(outbox)
    (result,) = mailbox.of(job)
    assert isinstance(result, Result)
    assert len(result.notes) == 1
    assert (await storage.job(job.id)).state == "delivered"
    assert f"job {job.id}: how it compares is not kept: " in caplog.text


async def test_an_end_that_the_disk_does_not_take_is_recorded_with_the_next_one(
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    end_job, has_room = storage.end_job, asyncio.Event()

    async def end_where_there_is_room(*arguments: Any) -> None:
        if not has_room.is_set():
            raise DiskFull(tmp_path, "")
        await end_job(*arguments)

    monkeypatch.setattr(storage, "end_job", end_where_there_is_room)
    first, second = await queued(storage), await queued(storage)
    outbox = outbox_for(storage, Mailbox())
    ended = Ended(state="cancelled", text="Cancelled.")
    await outbox.send(first, ended)
    await is_through(outbox)
    assert (await storage.job(first.id)).state == "queued"
    assert f"job {first.id}: what became of it is not recorded yet: " in caplog.text
    has_room.set()
    await outbox.send(second, ended)
    await is_through(outbox)
    states = [(await storage.job(each.id)).state for each in (first, second)]
    assert states == ["cancelled", "cancelled"]


async def test_pictures_on_their_way_to_a_member_are_taken_back_and_those_of_others_are_not(
    storage: Storage, tmp_path: Path
) -> None:
    hold, arrived = asyncio.Event(), list[int]()

    async def deliver(job: Job, event: JobEvent) -> bool:
        await hold.wait()
        arrived.append(job.id)
        return True

    outbox = Outbox(storage, deliver, lambda: None)
    mine, kept = await queued(storage), await queued(storage)
    other = await queued(storage, user_id=BOB)
    for job in (mine, kept, other):
        await storage.start_job(job.id)
    await storage.finish_job(kept.id, result_for(REQUEST))
    await outbox.send(mine, result_for(REQUEST))
    await outbox.send(other, result_for(REQUEST))
    outbox.bring_kept(kept)
    await outbox.recall(mine.origin.user_id)
    hold.set()
    await is_through(outbox)
    assert arrived == [other.id]


async def test_a_job_that_was_deleted_while_it_was_painted_ends_in_silence(
    storage: Storage, tmp_path: Path
) -> None:
    job = await queued(storage)
    await storage.start_job(job.id)
    await storage.disposal.delete_member(job.origin.user_id)
    mailbox = Mailbox()
    outbox = outbox_for(storage, mailbox)
    await outbox.send(job, result_for(REQUEST))
    await is_through(outbox)
    (event,) = mailbox.of(job)
    assert isinstance(event, Ended)
    assert event.silent
    assert list((tmp_path / "images").iterdir()) == []
