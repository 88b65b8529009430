"""The queue: a job is recorded, waits its turn, runs, and its member is told what became of it.

A job outlives the process: what waits or runs when it ends goes on at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from bot.errors import BotError, JobError, StorageError, WorkerDied
from bot.inference.executor import Executor
from bot.inference.residency import resident_models
from bot.inference.types import Progress, Queued, Request, Result
from bot.records import Job, Origin
from bot.storage import Storage
from bot.turns import WINDOW, Limits, Place, Running, Turns

_log = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
WORN_OUT = (
    f"This was begun {MOST_ATTEMPTS} times, and each time something took the bot or its worker "
    "down. Please try it with a smaller size."
)
UNDELIVERED = (
    "The picture was made, but Discord did not take it. "
    "Please try again, with a smaller size or count if it was large."
)

FAREWELL = 5.0
"""Seconds that a stop waits for messages, after the running jobs have had their grace."""
HISTORY = 500
"""Jobs of earlier processes that forecasts are learnt from."""
LOOK = 1.0
"""Seconds that the worker has to say what is on its device."""
BETWEEN_MOVES = 3.0
"""Seconds between two edits of one message for its place in the queue, at least."""
MOVES = 10
"""Edits for places within that time, of all messages together: Discord's limits are shared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """The job ended without pictures; `text` tells the member why."""

    state: Literal["failed", "cancelled"]
    text: str


JobEvent = Queued | Progress | Result | Ended


class Deliver(Protocol):
    """Tells the member of a job what has happened; never raises for Discord's faults.

    Returns whether it was told, as far as Discord says.
    """

    async def __call__(self, job: Job, event: JobEvent) -> bool: ...


