"""Last words on their way to members, beside the work: Discord may be slow, or be away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace

from bot.errors import BotError, StorageError
from bot.events import Deliver, Ended, JobEvent
from bot.inference.types import Result
from bot.records import Job
from bot.replay import agreement
from bot.storage import Storage

_log = logging.getLogger(__name__)

ROOM = 8
"""Results that may be on their way at once: their pictures are in memory."""
LATER = (60.0, 300.0, 1800.0, 7200.0)
"""Pauses before what Discord took in no form is tried again: it may have been away altogether."""
UNDELIVERED = (
    "The picture was made, but Discord did not take it. "
    "Please try again, with a smaller size or count if it was large."
)


class Outbox:
    """Records how jobs end, and brings that to their members; `on_arrival` is called after each."""

    def __init__(self, storage: Storage, deliver: Deliver, on_arrival: Callable[[], None]) -> None:
        self.stopping = False
        """Whether what Discord does not take now is left to the next start."""
        self._storage = storage
        self._deliver = deliver
        self._on_arrival = on_arrival
        self._letters: dict[asyncio.Task[None], Result | Ended] = {}
        self._late: set[asyncio.Task[None]] = set()
        # the pictures of what is late are read anew, those of one job at a time
        self._one_by_one = asyncio.Lock()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on its way."""
        return not self._letters

    @property
    def is_full(self) -> bool:
        """Whether so many results are on their way that no more should be made for now."""
        return sum(isinstance(event, Result) for event in self._letters.values()) >= ROOM

    async def tell(self, job: Job, event: JobEvent) -> bool:
        """Tell a member what has happened, and return whether that was taken."""
        try:
            return await self._deliver(job, event)
        except Exception:
            # a defect there must not stop the queue
            _log.exception("job %d: its member could not be told", job.id)
            return False

    async def send(self, job: Job, event: Result | Ended) -> None:
        """Record how a job ended, and return then; it is brought to its member meanwhile."""
        recorded = asyncio.Event()
        letter = asyncio.create_task(self._bring(job, event, recorded), name=f"end of job {job.id}")
        self._letters[letter] = event
        letter.add_done_callback(self._arrive)
        await recorded.wait()

    async def bring_kept(self, job: Job) -> None:
        """Bring to its member what an earlier process has made.

        Once: what cannot be brought now is not tried again by the next start.
        """
        try:
            result = await self._storage.result(job)
        except StorageError as error:
            await self.send(job, Ended(state="failed", text=str(error)))
            return
        if not await self._give(job, result):
            await self.send(job, Ended(state="failed", text=UNDELIVERED))

    async def abandon(self) -> None:
        """Leave what is on its way to the next start."""
        letters = [*self._letters, *self._late]
        for letter in letters:
            letter.cancel()
        await asyncio.gather(*letters, return_exceptions=True)

    def _arrive(self, letter: asyncio.Task[None]) -> None:
        del self._letters[letter]
        if not letter.cancelled() and (defect := letter.exception()):
            _log.error("%s: it was not brought to its member", letter.get_name(), exc_info=defect)
        self._on_arrival()

    async def _bring(self, job: Job, event: Result | Ended, recorded: asyncio.Event) -> None:
        try:
            if isinstance(event, Result) and job.repeats is not None:
                event = replace(event, notes=(*event.notes, await self._agreement(job, event)))
            event = await self._record(job, event)
        finally:
            recorded.set()
        if isinstance(event, Ended):
            if not event.silent:
                await self.tell(job, event)
        elif not await self._hand_over(job, event) and not self.stopping:
            late = asyncio.create_task(self._bring_late(job.id), name=f"late end of job {job.id}")
            self._late.add(late)
            late.add_done_callback(self._late.discard)

    async def _agreement(self, job: Job, result: Result) -> str:
        try:
            return await agreement(self._storage, job, result)
        except Exception:
            # a defect there must not cost the pictures
            _log.exception("job %d could not be compared with job %d", job.id, job.repeats)
            return f"This could not be compared with job {job.repeats}."

    async def _record(self, job: Job, event: Result | Ended) -> Result | Ended:
        """Record how a job ended, and return what its member is to be told."""
        if isinstance(event, Ended):
            with contextlib.suppress(StorageError):
                await self._storage.end_job(job.id, event.state, event.text)
            return event
        try:
            await self._storage.finish_job(job.id, event)
        except StorageError as error:
            # the member gets the pictures all the same
            _log.error("job %d is not kept: %s", job.id, error)
            note = f"This is not kept in the history. {error}"
            return replace(event, notes=(*event.notes, note))
        return event

    async def _hand_over(self, job: Job, result: Result) -> bool:
        """Bring a result, or else that it cannot be brought, and return whether that was taken."""
        if await self._give(job, result):
            return True
        ended = Ended(state="failed", text=UNDELIVERED)
        if self.stopping or not await self.tell(job, ended):
            return False
        with contextlib.suppress(StorageError):
            await self._storage.end_job(job.id, ended.state, ended.text)
        return True

    async def _bring_late(self, job_id: int) -> None:
        """Try a few times more what was not taken; after that it is left to the next start."""
        for pause in LATER:
            await asyncio.sleep(pause)
            async with self._one_by_one:
                try:
                    job = await self._storage.job(job_id)
                    if job.state != "made":  # it could not be recorded
                        return
                    result = await self._storage.result(job)
                except BotError as error:  # it was deleted meanwhile, or cannot be read
                    _log.warning("job %d: not brought later: %s", job_id, error)
                    return
                if await self._hand_over(job, result):
                    return

    async def _give(self, job: Job, result: Result) -> bool:
        if not await self.tell(job, result):
            return False
        with contextlib.suppress(StorageError):
            await self._storage.mark_delivered(job.id)
        return True
