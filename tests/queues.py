"""A queue whose executor and mailbox are the test's, and how it goes on after a restart."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bot.inference.types import Queued
from bot.jobs import Jobs
from bot.records import Job
from bot.storage import Storage
from tests.doubles import HeldExecutor, Mailbox, result_for
from tests.test_storage import ORIGIN, REQUEST


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

    async def comes_to_be(self, job: Job, state: str) -> None:
        async with asyncio.timeout(10):
            while await self.state(job) != state:
                await asyncio.sleep(0.01)


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


def is_told_of_the_restart(queue: Queue, job: Job) -> bool:
    last = queue.mailbox.of(job)[-1]
    return isinstance(last, Queued) and last.restarting


@contextlib.asynccontextmanager
async def restarted(
    storage: Storage, has_left: Callable[[Job], Awaitable[bool]] | None = None
) -> AsyncIterator[Queue]:
    """Run a new queue on what an earlier one left."""
    executor, mailbox = HeldExecutor(), Mailbox()
    jobs = Jobs(storage, executor, mailbox.deliver, has_left=has_left)
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
