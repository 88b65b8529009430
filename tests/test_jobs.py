"""The queue: each job runs once, in its order, and its member learns how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bot import storage as storage_module
from bot.errors import DiskFull, JobError, OutOfMemory, WorkerDied
from bot.inference.types import Progress, Queued, Result
from bot.jobs import MOST_ATTEMPTS, UNDELIVERED, WORN_OUT, Ended, Jobs
from bot.records import Job
from bot.storage import Storage
from bot.turns import Limits

from .doubles import HeldExecutor, Mailbox, result_for
from .test_storage import ORIGIN, REQUEST


@dataclass
class Queue:
    """A queue whose executor and mailbox are the test's."""

    jobs: Jobs
    executor: HeldExecutor
    mailbox: Mailbox
    storage: Storage
    work: asyncio.Task[None]

    async def submit(self, seed: int = 1) -> Job:
        return await self.jobs.submit(replace(REQUEST, seed=seed), ORIGIN)

    async def started(self, job: Job) -> None:
        await self.executor.has_started(job.request)

    def let_finish(self, job: Job) -> None:
        self.executor.events.put_nowait(result_for(job.request))

    async def state(self, job: Job) -> str:
        return (await self.storage.job(job.id)).state


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    async with Storage.open(tmp_path) as storage:
        executor, mailbox = HeldExecutor(), Mailbox()
        jobs = Jobs(storage, executor, mailbox.deliver)
        work = asyncio.create_task(jobs.run())
        yield Queue(jobs, executor, mailbox, storage, work)
        await jobs.stop(grace=0)
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


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


async def test_the_result_has_the_time_in_the_queue(queue: Queue) -> None:
    job = await queue.submit()
    queue.let_finish(job)
    await queue.jobs.idle()
    result = queue.mailbox.of(job)[-1]
    assert isinstance(result, Result)
    assert list(result.seconds) == ["wait", "denoise"]
    assert result.seconds["wait"] >= 0


async def test_progress_is_passed_on(queue: Queue) -> None:
    job = await queue.submit()
    progress = Progress(stage="denoise", step=1, total=4, seconds=0.5)
    queue.executor.events.put_nowait(progress)
    queue.let_finish(job)
    await queue.jobs.idle()
    assert queue.mailbox.of(job)[1] == progress


async def test_a_failure_is_told_and_the_next_job_runs(queue: Queue) -> None:
    first, second = await queue.submit(1), await queue.submit(2)
    queue.executor.events.put_nowait(OutOfMemory("for this", "Wait."))
    queue.let_finish(second)
    await queue.jobs.idle()
    assert queue.mailbox.of(first)[-1] == Ended(
        state="failed", text=str(OutOfMemory("for this", "Wait."))
    )
    assert await queue.state(first) == "failed"
    assert await queue.state(second) == "delivered"


