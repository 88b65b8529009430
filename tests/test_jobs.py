"""The queue: each job runs once, in its order, and its member learns how it ended."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot import storage as storage_module
from bot.errors import DiskFull, JobError, OutOfMemory
from bot.events import Ended
from bot.inference.types import Progress, Queued, Result
from bot.jobs import PART, Jobs
from bot.outbox import UNDELIVERED
from bot.records import Job
from bot.storage import Storage
from bot.turns import Limits
from tests.doubles import HeldExecutor, Mailbox, result_for
from tests.queues import Queue, is_told_of_the_restart, letters_after_a_restart, restarted
from tests.queues import queue as queue
from tests.test_storage import ORIGIN, REQUEST


async def test_a_job_is_a_row_before_its_member_sees_that_it_waits(queue: Queue) -> None:
    rows: list[Job] = []

    async def look(job: Job, event: object) -> bool:
        rows.append(await queue.storage.job(job.id))
        return True

    jobs = Jobs(queue.storage, queue.executor, look)
    await jobs.submit(REQUEST, ORIGIN)
    assert [row.state for row in rows] == ["queued"]


async def test_jobs_run_one_after_the_other_in_their_order(queue: Queue) -> None:
    jobs = [await queue.submit(seed) for seed in (1, 2, 3)]
    for job in jobs:
        await queue.started(job)
        queue.let_finish(job)
    await queue.jobs.idle()
    assert [request.seed for request in queue.executor.started] == [1, 2, 3]
    assert [await queue.state(job) for job in jobs] == ["delivered"] * 3
    assert [e.position for j in jobs for e in queue.mailbox.of(j) if isinstance(e, Queued)] == [
        1,
        2,
        3,
    ]


async def test_a_waiting_job_is_cancelled_without_ever_running(queue: Queue) -> None:
    first, second = await queue.submit(1), await queue.submit(2)
    await queue.started(first)
    await queue.jobs.cancel(second.id, "Cancelled.")
    queue.let_finish(first)
    await queue.jobs.idle()
    assert [request.seed for request in queue.executor.started] == [1]
    assert await queue.state(second) == "cancelled"


async def test_what_is_over_cannot_be_cancelled(queue: Queue) -> None:
    job = await queue.submit()
    queue.let_finish(job)
    await queue.jobs.idle()
    with pytest.raises(JobError, match="not waiting or running any more"):
        await queue.jobs.cancel(job.id, "too late")
    assert await queue.state(job) == "delivered"


async def test_stopping_lets_the_running_job_finish_and_keeps_those_that_wait(
    queue: Queue,
) -> None:
    first, second = await queue.submit(1), await queue.submit(2)
    await queue.started(first)
    stop = asyncio.create_task(queue.jobs.stop(grace=30))
    await asyncio.sleep(0)
    queue.let_finish(first)
    await stop
    assert await queue.state(first) == "delivered"
    assert await queue.state(second) == "queued"
    assert is_told_of_the_restart(queue, second)


async def test_what_waited_and_what_ran_goes_on_after_a_restart_in_its_order(
    tmp_path: Path,
) -> None:
    async with Storage.open(tmp_path) as storage:
        jobs = [await storage.add_job(replace(REQUEST, seed=n), ORIGIN) for n in (1, 2, 3)]
        await storage.start_job(jobs[0].id)  # and then the power went
        async with restarted(storage) as queue:
            for job in jobs:
                await queue.started(job)
                queue.let_finish(job)
            await queue.jobs.idle()
            assert [request.seed for request in queue.executor.started] == [1, 2, 3]
            assert [await queue.state(job) for job in jobs] == ["delivered"] * 3
            assert all(isinstance(queue.mailbox.of(job)[-1], Result) for job in jobs)


async def test_what_was_cancelled_before_the_queue_began_is_not_made_after_all(
    tmp_path: Path,
) -> None:
    async with Storage.open(tmp_path) as storage:
        executor, mailbox = HeldExecutor(), Mailbox()
        jobs = Jobs(storage, executor, mailbox.deliver)
        job = await jobs.submit(REQUEST, ORIGIN)
        work, cancel = (
            asyncio.create_task(each) for each in (jobs.run(), jobs.cancel(job.id, "Cancelled."))
        )
        await cancel
        other = await jobs.submit(replace(REQUEST, seed=2), ORIGIN)
        await executor.has_started(other.request)
        assert [request.seed for request in executor.started] == [2]
        work.cancel()
        await asyncio.wait({work})


async def test_a_member_with_one_job_does_not_wait_behind_anothers_many(queue: Queue) -> None:
    many = [await queue.submit(seed) for seed in range(1, 6)]
    await queue.started(many[0])
    other = await queue.jobs.submit(replace(REQUEST, seed=9), replace(ORIGIN, user_id=2))
    for job in (many[0], other, *many[1:]):
        await queue.started(job)
        queue.let_finish(job)
    await queue.jobs.idle()
    assert [request.seed for request in queue.executor.started] == [1, 9, 2, 3, 4, 5]


async def test_too_many_of_one_member_or_server_are_refused_in_one_sentence(
    queue: Queue,
) -> None:
    jobs = Jobs(queue.storage, queue.executor, queue.mailbox.deliver, Limits(member=2, server=3))
    here = replace(ORIGIN, guild_id=98)
    mine = [await jobs.submit(REQUEST, here) for _ in range(2)]
    with pytest.raises(JobError, match="You have 2 jobs waiting already"):
        await jobs.submit(REQUEST, here)
    await jobs.submit(REQUEST, replace(here, user_id=2))
    with pytest.raises(JobError, match="This server has 3 jobs waiting"):
        await jobs.submit(REQUEST, replace(here, user_id=3))
    await jobs.submit(REQUEST, replace(here, user_id=3, guild_id=99))
    await jobs.cancel(mine[0].id, "Cancelled.")
    await jobs.submit(REQUEST, here)


async def test_who_waits_is_told_when_the_queue_moves(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.moves.BETWEEN_MOVES", 0.01)
    first, _, third = [await queue.submit(seed) for seed in (1, 2, 3)]
    await queue.started(first)
    queue.let_finish(first)
    async with asyncio.timeout(5):
        while not any(isinstance(e, Queued) and e.moved for e in queue.mailbox.of(third)):
            await asyncio.sleep(0.01)
    places = [event for event in queue.mailbox.of(third) if isinstance(event, Queued)]
    assert [place.position for place in places] == [3, 2]
    # the first has taught how long such jobs take
    assert places[1].seconds is not None


async def test_jobs_that_something_is_true_of_are_called_off_and_no_others(queue: Queue) -> None:
    first, second = await queue.submit(1), await queue.submit(2)
    others = [await queue.jobs.submit(REQUEST, replace(ORIGIN, message_id=7)) for _ in range(2)]
    await queue.started(first)
    await queue.jobs.cancel_where(lambda job: job.origin.message_id == 7, "Gone.")
    assert [await queue.state(job) for job in others] == ["cancelled"] * 2
    await queue.jobs.cancel_where(lambda job: job.id == first.id, "Gone.", silently=True)
    await queue.started(second)
    queue.let_finish(second)
    await queue.jobs.idle()
    assert [await queue.state(job) for job in (first, second)] == ["cancelled", "delivered"]
    assert all(
        queue.mailbox.of(job)[-1] == Ended(state="cancelled", text="Gone.") for job in others
    )
    assert queue.mailbox.of(first)[-1] == Ended(state="cancelled", text="Gone.", silent=True)


async def test_the_places_of_a_long_queue_leave_turns_to_other_things(queue: Queue) -> None:
    many = 2 * PART + 50
    limits = Limits(member=many, server=many)
    jobs = Jobs(queue.storage, queue.executor, queue.mailbox.deliver, limits)  # nothing begins
    waiting = [await jobs.submit(replace(REQUEST, seed=seed), ORIGIN) for seed in range(many)]

    async def other_things() -> None:
        await jobs.cancel(waiting[-1].id, "Cancelled.")
        await jobs.submit(REQUEST, ORIGIN)

    between = asyncio.create_task(other_things())
    places = await jobs.places()
    assert [(place.position, place.job.id) for place in places] == [
        (position, job.id) for position, job in enumerate(waiting, 1)
    ]
    assert waiting[-1] not in jobs.unfinished()
    await between


async def test_what_an_earlier_process_made_is_delivered(tmp_path: Path) -> None:
    async with Storage.open(tmp_path) as storage:
        made = await storage.add_job(REQUEST, ORIGIN)
        await storage.finish_job(made.id, result_for(REQUEST))
        mailbox = await letters_after_a_restart(storage)
        assert mailbox.of(made) == [result_for(REQUEST)]
        assert (await storage.job(made.id)).state == "delivered"


async def two_made(storage: Storage) -> list[Job]:
    """Return two jobs that an earlier process made and did not deliver."""
    jobs = [await storage.add_job(replace(REQUEST, seed=n), ORIGIN) for n in (1, 2)]
    for job in jobs:
        await storage.finish_job(job.id, result_for(job.request))
    return jobs


async def test_what_is_deleted_before_it_could_be_brought_is_no_fault(tmp_path: Path) -> None:
    async with Storage.open(tmp_path) as storage:
        deleted, kept = await two_made(storage)
        rows = storage._database.rows

        async def delete_meanwhile(sql: str, *values: object) -> list[sqlite3.Row]:
            if sql.startswith("SELECT control_path") and values == (deleted.id,):
                await storage._database.change("DELETE FROM jobs WHERE id = ?", deleted.id)
            return await rows(sql, *values)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(storage._database, "rows", delete_meanwhile)
            mailbox = await letters_after_a_restart(storage)
        assert mailbox.letters == [(kept.id, result_for(kept.request))]


async def test_what_is_deleted_before_it_is_looked_at_is_no_fault(tmp_path: Path) -> None:
    async with Storage.open(tmp_path) as storage:
        jobs = await two_made(storage)
        async with restarted(storage) as queue:
            queue.mailbox.open.clear()
            async with asyncio.timeout(10):
                while not queue.jobs.busy:
                    await asyncio.sleep(0.01)
            await storage.disposal.delete_member(ORIGIN.user_id)
            queue.mailbox.open.set()
            await queue.jobs.idle()
            assert not queue.work.done()
            assert {number for number, _ in queue.mailbox.letters} <= {jobs[0].id}


async def test_what_an_earlier_process_made_is_brought_when_discord_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.outbox.LATER", (0.05, 0.05, 0.05, 0.05, 60.0))
    async with Storage.open(tmp_path) as storage:
        made = await storage.add_job(REQUEST, ORIGIN)
        await storage.finish_job(made.id, result_for(REQUEST))
        async with restarted(storage) as queue:
            queue.mailbox.takes = None
            async with asyncio.timeout(10):
                while sum(isinstance(event, Result) for event in queue.mailbox.of(made)) < 2:
                    await asyncio.sleep(0.01)
            assert await queue.state(made) == "made"
            queue.mailbox.takes = object
            await queue.comes_to_be(made, "delivered")


async def test_a_stop_waits_for_what_an_earlier_process_made_and_begins_no_more_of_it(
    tmp_path: Path,
) -> None:
    async with Storage.open(tmp_path) as storage:
        jobs = await two_made(storage)
        async with restarted(storage) as queue:
            queue.mailbox.open.clear()
            async with asyncio.timeout(10):
                while not queue.mailbox.asked:
                    await asyncio.sleep(0.01)
            stop = asyncio.create_task(queue.jobs.stop(grace=30))
            await asyncio.sleep(0)
            queue.mailbox.open.set()
            await stop
            assert [await queue.state(job) for job in jobs] == ["delivered", "made"]


async def test_a_full_disk_loses_no_picture_and_is_said(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    job = await queue.submit()
    monkeypatch.setattr(storage_module, "write_files", full)
    queue.let_finish(job)
    await queue.jobs.idle()
    result = queue.mailbox.of(job)[-1]
    assert isinstance(result, Result)
    assert len(result.images) == 2
    (note,) = result.notes
    assert note == f"This is not kept in the history. {DiskFull(queue.storage._folder, '')}"


async def test_a_picture_that_discord_does_not_take_ends_in_a_sentence(queue: Queue) -> None:
    queue.mailbox.takes = Ended
    job = await queue.submit()
    queue.let_finish(job)
    await queue.jobs.idle()
    assert queue.mailbox.of(job)[-1] == Ended(state="failed", text=UNDELIVERED)
    assert await queue.state(job) == "failed"
    assert len(await queue.storage.images(job.id)) == 2


async def test_what_cannot_be_told_at_all_is_left_to_the_next_start(queue: Queue) -> None:
    queue.mailbox.takes = None
    job = await queue.submit()
    queue.let_finish(job)
    await queue.jobs.idle()
    assert await queue.state(job) == "made"


async def test_what_discord_took_in_no_form_is_brought_when_it_is_back(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.outbox.LATER", (0.05, 0.05, 0.05, 0.05, 60.0))
    queue.mailbox.takes = None
    job = await queue.submit()
    queue.let_finish(job)
    async with asyncio.timeout(10):
        while sum(isinstance(event, Result) for event in queue.mailbox.of(job)) < 3:
            await asyncio.sleep(0.01)
    assert not queue.jobs.busy
    queue.mailbox.takes = object
    await queue.comes_to_be(job, "delivered")
    result = queue.mailbox.of(job)[-1]
    assert isinstance(result, Result)
    assert result.images == result_for(job.request).images


async def test_a_job_that_comes_while_the_bot_stops_is_kept_for_the_next_start(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_job = queue.storage.add_job

    async def stop_meanwhile(*arguments: Any, **more: Any) -> Job:
        job = await add_job(*arguments, **more)
        await queue.jobs.stop(grace=0)
        return job

    monkeypatch.setattr(queue.storage, "add_job", stop_meanwhile)
    job = await queue.submit()
    assert queue.executor.started == []
    assert await queue.state(job) == "queued"
    assert is_told_of_the_restart(queue, job)


async def test_jobs_of_one_moment_know_of_each_other(queue: Queue) -> None:
    jobs = await asyncio.gather(*(queue.submit(seed) for seed in (1, 2, 3)))
    positions = [event.position for job in jobs for event in queue.mailbox.of(job)[:1]]
    assert sorted(positions) == [1, 2, 3]


async def test_a_discord_that_is_away_does_not_hold_up_the_work(queue: Queue) -> None:
    queue.mailbox.open.clear()
    submitting = [asyncio.create_task(queue.submit(seed)) for seed in (1, 2, 3)]
    queue.executor.events.put_nowait(result_for(replace(REQUEST, seed=1)))
    queue.executor.events.put_nowait(OutOfMemory("for this", "Wait."))
    queue.executor.events.put_nowait(result_for(replace(REQUEST, seed=3)))
    for number, state in ((1, "made"), (2, "failed"), (3, "made")):
        while len(queue.executor.started) < number:
            await asyncio.sleep(0.01)
        await queue.comes_to_be(await queue.storage.job(number), state)
    async with asyncio.timeout(10):
        while queue.jobs.running:  # the last one is recorded a moment before it is over
            await asyncio.sleep(0.01)
    assert queue.jobs.busy
    assert queue.mailbox.letters == []
    queue.mailbox.open.set()
    jobs = [await each for each in submitting]
    await queue.jobs.idle()
    assert [await queue.state(job) for job in jobs] == ["delivered", "failed", "delivered"]
    told = [[type(event) for event in queue.mailbox.of(job)] for job in jobs]
    assert told == [[Queued, Result], [Queued, Ended], [Queued, Result]]


async def test_no_more_is_made_than_there_is_room_for_on_the_way(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.outbox.ROOM", 2)
    jobs = [await queue.submit(seed) for seed in (1, 2, 3)]
    queue.mailbox.open.clear()
    for job in jobs[:2]:
        queue.let_finish(job)
        await queue.comes_to_be(job, "made")
    async with asyncio.timeout(10):
        while queue.jobs.running:  # for ever, if the third had begun
            await asyncio.sleep(0.01)
    queue.mailbox.open.set()
    await queue.started(jobs[2])
    queue.let_finish(jobs[2])
    await queue.jobs.idle()
    assert [await queue.state(job) for job in jobs] == ["delivered"] * 3


async def test_stopping_waits_for_what_is_on_its_way(queue: Queue) -> None:
    job = await queue.submit()
    queue.mailbox.open.clear()
    queue.let_finish(job)
    await queue.comes_to_be(job, "made")
    stop = asyncio.create_task(queue.jobs.stop(grace=30))
    await asyncio.sleep(0)
    queue.mailbox.open.set()
    await stop
    assert await queue.state(job) == "delivered"


async def test_what_is_on_its_way_for_too_long_is_left_to_the_next_start(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.jobs.FAREWELL", 0.05)
    job = await queue.submit()
    queue.mailbox.open.clear()
    queue.let_finish(job)
    await queue.comes_to_be(job, "made")
    await queue.jobs.stop(grace=0.05)
    assert not queue.jobs.busy
    queue.mailbox.open.set()
    assert await queue.state(job) == "made"
    later = await letters_after_a_restart(queue.storage)
    assert isinstance(later.of(job)[-1], Result)
    assert await queue.state(job) == "delivered"


async def test_who_waits_is_told_once_that_the_bot_stops_however_often_it_is(
    queue: Queue,
) -> None:
    first, second = await queue.submit(1), await queue.submit(2)
    await queue.started(first)
    for _ in range(3):
        await queue.jobs.stop(grace=0)
    told = [each for each in queue.mailbox.of(second) if isinstance(each, Queued)]
    assert [each.restarting for each in told] == [False, True]


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_clock_that_is_set_back_loses_nothing_and_shows_no_negative_time(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    clock, started = [0.0], time.time()
    monkeypatch.setattr(time, "time", lambda: started + clock[0])
    first = await queue.submit(1)
    await queue.started(first)
    jobs = [first, *[await queue.submit(seed) for seed in (2, 3)]]
    for number, job in enumerate(jobs):
        await queue.started(job)
        queue.executor.events.put_nowait(Progress(stage="denoise", step=1, total=4, seconds=1.0))
        await queue.executor.has_taken_all()
        clock[0] += 10 if number != after else -3600
        assert all(
            place.seconds is None or place.seconds >= 0 for place in await queue.jobs.places()
        )
        queue.let_finish(job)
        await queue.comes_to_be(job, "delivered")
    clock[0] += 10 if after < 3 else -3600
    results = [queue.mailbox.of(job)[-1] for job in jobs]
    waits = [event.seconds["wait"] for event in results if isinstance(event, Result)]
    assert len(waits) == 3
    assert min(waits) >= 0
    async with restarted(queue.storage) as later:
        other = await later.jobs.submit(REQUEST, replace(ORIGIN, user_id=2))
        again = await later.submit()
        await later.started(other)
        (place,) = await later.jobs.places()
        assert place.seconds is not None
        assert place.seconds >= 0
        for job in (other, again):
            later.let_finish(job)
        await later.jobs.idle()
        assert [await later.state(job) for job in (other, again)] == ["delivered"] * 2


async def test_a_queue_that_is_cancelled_ends_and_tells_so(queue: Queue) -> None:
    job = await queue.submit()
    await queue.started(job)
    queue.work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queue.work
    assert is_told_of_the_restart(queue, job)


async def test_a_defect_in_the_delivery_does_not_stop_the_queue(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(job: Job, event: object) -> bool:
        raise KeyError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(queue.jobs._outbox, "_deliver", fail)
        first = await queue.submit(1)
        queue.let_finish(first)
        await queue.jobs.idle()
    assert await queue.state(first) == "made"
    assert "its member could not be told" in caplog.text
    second = await queue.submit(2)
    queue.let_finish(second)
    await queue.jobs.idle()
    assert await queue.state(second) == "delivered"
