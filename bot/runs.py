"""Jobs at work: each from the moment in which its turn has come to its end, whatever that is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from bot.errors import BotError, StorageError, WorkerDied, defect_sentence
from bot.events import Ended, on_behalf_of
from bot.i18n import N_, _
from bot.inference.executor import Executor
from bot.inference.residency import resident_models
from bot.inference.types import Queued, Result
from bot.making import made
from bot.membership import is_in_vain
from bot.outbox import Outbox
from bot.records import Job
from bot.storage import Storage
from bot.turns import Running, Turns

_log = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
WORN_OUT = N_(
    "This was begun {times} times, and each time something took the bot or its worker down. "
    "Please try it with a smaller size."
)
LEFT = N_("Its member has left the server.")

LOOK = 1.0
"""Seconds that the worker has to say what is on its device."""

RESTARTING = Queued(position=1, moved=True, restarting=True)


class _MemberLeft(Exception):
    """Nobody is there any more to make a job for."""


class Runs:
    """Has the executor make the jobs whose turn it is, as many at a time as it takes.

    `has_left` tells of a job that has waited for long whether its member has left the server, and
    `on_change` is called when there is room, or a job waits again.
    """

    def __init__(
        self,
        storage: Storage,
        executor: Executor,
        turns: Turns,
        outbox: Outbox,
        has_left: Callable[[Job], Awaitable[bool]] | None,
        on_change: Callable[[], None],
    ) -> None:
        self._storage = storage
        self._executor = executor
        self._turns = turns
        self._outbox = outbox
        self._has_left = has_left
        self._on_change = on_change
        self._at_work = 0
        self._making: dict[int, asyncio.Task[Result]] = {}
        self._cancelled: dict[int, Ended] = {}

    @property
    def has_room(self) -> bool:
        """Whether the executor wants one run more."""
        return self._at_work < self._executor.capacity + self._executor.ahead

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Begin the job whose turn it is; one must wait."""
        run = self._turns.begin()
        self._at_work += 1
        with on_behalf_of(run.job):
            # a task of its own: it can be cancelled, what is done with the result can not
            self._making[run.job.id] = asyncio.create_task(self._make(run))
            group.create_task(self._work(run))

    def cancel(self, job_id: int, ended: Ended) -> bool:
        """Call off a job, and return whether it is being made."""
        making = self._making.get(job_id)
        if making is None:
            return False
        self._cancelled[job_id] = ended
        making.cancel()
        return True

    def leave(self) -> None:
        """Break off all that is being made: the next start makes it."""
        for making in self._making.values():
            making.cancel()

    async def take_up(self, job: Job) -> None:
        """Let a job wait again that was begun before, unless that was done too often."""
        if job.attempts >= MOST_ATTEMPTS:
            await self._fail(job, _(WORN_OUT, times=MOST_ATTEMPTS))
        else:
            await self._enter_again(job)

    async def _work(self, run: Running) -> None:
        try:
            await self._run(run)
        finally:
            self._turns.end(run)
            self._making.pop(run.job.id, None)
            self._cancelled.pop(run.job.id, None)
            await self._look_at_memory()
            self._at_work -= 1
            self._on_change()

    async def _run(self, run: Running) -> None:
        """Run one job to its end, whatever that is; only a stop of the bot leaves it early."""
        job_id = run.job.id
        making = self._making[job_id]
        try:
            try:
                result = await making
            finally:
                del self._making[job_id]
        except asyncio.CancelledError:
            if ended := self._cancelled.get(job_id):
                await self._end(run.job, ended)
            else:
                await self._put_back(run.job)
            if _being_cancelled():
                raise
        except _MemberLeft:
            await self._end(run.job, Ended(state="cancelled", text=_(LEFT)))
        except WorkerDied as error:
            self._making[job_id] = making  # it can still be cancelled
            if not error.starting and run.job.state != "running":
                run.job = await self._count_attempt(run.job)  # it was begun, without a word
            _log.warning("job %d, attempt %d: %s", job_id, run.job.attempts, error)
            if error.starting:
                await self._fail(run.job, str(error))
            else:
                await self.take_up(run.job)
        except BotError as error:
            _log.warning("job %d failed: %s", job_id, error)
            await self._fail(run.job, str(error))
        except Exception:
            reference = secrets.token_hex(4)
            _log.exception("job %d failed, reference %s", job_id, reference)
            await self._fail(run.job, defect_sentence(reference))
        else:
            self._turns.learn(run.job, result)
            await self._end(run.job, result)

    async def _make(self, run: Running) -> Result:
        if await is_in_vain(run.job, self._has_left):
            raise _MemberLeft
        images = await self._storage.inputs(run.job.id)
        request = replace(run.job.request, images=images)
        begun = False
        events = made(self._executor, request, self._turns.resident)
        async with contextlib.aclosing(events):
            async for event in events:
                if not begun:  # until now it waited, be it for the worker
                    begun, run.job = True, await self._storage.start_job(run.job.id)
                    run.since = time.monotonic()
                if isinstance(event, Result):
                    assert run.job.started_at is not None
                    wait = {"wait": max(0.0, run.job.started_at - run.job.created_at)}
                    return replace(event, seconds=wait | dict(event.seconds))
                run.progress = event
                await self._outbox.tell(run.job, event)
        raise AssertionError("a run ends with a result or an error")

    async def _fail(self, job: Job, text: str) -> None:
        await self._end(job, Ended(state="failed", text=text))

    async def _end(self, job: Job, event: Result | Ended) -> None:
        """Let a job end, unless the bot stops before that is recorded."""
        if not await self._outbox.send(job, event) and self._outbox.stopping:
            await self._put_back(job)

    async def _count_attempt(self, job: Job) -> Job:
        """Record that a job was begun; where that cannot be, it is known to this process alone."""
        try:
            return await self._storage.start_job(job.id)
        except BotError as error:
            _log.error("job %d: its attempt is not recorded: %s", job.id, error)
            return replace(job, attempts=job.attempts + 1)

    async def _enter_again(self, job: Job) -> None:
        """Let a job wait that was begun, or recorded, before."""
        if job.state == "running":
            await self._record_back(job, counts=True)
            job = replace(job, state="queued", started_at=None)
        self._making.pop(job.id, None)
        if ended := self._cancelled.get(job.id):  # meanwhile
            await self._end(job, ended)
            return
        self._turns.enter(job)
        self._on_change()

    async def _put_back(self, job: Job) -> None:
        """Leave a job to the next start."""
        await self._record_back(job, counts=False)
        await self._outbox.tell(job, RESTARTING)

    async def _record_back(self, job: Job, *, counts: bool) -> None:
        try:
            await self._storage.put_back(job.id, counts=counts)
        except StorageError as error:
            # the next start takes it up all the same, as one that was running
            _log.error("job %d: that it waits again is not recorded: %s", job.id, error)

    async def _look_at_memory(self) -> None:
        """See which models are on the devices, for the choice of the next job."""
        with contextlib.suppress(BotError, TimeoutError):
            async with asyncio.timeout(LOOK):
                self._turns.resident = resident_models(await self._executor.memory())


def _being_cancelled() -> bool:
    """Tell whether the running task itself is being cancelled, not only one that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