async def test_a_defect_is_told_with_a_reference_that_stands_in_the_log(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    job = await queue.submit()
    queue.executor.events.put_nowait(ZeroDivisionError("secret detail"))
    await queue.jobs.idle()
    ended = queue.mailbox.of(job)[-1]
    assert isinstance(ended, Ended)
    assert "secret detail" not in ended.text
    reference = ended.text.split("`")[1]
    assert f"reference {reference}" in caplog.text
    assert "ZeroDivisionError: secret detail" in caplog.text


async def test_a_running_job_is_cancelled_and_told(queue: Queue) -> None:
    job = await queue.submit()
    await queue.started(job)
    await queue.jobs.cancel(job.id, "Cancelled by mod.")
    await queue.jobs.idle()
    assert queue.executor.cancelled == [job.request]
    assert queue.mailbox.of(job)[-1] == Ended(state="cancelled", text="Cancelled by mod.")
    assert await queue.state(job) == "cancelled"


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


async def test_stopping_puts_back_what_does_not_finish_in_time(queue: Queue) -> None:
    job = await queue.submit()
    queue.executor.events.put_nowait(Progress(stage="denoise", step=1, total=4))
    await queue.started(job)
    await queue.executor.has_taken_all()
    await queue.jobs.stop(grace=0.05)
    row = await queue.storage.job(job.id)
    assert (row.state, row.attempts) == ("queued", 0)
    assert is_told_of_the_restart(queue, job)


def is_told_of_the_restart(queue: Queue, job: Job) -> bool:
    last = queue.mailbox.of(job)[-1]
    return isinstance(last, Queued) and last.restarting


@contextlib.asynccontextmanager
async def restarted(storage: Storage) -> AsyncIterator[Queue]:
    """Run a new queue on what an earlier one left."""
    executor, mailbox = HeldExecutor(), Mailbox()
    jobs = Jobs(storage, executor, mailbox.deliver)
    work = asyncio.create_task(jobs.run())
    yield Queue(jobs, executor, mailbox, storage, work)
    work.cancel()
    await asyncio.wait({work})


async def letters_after_a_restart(storage: Storage) -> Mailbox:
    """Run a new queue on what an earlier one left, and return what it tells the members."""
    async with restarted(storage) as queue, asyncio.timeout(5):
        while await storage.unfinished_jobs():
            await asyncio.sleep(0.01)
    return queue.mailbox


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


async def test_what_takes_the_bot_down_is_not_begun_for_ever(tmp_path: Path) -> None:
    async with Storage.open(tmp_path) as storage:
        job = await storage.add_job(REQUEST, ORIGIN)
        for _ in range(MOST_ATTEMPTS):
            await storage.start_job(job.id)
        mailbox = await letters_after_a_restart(storage)
        assert mailbox.of(job) == [Ended(state="failed", text=WORN_OUT)]


async def test_a_job_whose_worker_dies_is_begun_again_and_at_last_ends_in_a_sentence(
    queue: Queue,
) -> None:
    job = await queue.submit()
    for attempt in range(1, MOST_ATTEMPTS + 1):
        while len(queue.executor.started) < attempt:
            await asyncio.sleep(0.01)
        if attempt == 2:  # it may die with or without a word of the job
            queue.executor.events.put_nowait(Progress(stage="encode"))
        queue.executor.events.put_nowait(WorkerDied(-9))
    await queue.jobs.idle()
    assert len(queue.executor.started) == MOST_ATTEMPTS
    assert queue.mailbox.of(job)[-1] == Ended(state="failed", text=WORN_OUT)


async def test_a_job_whose_worker_died_goes_before_what_came_later(queue: Queue) -> None:
    first, second = await queue.submit(1), await queue.submit(2)
    await queue.started(first)
    queue.executor.events.put_nowait(WorkerDied(-9))
    for job in (first, second):
        await queue.started(job)
        queue.let_finish(job)
    await queue.jobs.idle()
    assert [request.seed for request in queue.executor.started] == [1, 1, 2]
    assert [await queue.state(job) for job in (first, second)] == ["delivered"] * 2


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
    with pytest.raises(JobError, match="3 jobs wait in this server"):
        await jobs.submit(REQUEST, replace(here, user_id=3))
    await jobs.submit(REQUEST, replace(here, user_id=3, guild_id=99))
    await jobs.cancel(mine[0].id, "Cancelled.")
    await jobs.submit(REQUEST, here)


async def test_who_waits_is_told_when_the_queue_moves(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.jobs.BETWEEN_MOVES", 0.01)
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


async def test_a_job_whose_message_is_deleted_is_called_off(queue: Queue) -> None:
    first = await queue.submit(1)
    second = await queue.jobs.submit(REQUEST, replace(ORIGIN, message_id=77))
    await queue.started(first)
    await queue.jobs.cancel_message(77)
    assert await queue.state(second) == "cancelled"
    await queue.jobs.cancel_message(ORIGIN.message_id)
    await queue.jobs.idle()
    assert await queue.state(first) == "cancelled"
    await queue.jobs.cancel_message(1)  # any message at all


async def test_what_an_earlier_process_made_is_delivered(tmp_path: Path) -> None:
    async with Storage.open(tmp_path) as storage:
        made = await storage.add_job(REQUEST, ORIGIN)
        await storage.finish_job(made.id, result_for(REQUEST))
        mailbox = await letters_after_a_restart(storage)
        assert mailbox.of(made) == [result_for(REQUEST)]
        assert (await storage.job(made.id)).state == "delivered"


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


async def test_a_job_that_comes_while_the_bot_stops_is_kept_for_the_next_start(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_job = queue.storage.add_job

    async def stop_meanwhile(*arguments: Any) -> Job:
        job = await add_job(*arguments)
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


async def test_a_job_does_not_start_before_its_member_knows_that_it_waits(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = asyncio.Event()

    async def slow(job: Job, event: object) -> bool:
        if isinstance(event, Queued):
            await told.wait()
        return True

    monkeypatch.setattr(queue.jobs, "_deliver", slow)
    submitting = asyncio.create_task(queue.submit())
    await asyncio.sleep(0.05)
    assert queue.executor.started == []
    told.set()
    queue.let_finish(await submitting)
    await queue.jobs.idle()


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
        patch.setattr(queue.jobs, "_deliver", fail)
        first = await queue.submit(1)
        queue.let_finish(first)
        await queue.jobs.idle()
    assert await queue.state(first) == "made"
    assert "its member could not be told" in caplog.text
    second = await queue.submit(2)
    queue.let_finish(second)
    await queue.jobs.idle()
    assert await queue.state(second) == "delivered"
