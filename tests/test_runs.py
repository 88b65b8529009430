"""One job at work: it ends once, by a result or a sentence, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import DiskFull, JobError, OutOfMemory, WorkerDied
from bot.events import Ended
from bot.inference.types import Progress, Result
from bot.records import Job, Look
from bot.runs import LEFT, MOST_ATTEMPTS, WORN_OUT
from bot.storage import Storage
from tests.catalogues import Catalogues
from tests.queues import Queue, is_told_of_the_restart, letters_after_a_restart, restarted
from tests.queues import queue as queue
from tests.test_storage import ORIGIN, REQUEST


async def test_as_many_jobs_run_as_there_are_workers_now(queue: Queue) -> None:
    for seed in range(3):
        await queue.jobs.submit(replace(REQUEST, seed=seed), ORIGIN)
    await queue.executor.has_started(replace(REQUEST, seed=0))
    assert len(queue.jobs.running) == 1
    queue.executor.capacity = 2
    queue.executor.on_change()
    await queue.executor.has_started(replace(REQUEST, seed=1))
    assert len(queue.jobs.running) == 2


async def test_an_executor_that_wants_a_job_ahead_is_given_one(queue: Queue) -> None:
    queue.executor.ahead = 1
    for seed in range(3):
        await queue.jobs.submit(replace(REQUEST, seed=seed), ORIGIN)
    await queue.executor.has_started(replace(REQUEST, seed=1))
    assert len(queue.jobs.running) == 2


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


async def test_a_job_is_cancelled_in_the_moment_in_which_its_turn_comes(queue: Queue) -> None:
    job = await queue.submit()
    while not queue.jobs.running:
        await asyncio.sleep(0)
    await queue.jobs.cancel(job.id, "by its owner")
    await queue.jobs.idle()
    assert queue.executor.started == []
    assert queue.mailbox.of(job)[-1] == Ended(state="cancelled", text="by its owner")


def worn_out() -> str:
    return WORN_OUT.format(times=MOST_ATTEMPTS)


@pytest.mark.parametrize(("language", "text"), [("en", "{}"), ("fr", "« {} »")])
async def test_what_takes_the_bot_down_is_not_begun_for_ever(
    tmp_path: Path, catalogues: Catalogues, language: str, text: str
) -> None:
    catalogues.add_quoted("fr")
    async with Storage.open(tmp_path) as storage:
        job = await storage.add_job(REQUEST, replace(ORIGIN, look=Look(language=language)))
        for _ in range(MOST_ATTEMPTS):
            await storage.start_job(job.id)
        mailbox = await letters_after_a_restart(storage)
        assert mailbox.of(job) == [Ended(state="failed", text=text.format(worn_out()))]


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
    assert queue.mailbox.of(job)[-1] == Ended(state="failed", text=worn_out())


async def test_a_full_disk_does_not_end_the_queue_when_a_worker_dies_without_a_word(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(job_id: int) -> Job:
        raise DiskFull(queue.storage._folder, "")

    monkeypatch.setattr(queue.storage, "start_job", full)
    job = await queue.submit()
    for _ in range(MOST_ATTEMPTS):
        queue.executor.events.put_nowait(WorkerDied(-9))
    await queue.jobs.idle()
    assert len(queue.executor.started) == MOST_ATTEMPTS
    assert queue.mailbox.of(job)[-1] == Ended(state="failed", text=worn_out())


async def test_a_job_is_cancelled_in_the_moment_in_which_its_worker_dies(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_job = queue.storage.start_job

    async def cancelled_meanwhile(job_id: int) -> Job:
        await queue.jobs.cancel(job_id, "by its owner")
        return await start_job(job_id)

    monkeypatch.setattr(queue.storage, "start_job", cancelled_meanwhile)
    job = await queue.submit()
    await queue.started(job)
    queue.executor.events.put_nowait(WorkerDied(-9))
    await queue.jobs.idle()
    assert len(queue.executor.started) == 1
    assert queue.mailbox.of(job)[-1] == Ended(state="cancelled", text="by its owner")
    assert (await queue.storage.job(job.id)).state == "cancelled"


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


async def test_stopping_puts_back_what_does_not_finish_in_time(queue: Queue) -> None:
    job = await queue.submit()
    queue.executor.events.put_nowait(Progress(stage="denoise", step=1, total=4))
    await queue.started(job)
    await queue.executor.has_taken_all()
    await queue.jobs.stop(grace=0.05)
    row = await queue.storage.job(job.id)
    assert (row.state, row.attempts) == ("queued", 0)
    assert is_told_of_the_restart(queue, job)


async def test_what_could_not_be_recorded_before_the_end_waits_again_as_if_never_begun(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.jobs.FAREWELL", 0.05)
    recording = asyncio.Event()

    async def for_ever(*_: object) -> None:
        recording.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(queue.storage, "finish_job", for_ever)
    job = await queue.submit()
    queue.let_finish(job)
    await recording.wait()
    await queue.jobs.stop(grace=0)
    row = await queue.storage.job(job.id)
    assert (row.state, row.attempts) == ("queued", 0)
    assert is_told_of_the_restart(queue, job)


async def test_what_is_made_cannot_be_cancelled_any_more(queue: Queue) -> None:
    job = await queue.submit()
    queue.mailbox.open.clear()
    queue.let_finish(job)
    await queue.comes_to_be(job, "made")
    with pytest.raises(JobError, match="not waiting or running any more"):
        await queue.jobs.cancel(job.id, "too late")
    queue.mailbox.open.set()
    await queue.jobs.idle()
    assert await queue.state(job) == "delivered"


async def never(job: Job) -> bool:
    """Answer no question."""
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_job_whose_member_has_left_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def has_left(job: Job) -> bool:
        return job.request.seed == 1

    monkeypatch.setattr("bot.membership.PATIENCE", -1.0)
    async with Storage.open(tmp_path) as storage, restarted(storage, has_left) as queue:
        left, other = await queue.submit(1), await queue.submit(2)
        await queue.started(other)
        queue.let_finish(other)
        await queue.jobs.idle()
        assert [request.seed for request in queue.executor.started] == [2]
        assert queue.mailbox.of(left)[-1] == Ended(state="cancelled", text=LEFT)
        assert [await queue.state(job) for job in (left, other)] == ["cancelled", "delivered"]


async def test_a_question_that_is_not_answered_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.membership.PATIENCE", -1.0)
    monkeypatch.setattr("bot.membership.ANSWER", 0.01)
    async with Storage.open(tmp_path) as storage, restarted(storage, never) as queue:
        job = await queue.submit()
        queue.let_finish(job)
        await queue.jobs.idle()
        assert await queue.state(job) == "delivered"


async def test_a_job_is_cancelled_while_its_member_is_asked_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.membership.PATIENCE", -1.0)
    async with Storage.open(tmp_path) as storage, restarted(storage, never) as queue:
        job = await queue.submit()
        async with asyncio.timeout(10):
            while not queue.jobs.running:
                await asyncio.sleep(0.01)
        await queue.jobs.cancel(job.id, "Cancelled.")
        await queue.jobs.idle()
        assert queue.executor.started == []
        assert await queue.state(job) == "cancelled"


async def test_nobody_is_asked_after_whose_job_has_not_waited_for_long(tmp_path: Path) -> None:
    asked: list[Job] = []

    async def has_left(job: Job) -> bool:
        asked.append(job)
        return True

    async with Storage.open(tmp_path) as storage, restarted(storage, has_left) as queue:
        job = await queue.submit()
        queue.let_finish(job)
        await queue.jobs.idle()
        assert await queue.state(job) == "delivered"
        assert asked == []
