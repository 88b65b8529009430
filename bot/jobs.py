"""The queue: a job is recorded, waits its turn, runs, and its member is told what became of it.

A job outlives the process: what waits or runs when it ends goes on at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from bot.errors import JobError
from bot.events import Deliver, Ended, on_behalf_of
from bot.i18n import N_, _
from bot.inference.executor import Executor
from bot.inference.types import Queued, Request
from bot.moves import BETWEEN_MOVES, Moves
from bot.outbox import Outbox
from bot.records import Job, Origin
from bot.runs import RESTARTING, Runs
from bot.storage import Storage
from bot.turns import WINDOW, Limits, Place, Running, Turns

OVER = N_(
    "This is not waiting or running any more, so it cannot be cancelled. `/queue` shows what is."
)

FAREWELL = 5.0
"""Seconds that a stop waits for messages, after the running jobs have had their grace."""
HISTORY = 500
"""Jobs of earlier processes that forecasts are learnt from."""
PART = 100
"""Places that are worked out at a stretch, before other things have their turn."""


class Jobs:
    """Jobs in a fair order, as many at a time as the executor takes.

    `has_left` tells of a job that has waited for long whether its member has left the server.
    """

    def __init__(
        self,
        storage: Storage,
        executor: Executor,
        deliver: Deliver,
        limits: Limits | None = None,
        has_left: Callable[[Job], Awaitable[bool]] | None = None,
    ) -> None:
        self._storage = storage
        executor.on_change = self._notify
        self._turns = Turns(limits or Limits(), lambda: executor.capacity)
        self._outbox = Outbox(storage, deliver, self._notify)
        self._runs = Runs(storage, executor, self._turns, self._outbox, has_left, self._notify)
        self._moves = Moves(self._turns)
        # what came before `run` looks for what was left behind, is not that
        self._early: set[int] = set()
        self._is_begun = False
        self._entering = asyncio.Lock()
        self._changed = asyncio.Event()
        self._is_goodbye_said = False

    async def submit(
        self,
        request: Request,
        origin: Origin,
        *,
        limits: Limits | None = None,
        repeats: int | None = None,
    ) -> Job:
        """Record a job and let it wait its turn; raise JobError where too many wait.

        `limits` are those of who asks, `repeats` is the job that this one is to make once more.
        While the bot stops it is recorded all the same, for the next start.
        """
        self._turns.claim(origin, limits, request.cells)
        event = Queued(position=1, restarting=True)
        async with self._entering:
            try:
                job = await self._storage.add_job(request, origin, repeats=repeats)
            except BaseException:
                self._turns.give_up(origin, request.cells)
                raise
            if not self._is_begun:
                self._early.add(job.id)
            if not self._outbox.stopping:
                self._turns.enter(job, claimed=True)
                place = self._turns.place(job)
                self._moves.note(place)
                event = Queued(position=place.position, seconds=place.seconds)
        self._notify()
        # who is notified looks later: this is said before anything else of the job
        await self._outbox.tell(job, event)
        return job

    def check_room(
        self, guild_id: int | None, user_id: int, limits: Limits, cells: int = 1
    ) -> None:
        """Raise JobError where too many jobs wait for one more of a member, of so many cells."""
        self._turns.check_room(guild_id, user_id, limits, cells)

    def counts(self, guild_id: int | None, user_id: int) -> tuple[int, int]:
        """Return how many jobs of a member wait in a server, and how many of all there."""
        return self._turns.counts(guild_id, user_id)

    def forecast(self, request: Request) -> float | None:
        """Return how many seconds a request will take once it runs, None where nothing is known."""
        return self._turns.forecast(request)

    async def cancel(self, job_id: int, reason: str, *, silently: bool = False) -> None:
        """Call off a job, whether it waits or runs; raise JobError if it does neither."""
        ended = Ended(state="cancelled", text=reason, silent=silently)
        if self._runs.cancel(job_id, ended):
            return
        if job_id not in self._turns.waiting:
            raise JobError(_(OVER))
        job = self._turns.withdraw(job_id)
        await self._outbox.send(job, ended)

    async def cancel_where(
        self, fits: Callable[[Job], bool], reason: str, *, silently: bool = False
    ) -> None:
        """Call off the jobs that fit, of those that wait or run; each says why in its language."""
        for job in [job for job in self.unfinished() if fits(job)]:
            with on_behalf_of(job), contextlib.suppress(JobError):  # made meanwhile
                await self.cancel(job.id, _(reason), silently=silently)

    async def forget(self, user_id: int, reason: str) -> None:
        """Call off all jobs of a member, and take back the pictures that are on their way."""
        await self.cancel_where(lambda job: job.origin.user_id == user_id, reason)
        await self._outbox.recall(user_id)

    def unfinished(self) -> list[Job]:
        """Return the jobs that run, and then those that wait."""
        return [*(run.job for run in self.running), *self._turns.waiting.values()]

    @property
    def running(self) -> list[Running]:
        """The jobs that run, the oldest first."""
        return list(self._turns.running.values())

    async def places(self) -> list[Place]:
        """Return the jobs that wait, in the order in which they will begin as things stand."""
        places = []
        for place in self._turns.places():
            places.append(place)
            if len(places) % PART == 0:
                await asyncio.sleep(0)
        return places

    def pending(self, guild_id: int | None, user_id: int | None = None) -> float:
        """Return the seconds that the jobs of a server, or of a member there, will still take."""
        return self._turns.pending(guild_id, user_id)

    def seconds_left(self, run: Running) -> float | None:
        """Return how long a job will still run, None where nothing is known."""
        return self._turns.seconds_left(run)

    @property
    def busy(self) -> bool:
        """Whether any job waits, runs, or is on its way to its member."""
        return bool(self._turns.waiting) or not self._is_at_rest()

    async def idle(self) -> None:
        """Wait until no job waits or runs, and none is on its way to its member."""
        await self._until(lambda: not self.busy)

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
                with on_behalf_of(job):
                    await self._take_up(job)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_places_told())
            while True:
                await self._until(self._may_begin)
                self._runs.begin(group)

    async def stop(self, grace: float) -> None:
        """Begin no more jobs, give the running ones `grace` seconds, and put the others back."""
        self._outbox.stopping = True
        await self._rest(grace)
        self._runs.leave()
        await self._rest(FAREWELL)
        await self._outbox.abandon()
        if not self._is_goodbye_said:
            await self._say_goodbye()
            self._is_goodbye_said = True
        # what could not be recorded any more is put back
        await self._rest(FAREWELL)

    async def _say_goodbye(self) -> None:
        """Tell those who wait; whom Discord does not tell in time, the next start tells."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                for job in list(self._turns.waiting.values()):
                    await self._outbox.tell(job, RESTARTING)

    def _is_at_rest(self) -> bool:
        return not self._turns.running and self._outbox.is_empty

    async def _rest(self, seconds: float) -> None:
        """Wait until nothing runs and nothing is on its way, but no longer than that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._until(self._is_at_rest)

    async def _take_up(self, job: Job) -> None:
        """Go on with a job that an earlier process has left; Discord may be slow meanwhile."""
        if job.state == "made":
            self._outbox.bring_kept(job)
        else:
            await self._runs.take_up(job)

    async def _keep_places_told(self) -> None:
        """Tell those who wait when their place has changed, each not too often, nor all at once."""
        while True:
            await self._until(lambda: bool(self._turns.waiting))
            for place in self._moves.due():
                if place.job.id not in self._turns.waiting or self._outbox.stopping:
                    continue  # since the places were worked out
                self._moves.note(place)
                event = Queued(position=place.position, seconds=place.seconds, moved=True)
                await self._outbox.tell(place.job, event)
            await asyncio.sleep(BETWEEN_MOVES)

    def _may_begin(self) -> bool:
        held_up = self._outbox.is_full or self._outbox.stopping
        return self._runs.has_room and bool(self._turns.waiting) and not held_up

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; nothing else comes between that and what follows."""
        while not holds():
            await self._changed.wait()

    def _notify(self) -> None:
        """Let all look again who wait for a change."""
        self._changed.set()
        self._changed.clear()
