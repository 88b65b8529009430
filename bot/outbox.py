"""Last words on their way to members, beside the work: Discord may be slow, or be away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bot.errors import JobError, StorageError
from bot.events import Deliver, Ended, JobEvent, on_behalf_of
from bot.i18n import N_, _
from bot.inference.types import Result
from bot.records import Job
from bot.replay import agreement
from bot.storage import Storage

_log = logging.getLogger(__name__)

ROOM = 8
"""Results that may be on their way at once: their pictures are in memory."""
LATER = (60.0, 300.0, 1800.0, 7200.0)
"""Pauses before what Discord took in no form is tried again: it may have been away altogether."""
UNDELIVERED = N_(
    "The picture was made, but Discord did not take it. "
    "Please try again, with a smaller size or count if it was large."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Letter:
    """What is on its way; its pictures may be in memory all the while."""

    job: Job
    is_result: bool
    holds_pictures: bool


class Outbox:
    """Records how jobs end, and brings that to their members; `on_arrival` is called after each."""

    def __init__(self, storage: Storage, deliver: Deliver, on_arrival: Callable[[], None]) -> None:
        self.stopping = False
        """Whether what Discord does not take now is left to the next start."""
        self._storage = storage
        self._deliver = deliver
        self._on_arrival = on_arrival
        self._letters: dict[asyncio.Task[None], _Letter] = {}
        self._late: dict[asyncio.Task[None], Job] = {}
        self._not_kept: dict[int, str] = {}
        """For each job whose pictures could not be kept, what its member is told of that."""
        self._unwritten: dict[int, Callable[[], Awaitable[None]]] = {}
        """For each job what is to be recorded as soon as the disk takes it."""
        # the pictures of what was made before are read anew, those of one job at a time
        self._one_by_one = asyncio.Lock()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on its way."""
        return not self._letters

    @property
    def is_full(self) -> bool:
        """Whether so many results are on their way that no more should be made for now."""
        return sum(letter.holds_pictures for letter in self._letters.values()) >= ROOM

    async def tell(self, job: Job, event: JobEvent) -> bool:
        """Tell a member what has happened, and return whether that was taken."""
        with on_behalf_of(job):
            try:
                return await self._deliver(job, event)
            except Exception:
                # a defect there must not stop the queue
                _log.exception("job %d: its member could not be told", job.id)
                return False

    async def send(self, job: Job, event: Result | Ended) -> bool:
        """Record how a job ended, and return then whether it could; it is brought meanwhile."""
        recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        is_result = isinstance(event, Result)
        letter = _Letter(job=job, is_result=is_result, holds_pictures=is_result)
        task = self._post(letter, self._bring(job, event, recorded), "end")
        await asyncio.wait({task, recorded}, return_when=asyncio.FIRST_COMPLETED)
        return recorded.done()

    def bring_kept(self, job: Job) -> None:
        """Bring to its member, meanwhile, what an earlier process has made."""
        letter = _Letter(job=job, is_result=True, holds_pictures=False)
        self._post(letter, self._bring_kept(job), "kept end")

    async def recall(self, user_id: int) -> None:
        """Take back the results that are on their way to a member."""
        results = {task: letter.job for task, letter in self._letters.items() if letter.is_result}
        jobs = results | self._late
        await _cancel([task for task, job in jobs.items() if job.origin.user_id == user_id])

    async def abandon(self) -> None:
        """Leave what is on its way to the next start."""
        await _cancel([*self._letters, *self._late])
        await self._catch_up()

    def _post(
        self, letter: _Letter, way: Coroutine[Any, Any, None], what: str
    ) -> asyncio.Task[None]:
        with on_behalf_of(letter.job):  # so is the task, whoever began it
            task = asyncio.create_task(way, name=f"{what} of job {letter.job.id}")
            self._letters[task] = letter
            task.add_done_callback(self._arrive)
        return task

    def _arrive(self, letter: asyncio.Task[None]) -> None:
        del self._letters[letter]
        _log_defect(letter)
        self._on_arrival()

    async def _bring(self, job: Job, event: Result | Ended, recorded: asyncio.Future[None]) -> None:
        event = await self._record(job, event)
        recorded.set_result(None)
        if isinstance(event, Ended):
            await self.tell(job, event)
            return
        if job.repeats is not None:
            event = await self._compared(job, event)
        if not await self._hand_over(job, event):
            self._try_later(job)

    async def _bring_kept(self, job: Job) -> None:
        if not await self._bring_again(job):
            self._try_later(job)

    def _try_later(self, job: Job) -> None:
        if self.stopping:
            return
        late = asyncio.create_task(self._bring_late(job), name=f"late end of job {job.id}")
        self._late[late] = job
        late.add_done_callback(self._late.pop)
        late.add_done_callback(_log_defect)

    async def _compared(self, job: Job, result: Result) -> Result:
        """Return a result that says how it compares with what it repeats, and record that."""
        try:
            note = await agreement(self._storage, job, result)
        except Exception:
            # a defect there must not cost the pictures
            _log.exception("job %d could not be compared with job %d", job.id, job.repeats)
            note = _("This could not be compared with job {job}.", job=job.repeats)
        result = replace(result, notes=(*result.notes, note))
        try:
            await self._storage.set_notes(job.id, result.notes)
        except StorageError as error:
            _log.warning("job %d: how it compares is not kept: %s", job.id, error)
        return result

    async def _record(self, job: Job, event: Result | Ended) -> Result | Ended:
        """Record how a job ended, and return what its member is to be told."""
        if isinstance(event, Ended):
            end = partial(self._storage.end_job, job.id, event.state, event.text)
            await self._write(job, end)
            return event
        try:
            await self._storage.finish_job(job.id, event)
        except JobError as error:  # its member had everything deleted
            return Ended(state="cancelled", text=str(error), silent=True)
        except StorageError as error:
            # the member gets the pictures all the same
            _log.error("job %d is not kept: %s", job.id, error)
            note = _("This is not kept in the history. {error}", error=error)
            self._not_kept[job.id] = note
            return replace(event, notes=(*event.notes, note))
        return event

    async def _write(self, job: Job, write: Callable[[], Awaitable[None]]) -> None:
        """Record what became of a job, or do so when the disk has room, or its lock is free.

        Otherwise the next start would make once more what its member has been told of.
        """
        self._unwritten[job.id] = write
        await self._catch_up()

    async def _catch_up(self) -> None:
        for job_id, write in list(self._unwritten.items()):
            try:
                await write()
            except StorageError as error:
                _log.warning("job %d: what became of it is not recorded yet: %s", job_id, error)
                return
            if self._unwritten.get(job_id) is write:
                del self._unwritten[job_id]

    async def _hand_over(self, job: Job, result: Result) -> bool:
        """Bring a result, or else that it cannot be brought, and return whether that was taken."""
        if not await self.tell(job, result):
            return await self._admit(job, _(UNDELIVERED))
        if note := self._not_kept.pop(job.id, None):
            await self._close(job, note)
        else:
            await self._write(job, partial(self._storage.mark_delivered, job.id))
        return True

    async def _admit(self, job: Job, text: str) -> bool:
        """Tell a member that there is nothing for them to see, and return whether that was taken.

        While the bot stops nobody is told: the next start may have the pictures for them.
        """
        ended = Ended(state="failed", text=text)
        if self.stopping or not await self.tell(job, ended):
            return False
        await self._close(job, text)
        return True

    async def _close(self, job: Job, text: str) -> None:
        """Let a job be over; its pictures stay in the history."""
        await self._write(job, partial(self._storage.end_job, job.id, "failed", text))

    async def _bring_late(self, job: Job) -> None:
        """Try a few times more what was not taken."""
        for pause in LATER:
            await asyncio.sleep(pause)
            if await self._bring_again(job):
                return
        if not self.stopping:
            _log.error("job %d: Discord took it in no form, and it is not tried again", job.id)
            await self._close(job, _(UNDELIVERED))

    async def _bring_again(self, job: Job) -> bool:
        """Bring what was made before, and return whether there is nothing more to try."""
        async with self._one_by_one:
            if self.stopping:
                return False
            try:
                job = await self._storage.job(job.id)
                if job.state != "made":  # it could not be recorded
                    return True
                result = await self._storage.result(job)
            except JobError:  # it was deleted meanwhile
                return True
            except StorageError as error:
                _log.error("job %d: its pictures cannot be read: %s", job.id, error)
                return await self._admit(job, str(error))
            return await self._hand_over(job, result)


async def _cancel(letters: list[asyncio.Task[None]]) -> None:
    for letter in letters:
        letter.cancel()
    await asyncio.gather(*letters, return_exceptions=True)


def _log_defect(letter: asyncio.Task[None]) -> None:
    if not letter.cancelled() and (defect := letter.exception()):
        _log.error("%s: it was not brought to its member", letter.get_name(), exc_info=defect)
