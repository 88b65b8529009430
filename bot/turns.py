"""Whose turn it is: the jobs that wait, in a fair order, and when each will begin."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bot.errors import JobError
from bot.forecasts import Forecasts
from bot.i18n import _, counted, number
from bot.inference.residency import model_of
from bot.inference.sweeps import variations
from bot.inference.types import Progress, Request, Result
from bot.records import Job, Origin, result_of
from bot.scheduling import Scheduler, Waiting
from bot.units import format_wait

UNKNOWN = 5.0
"""Seconds that a job counts with for its turn, as long as nothing like it has been done here."""
NEAR = 100
"""Places that are worked out as often as they change. Whoever is further back is told to be last,
and the true place when it is near: to work out all places takes as long as there are jobs."""
WINDOW = 3600.0
"""Seconds back that fairness looks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How many jobs may wait, of one member and in one server; infinity is no limit.

    A sweep counts as many times as it has cells.
    """

    member: float = 20
    server: float = 200


@dataclass(kw_only=True, slots=True)
class Running:
    """A job that runs: since when by the monotonic clock, and how far it is."""

    job: Job
    since: float
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A job that waits: its place, 1 is next, and the seconds until it begins, if known."""

    job: Job
    position: int
    seconds: float | None


class Turns:
    """The jobs that wait and those that run, and what is known of how long they take.

    `lanes` tells how many run at a time now, `resident` are the models that are on a device, as
    `model_of` names them.
    """

    def __init__(self, limits: Limits, lanes: Callable[[], int]) -> None:
        self.waiting: dict[int, Job] = {}
        self.running: dict[int, Running] = {}
        self.resident: frozenset[str] = frozenset()
        self._limits = limits
        self._lanes = lanes
        self._scheduler = Scheduler(window=WINDOW)
        self._forecasts = Forecasts()
        # in each server apart: each has limits of its own
        self._of_member: Counter[tuple[int | None, int]] = Counter()
        self._of_server: Counter[int] = Counter()

    def check_room(
        self, guild_id: int | None, user_id: int, limits: Limits | None = None, cells: int = 1
    ) -> None:
        """Raise JobError where too many jobs wait for one more, of so many cells.

        `limits` are those of who asks, where they are not the usual ones.
        """
        limits = limits or self._limits
        mine, ours = self.counts(guild_id, user_id)
        most = limits.member if guild_id is None else min(limits.member, limits.server)
        if cells > 1 and cells - 1 >= most:
            raise JobError(
                _(
                    "This sweep counts as {cells} jobs, and {most} of yours at most may wait here.",
                    cells=number(cells),
                    most=number(math.ceil(most)),
                )
            )
        if mine + cells - 1 >= limits.member:
            raise JobError(f"{_yours(mine, cells)} {self._when_to_come_back()}")
        if ours + cells - 1 >= limits.server:
            raise JobError(f"{_the_servers(ours, cells)} {self._when_to_come_back()}")

    def counts(self, guild_id: int | None, user_id: int) -> tuple[int, int]:
        """Return how many jobs of a member wait in a server, and how many of all there."""
        ours = 0 if guild_id is None else self._of_server[guild_id]
        return self._of_member[guild_id, user_id], ours

    def forecast(self, request: Request) -> float | None:
        """Return how many seconds a request will take once it runs, None where nothing is known."""
        return self._forecasts.seconds(request)

    def claim(self, origin: Origin, limits: Limits | None = None, cells: int = 1) -> None:
        """Count a job that is about to wait; raise JobError where there is no room for it."""
        self.check_room(origin.guild_id, origin.user_id, limits, cells)
        self._count(origin, cells)

    def give_up(self, origin: Origin, cells: int = 1) -> None:
        """Take back a claim."""
        self._count(origin, -cells)

    def enter(self, job: Job, *, claimed: bool = False) -> None:
        """Let a job wait."""
        if not claimed:
            self._count(job.origin, job.request.cells)
        self.waiting[job.id] = job
        self._scheduler.add(
            Waiting(
                id=job.id,
                member=job.origin.user_id,
                model=model_of(job.request),
                seconds=self._seconds(job),
            )
        )

    def place(self, job: Job) -> Place:
        """Return the place of a job that waits: the last one, unless it is near."""
        last = Place(job=job, position=len(self.running) + len(self.waiting), seconds=None)
        return next((place for place in self.near() if place.job.id == job.id), last)

    def withdraw(self, job_id: int) -> Job:
        """Take a job out that waits."""
        self._scheduler.remove(job_id)
        job = self.waiting.pop(job_id)
        self._count(job.origin, -job.request.cells)
        return job

    def begin(self) -> Running:
        """Take the job whose turn it is; one must wait."""
        job_id = self._scheduler.take(self.resident, time.time())
        assert job_id is not None
        job = self.waiting.pop(job_id)
        self._count(job.origin, -job.request.cells)
        self.running[job_id] = Running(job=job, since=time.monotonic())
        return self.running[job_id]

    def end(self, run: Running) -> None:
        """Note that a job runs no more."""
        del self.running[run.job.id]
        self._scheduler.charge(run.job.id, time.monotonic() - run.since, time.time())

    def learn(self, job: Job, result: Result) -> None:
        """Learn from a job how long such jobs take."""
        if not result.cells:
            self._forecasts.learn(job.request, result.seconds, result.quantization)
            return
        for request, cell in zip(variations(job.request), result.cells, strict=True):
            # the others are spared the reading of the prompt, which a picture by itself is not
            if "encode" in cell.seconds:
                self._forecasts.learn(request, cell.seconds, cell.quantization)

    def remember(self, made: Iterable[Job], ended: Iterable[Job]) -> None:
        """Learn from jobs of earlier processes how long things take, and who had how much."""
        for job in made:
            assert job.outcome is not None
            self.learn(job, result_of(job.outcome))
        now = time.time()
        for job in ended:
            assert job.started_at is not None
            assert job.finished_at is not None
            # the clock may have been set back, before the job ended or after
            if job.finished_at < now + WINDOW:
                took = min(WINDOW, max(0.0, job.finished_at - job.started_at))
                self._scheduler.charge_member(job.origin.user_id, took, min(job.finished_at, now))

    def pending(self, guild_id: int | None, user_id: int | None = None) -> float:
        """Return the seconds that the jobs of a server, or of a member there, will still take."""
        jobs = [*self.waiting.values(), *(run.job for run in self.running.values())]
        return sum(
            self._seconds(job)
            for job in jobs
            if job.origin.guild_id == guild_id and user_id in (None, job.origin.user_id)
        )

    def near(self) -> Iterator[Place]:
        """Yield the places that are near."""
        return itertools.islice(self.places(), NEAR)

    def places(self) -> Iterator[Place]:
        """Yield the jobs that wait, in the order in which they will begin as things stand.

        They are as they were at the first, whatever becomes of them until the last.
        """
        left = [self.seconds_left(run) for run in self.running.values()]
        ahead = _total(left)
        waiting, resident = self.waiting.copy(), set(self.resident)
        order = self._scheduler.order(self.resident, time.time())
        for position, job_id in enumerate(order, len(self.running) + 1):
            job = waiting[job_id]
            seconds = None if ahead is None else ahead / max(1, self._lanes())
            yield Place(job=job, position=position, seconds=seconds)
            own = self._forecasts.seconds(job.request)
            models = [model_of(each) for each in variations(job.request)]
            if ahead is not None and own is not None:
                ahead += own + len({*models} - resident) * self._forecasts.load_seconds()
            else:
                ahead = None
            resident = {models[-1]}

    def seconds_left(self, run: Running) -> float | None:
        """Return how long a job will still run, by its own steps or by what others took."""
        progress = run.progress
        if progress is not None and progress.stage == "denoise" and progress.step:
            return progress.seconds / progress.step * (progress.total - progress.step)
        seconds = self._forecasts.seconds(run.job.request)
        return None if seconds is None else max(0.0, seconds - (time.monotonic() - run.since))

    def _seconds(self, job: Job) -> float:
        return sum(self._forecasts.seconds(each) or UNKNOWN for each in variations(job.request))

    def _when_to_come_back(self) -> str:
        seconds = next((place.seconds for place in self.near() if place.seconds), None)
        if seconds is None:
            return _("Please come back when one of them is done, or cancel one with `/cancel`.")
        return _(
            "The next one begins in about {wait}: please come back then, or cancel one with"
            " `/cancel`.",
            wait=format_wait(seconds),
        )

    def _count(self, origin: Origin, change: int) -> None:
        self._of_member[origin.guild_id, origin.user_id] += change
        if origin.guild_id is not None:
            self._of_server[origin.guild_id] += change


def _yours(waiting: int, cells: int) -> str:
    if cells == 1:
        return counted(
            "You have {n} job waiting already.", "You have {n} jobs waiting already.", waiting
        )
    return counted(
        "You have {n} job waiting already, and this sweep counts as {cells}.",
        "You have {n} jobs waiting already, and this sweep counts as {cells}.",
        waiting,
        cells=number(cells),
    )


def _the_servers(waiting: int, cells: int) -> str:
    if cells == 1:
        return counted(
            "This server has {n} job waiting already.",
            "This server has {n} jobs waiting already.",
            waiting,
        )
    return counted(
        "This server has {n} job waiting already, and this sweep counts as {cells}.",
        "This server has {n} jobs waiting already, and this sweep counts as {cells}.",
        waiting,
        cells=number(cells),
    )


def _total(seconds: Sequence[float | None]) -> float | None:
    known = [each for each in seconds if each is not None]
    return sum(known) if len(known) == len(seconds) else None