class Jobs:
    """Jobs in a fair order, as many at a time as the executor takes."""

    def __init__(
        self, storage: Storage, executor: Executor, deliver: Deliver, limits: Limits | None = None
    ) -> None:
        self._storage = storage
        self._executor = executor
        self._deliver = deliver
        self._turns = Turns(limits or Limits(), executor.capacity)
        self._making: dict[int, asyncio.Task[Result]] = {}
        self._cancelled: dict[int, str] = {}
        self._told: dict[int, asyncio.Event] = {}
        self._places: dict[int, tuple[int, float]] = {}
        # what came before `run` looks for what was left behind, is not that
        self._early: set[int] = set()
        self._is_begun = False
        self._entering = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._stopping = False

    async def submit(self, request: Request, origin: Origin) -> Job:
        """Record a job and let it wait its turn; raise JobError where too many wait.

        While the bot stops it is recorded all the same, for the next start.
        """
        self._turns.claim(origin)
        told, event = asyncio.Event(), Queued(position=1, restarting=True)
        async with self._entering:
            try:
                job = await self._storage.add_job(request, origin)
            except BaseException:
                self._turns.give_up(origin)
                raise
            if not self._is_begun:
                self._early.add(job.id)
            if not self._stopping:
                self._told[job.id] = told
                self._turns.enter(job, claimed=True)
                place = self._turns.place(job)
                self._note_place(place)
                event = Queued(position=place.position, seconds=place.seconds)
        await self._notify()
        try:
            await self._tell(job, event)
        finally:
            told.set()
        return job

    async def cancel(self, job_id: int, reason: str) -> None:
        """Call off a job, whether it waits or runs; raise JobError if it does neither."""
        if making := self._making.get(job_id):
            self._cancelled[job_id] = reason
            making.cancel()
            return
        if job_id not in self._turns.waiting:
            raise JobError("This is not waiting or running any more, so it cannot be cancelled.")
        job = self._turns.withdraw(job_id)
        await self._end(job, Ended(state="cancelled", text=reason))
        await self._notify()

    async def cancel_message(self, message_id: int) -> None:
        """Call off the job of a message that is gone, if it waits or runs."""
        for job in (*self._turns.waiting.values(), *(run.job for run in self.running)):
            if job.origin.message_id == message_id:
                with contextlib.suppress(JobError):
                    await self.cancel(job.id, "Its message was deleted.")
                return

    @property
    def running(self) -> list[Running]:
        """The jobs that run, the oldest first."""
        return list(self._turns.running.values())

    def places(self) -> list[Place]:
        """Return the jobs that wait, in the order in which they will begin as things stand."""
        return self._turns.places()

    def seconds_left(self, run: Running) -> float | None:
        """Return how long a job will still run, None where nothing is known."""
        return self._turns.seconds_left(run)

    @property
    def busy(self) -> bool:
        """Whether any job waits or runs."""
        return bool(self._turns.waiting or self._turns.running)

    async def idle(self) -> None:
        """Wait until no job waits or runs."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.busy)

    async def run(self) -> None:
        """Work off the queue until cancelled, beginning with what an earlier process left."""
        ended = await self._storage.ended_since(time.time() - WINDOW)
        self._turns.remember(await self._storage.last_made(HISTORY), ended)
        async with self._entering:
            unfinished = await self._storage.unfinished_jobs()
            left_behind = [job for job in unfinished if job.id not in self._early]
            self._early.clear()
            self._is_begun = True
            for job in left_behind:
                if job.state != "made" and job.attempts < MOST_ATTEMPTS:
                    await self._enter_again(job)
        async with asyncio.TaskGroup() as group:
            # beside the work: a Discord that is slow to take this must not hold up the queue
            group.create_task(self._recover(left_behind))
            group.create_task(self._keep_places_told())
            for _ in range(self._executor.capacity):
                group.create_task(self._work())

    async def stop(self, grace: float) -> None:
        """Begin no more jobs, give the running ones `grace` seconds, and put the others back."""
        self._stopping = True
        await self._notify()
        await self._until_nothing_runs(grace)
        for making in self._making.values():
            making.cancel()
        await self._until_nothing_runs(FAREWELL)
        # whom Discord does not tell within this time, the next start tells
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                for place in self.places():
                    event = Queued(position=place.position, moved=True, restarting=True)
                    await self._tell(place.job, event)

    async def _until_nothing_runs(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: not self._turns.running)

    async def _recover(self, jobs: list[Job]) -> None:
        """Bring to their members what an earlier process made, and that some cannot be made.

        Once: what cannot be brought now is not tried again by the next start.
        """
        for job in jobs:
            if job.state != "made":
                if job.attempts >= MOST_ATTEMPTS:
                    await self._end(job, Ended(state="failed", text=WORN_OUT))
                continue
            try:
                result = await self._storage.result(job)
            except StorageError as error:
                await self._end(job, Ended(state="failed", text=str(error)))
                continue
            if not await self._give(job, result):
                await self._end(job, Ended(state="failed", text=UNDELIVERED))

    async def _keep_places_told(self) -> None:
        """Tell those who wait when their place has changed, each not too often, nor all at once."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._turns.waiting))
            moved = [place for place in self.places() if self._has_moved(place)]
            for place in moved[:MOVES]:
                if place.job.id not in self._turns.waiting or self._stopping:
                    continue  # since the places were worked out
                self._note_place(place)
                event = Queued(position=place.position, seconds=place.seconds, moved=True)
                told = self._told[place.job.id] = asyncio.Event()
                try:
                    await self._tell(place.job, event)
                finally:
                    told.set()
            await asyncio.sleep(BETWEEN_MOVES)

    async def _work(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(
                    lambda: bool(self._turns.waiting) and not self._stopping
                )
                run = self._turns.begin()
            try:
                await self._run(run)
            finally:
                self._turns.end(run)
                self._cancelled.pop(run.job.id, None)
                self._places.pop(run.job.id, None)
                await self._look_at_memory()
                await self._notify()

    async def _run(self, run: Running) -> None:
        """Run one job to its end, whatever that is; only a stop of the bot leaves it early."""
        job_id = run.job.id
        try:
            # a task of its own: it can be cancelled, the delivery of what it made can not
            making = self._making[job_id] = asyncio.create_task(self._make(run))
            try:
                result = await making
            finally:
                del self._making[job_id]
        except asyncio.CancelledError:
            if text := self._cancelled.get(job_id):
                await self._end(run.job, Ended(state="cancelled", text=text))
            else:
                await self._put_back(run.job)
            if _being_cancelled():
                raise
        except WorkerDied as error:
            if not error.starting and run.job.state != "running":
                run.job = await self._storage.start_job(job_id)  # it was, without a word
            _log.warning("job %d, attempt %d: %s", job_id, run.job.attempts, error)
            if error.starting:
                await self._end(run.job, Ended(state="failed", text=str(error)))
            elif run.job.attempts >= MOST_ATTEMPTS:
                await self._end(run.job, Ended(state="failed", text=WORN_OUT))
            else:
                await self._enter_again(run.job)
        except BotError as error:
            _log.warning("job %d failed: %s", job_id, error)
            await self._end(run.job, Ended(state="failed", text=str(error)))
        except Exception:
            reference = secrets.token_hex(4)
            _log.exception("job %d failed, reference %s", job_id, reference)
            await self._end(run.job, Ended(state="failed", text=defect_sentence(reference)))
        else:
            self._turns.learn(run.job, result)
            await asyncio.shield(self._hand_over(run.job, result))

    async def _make(self, run: Running) -> Result:
        await self._told.pop(run.job.id).wait()  # its start must not be overtaken by "waiting"
        images = await self._storage.inputs(run.job.id)
        request = replace(run.job.request, images=images)
        begun = False
        async with contextlib.aclosing(self._executor.run(request)) as events:
            async for event in events:
                if not begun:  # until now it waited, be it for the worker
                    begun, run.job = True, await self._storage.start_job(run.job.id)
                if isinstance(event, Result):
                    assert run.job.started_at is not None
                    wait = {"wait": max(0.0, run.job.started_at - run.job.created_at)}
                    return replace(event, seconds=wait | dict(event.seconds))
                run.progress = event
                await self._tell(run.job, event)
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
        if told := self._told.pop(job.id, None):
            await told.wait()  # the last word must not be overtaken by "waiting"
        with contextlib.suppress(StorageError):
            await self._storage.end_job(job.id, ended.state, ended.text)
        await self._tell(job, ended)

    async def _enter_again(self, job: Job) -> None:
        """Let a job wait that was begun, or recorded, before."""
        if job.state == "running":
            with contextlib.suppress(StorageError):
                await self._storage.put_back(job.id, counts=True)
            job = replace(job, state="queued", started_at=None)
        told = self._told[job.id] = asyncio.Event()
        told.set()
        self._turns.enter(job)
        await self._notify()

    async def _put_back(self, job: Job) -> None:
        """Leave a job to the next start."""
        self._told.pop(job.id, None)
        with contextlib.suppress(StorageError):
            await self._storage.put_back(job.id, counts=False)
        await self._tell(job, Queued(position=1, moved=True, restarting=True))

    async def _look_at_memory(self) -> None:
        """See which models are on the devices, for the choice of the next job."""
        with contextlib.suppress(BotError, TimeoutError):
            async with asyncio.timeout(LOOK):
                self._turns.resident = resident_models(await self._executor.memory())

    def _has_moved(self, place: Place) -> bool:
        position, told_at = self._places.get(place.job.id, (0, -BETWEEN_MOVES))
        since = time.monotonic() - told_at
        return position != place.position and since >= BETWEEN_MOVES

    def _note_place(self, place: Place) -> None:
        self._places[place.job.id] = (place.position, time.monotonic())

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
