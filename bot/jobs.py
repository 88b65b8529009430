"""The queue: a job is recorded, waits its turn, runs, and its member is told what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from bot.errors import BotError, JobError, StorageError
from bot.inference.executor import Executor
from bot.inference.types import Progress, Queued, Request, Result
from bot.records import Job, Origin
from bot.storage import Storage

_log = logging.getLogger(__name__)

STOPPING = "The bot is being stopped. Please try again in a few minutes."
INTERRUPTED = "The bot was stopped before this was done. Please send the command once more."
UNDELIVERED = (
    "The picture was made, but Discord did not take it. "
    "Please try again, with a smaller size or count if it was large."
)

FAREWELL = 5.0
"""Seconds that a stop waits for messages, after the running jobs have had their grace."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """The job ended without pictures; `text` tells the member why."""

    state: Literal["failed", "cancelled", "interrupted"]
    text: str


JobEvent = Queued | Progress | Result | Ended


class Deliver(Protocol):
    """Tells the member of a job what has happened; never raises for Discord's faults.

    Returns whether it was told, as far as Discord says.
    """

    async def __call__(self, job: Job, event: JobEvent) -> bool: ...


class Jobs:
    """Jobs in the order in which they came, as many at a time as the executor takes."""

    def __init__(self, storage: Storage, executor: Executor, deliver: Deliver) -> None:
        self._storage = storage
        self._executor = executor
        self._deliver = deliver
        self._waiting: deque[Job] = deque()
        self._active: set[int] = set()
        self._making: dict[int, asyncio.Task[Result]] = {}
        self._cancelled: dict[int, str] = {}
        self._told: dict[int, asyncio.Event] = {}
        self._changed = asyncio.Condition()
        self._stopping = False

    async def submit(self, request: Request, origin: Origin) -> Job:
        """Record a job and put it at the end of the queue; raise JobError when the bot stops."""
        if self._stopping:
            raise JobError(STOPPING)
        job = await self._storage.add_job(request, origin)
        if self._stopping:  # since then
            await self._storage.end_job(job.id, "interrupted", INTERRUPTED)
            raise JobError(STOPPING)
        told = self._told[job.id] = asyncio.Event()
        self._waiting.append(job)
        position = len(self._waiting) + len(self._active)
        await self._notify()
        try:
            await self._tell(job, Queued(position=position))
        finally:
            told.set()
        return job

    async def cancel(self, job_id: int, reason: str) -> None:
        """Call off a job, whether it waits or runs; raise JobError if it does neither."""
        if making := self._making.get(job_id):
            self._cancelled[job_id] = reason
            making.cancel()
            return
        job = next((job for job in self._waiting if job.id == job_id), None)
        if job is None:
            raise JobError("This is not waiting or running any more, so it cannot be cancelled.")
        self._waiting.remove(job)
        await self._end(job, Ended(state="cancelled", text=reason))
        await self._notify()

    @property
    def busy(self) -> bool:
        """Whether any job waits or runs."""
        return bool(self._waiting or self._active)

    async def idle(self) -> None:
        """Wait until no job waits or runs."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.busy)

    async def run(self) -> None:
        """Work off the queue until cancelled."""
        left_behind = await self._storage.unfinished_jobs()
        async with asyncio.TaskGroup() as group:
            # beside the work: a Discord that is slow to take this must not hold up the queue
            group.create_task(self._recover(left_behind))
            for _ in range(self._executor.capacity):
                group.create_task(self._work())

    async def stop(self, grace: float) -> None:
        """Take no more jobs, give the running ones `grace` seconds, tell the others."""
        self._stopping = True
        while self._waiting:
            await self._interrupt(self._waiting.popleft())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.idle()
        for making in self._making.values():
            making.cancel()
        # what Discord does not take within this time, the next start brings to its member
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self.idle()

    async def _recover(self, jobs: list[Job]) -> None:
        """Bring to their members what an earlier process made, or the news that it was stopped.

        Once: what cannot be brought now is not tried again by the next start.
        """
        for job in jobs:
            if job.state != "made":
                await self._end(job, Ended(state="interrupted", text=INTERRUPTED))
                continue
            try:
                result = await self._storage.result(job)
            except StorageError as error:
                await self._end(job, Ended(state="failed", text=str(error)))
                continue
            if not await self._give(job, result):
                await self._end(job, Ended(state="failed", text=UNDELIVERED))

    async def _work(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._waiting) and not self._stopping)
                job = self._waiting.popleft()
                self._active.add(job.id)
            try:
                await self._run(job)
            finally:
                self._active.remove(job.id)
                self._cancelled.pop(job.id, None)
                await self._notify()

    async def _run(self, job: Job) -> None:
        """Run one job to its end, whatever that is; only a stop of the bot leaves it early."""
        try:
            # a task of its own: it can be cancelled, the delivery of what it made can not
            making = self._making[job.id] = asyncio.create_task(self._make(job))
            try:
                result = await making
            finally:
                del self._making[job.id]
        except asyncio.CancelledError:
            if text := self._cancelled.get(job.id):
                await self._end(job, Ended(state="cancelled", text=text))
            else:
                await self._interrupt(job)
            if _being_cancelled():
                raise
        except BotError as error:
            _log.warning("job %d failed: %s", job.id, error)
            await self._end(job, Ended(state="failed", text=str(error)))
        except Exception:
            reference = secrets.token_hex(4)
            _log.exception("job %d failed, reference %s", job.id, reference)
            await self._end(job, Ended(state="failed", text=defect_sentence(reference)))
        else:
            await asyncio.shield(self._hand_over(job, result))

    async def _make(self, job: Job) -> Result:
        await self._told.pop(job.id).wait()  # its start must not be overtaken by "waiting"
        request = replace(job.request, images=await self._storage.inputs(job.id))
        async with contextlib.aclosing(self._executor.run(request)) as events:
            async for event in events:
                if job.started_at is None:  # until now it waited, be it for the worker
                    job = await self._storage.start_job(job.id)
                if isinstance(event, Result):
                    assert job.started_at is not None
                    wait = {"wait": max(0.0, job.started_at - job.created_at)}
                    return replace(event, seconds=wait | dict(event.seconds))
                await self._tell(job, event)
        raise AssertionError("a run ends with a result or an error")

    async def _hand_over(self, job: Job, result: Result) -> None:
        try:
            await self._storage.finish_job(job.id, result)
        except StorageError as error:
            # the member gets the pictures all the same
            _log.error("job %d is not kept: %s", job.id, error)
            note = f"This is not kept in the history. {error}"
            result = replace(result, notes=(*result.notes, note))
        if await self._give(job, result) or self._stopping:
            return
        # if not even this gets through, the next start tries once more
        ended = Ended(state="failed", text=UNDELIVERED)
        if await self._tell(job, ended):
            with contextlib.suppress(StorageError):
                await self._storage.end_job(job.id, ended.state, ended.text)

    async def _give(self, job: Job, result: Result) -> bool:
        if not await self._tell(job, result):
            return False
        with contextlib.suppress(StorageError):
            await self._storage.mark_delivered(job.id)
        return True

    async def _end(self, job: Job, ended: Ended) -> None:
        self._told.pop(job.id, None)
        with contextlib.suppress(StorageError):
            await self._storage.end_job(job.id, ended.state, ended.text)
        await self._tell(job, ended)

    async def _interrupt(self, job: Job) -> None:
        # told first: what is still queued or running in the database, the next start tells of
        self._told.pop(job.id, None)
        ended = Ended(state="interrupted", text=INTERRUPTED)
        if await self._tell(job, ended):
            with contextlib.suppress(StorageError):
                await self._storage.end_job(job.id, ended.state, ended.text)

    async def _tell(self, job: Job, event: JobEvent) -> bool:
        try:
            return await self._deliver(job, event)
        except Exception:
            # a defect there must not stop the queue
            _log.exception("job %d: its member could not be told", job.id)
            return False

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _being_cancelled() -> bool:
    """Tell whether the running task itself is being cancelled, not only one that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def defect_sentence(reference: str) -> str:
    """Return what people read of an error that was not foreseen."""
    return (
        "Something went wrong on the bot's side. Please try again; if it happens once more, "
        f"tell the operator this reference: `{reference}`."
    )
