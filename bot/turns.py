"""Whose turn it is: the jobs that wait, in a fair order, and when each will begin."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bot.errors import JobError
from bot.forecasts import Forecasts
from bot.inference.residency import model_of
from bot.inference.types import Progress, Result
from bot.records import Job, Origin
from bot.scheduling import Scheduler, Waiting
from bot.units import format_wait

UNKNOWN = 5.0
"""Seconds that a job counts with for its turn, as long as nothing like it has been done here."""
MANY = 200
"""Jobs that wait, above which a new one is told that it is last, and its true place a little later:
to work out all places takes as long as there are jobs."""
WINDOW = 3600.0
"""Seconds back that fairness looks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How many jobs may wait, of one member and in one server."""

    member: int = 20
    server: int = 200


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

    `resident` are the models that are on a device, as `model_of` names them.
    """

    def __init__(self, limits: Limits, lanes: int, clock: Callable[[], float] = time.time) -> None:
        self.waiting: dict[int, Job] = {}
        self.running: dict[int, Running] = {}
        self.resident: frozenset[str] = frozenset()
        self._limits = limits
        self._lanes = max(1, lanes)
        self._clock = clock
        self._scheduler = Scheduler(window=WINDOW)
        self._forecasts = Forecasts()
        self._of_member: Counter[int] = Counter()
        self._of_server: Counter[int] = Counter()

    def claim(self, origin: Origin) -> None:
        """Count a job that is about to wait; raise JobError where too many do."""
        mine, ours = self._of_member[origin.user_id], 0
        if origin.guild_id is not None:
            ours = self._of_server[origin.guild_id]
        if mine >= self._limits.member:
            raise JobError(f"You have {mine} jobs waiting already. {self._when_to_come_back()}")
        if ours >= self._limits.server:
            raise JobError(f"{ours} jobs wait in this server. {self._when_to_come_back()}")
        self._count(origin, 1)

    def give_up(self, origin: Origin) -> None:
        """Take back a claim."""
        self._count(origin, -1)

    def enter(self, job: Job, *, claimed: bool = False) -> None:
        """Let a job wait."""
        if not claimed:
            self._count(job.origin, 1)
        self.waiting[job.id] = job
        self._scheduler.add(
            Waiting(
                id=job.id,
                member=job.origin.user_id,
                model=model_of(job.request),
                seconds=self._forecasts.seconds(job.request) or UNKNOWN,
            )
        )

    def place(self, job: Job) -> Place:
        """Return the place of a job that waits."""
        if len(self.waiting) > MANY:
            return Place(job=job, position=len(self.running) + len(self.waiting), seconds=None)
        return next(place for place in self.places() if place.job.id == job.id)

    def withdraw(self, job_id: int) -> Job:
        """Take a job out that waits."""
        self._scheduler.remove(job_id)
        job = self.waiting.pop(job_id)
        self._count(job.origin, -1)
        return job

    def begin(self) -> Running:
        """Take the job whose turn it is; one must wait."""
        job_id = self._scheduler.take(self.resident, self._clock())
        assert job_id is not None
        job = self.waiting.pop(job_id)
        self._count(job.origin, -1)
        self.running[job_id] = Running(job=job, since=time.monotonic())
        return self.running[job_id]

    def end(self, run: Running) -> None:
        """Note that a job runs no more."""
        del self.running[run.job.id]
        self._scheduler.charge(run.job.id, time.monotonic() - run.since, self._clock())

    def learn(self, job: Job, result: Result) -> None:
        """Learn from a job how long such jobs take."""
        self._forecasts.learn(job.request, result.seconds, result.quantization)

    def remember(self, made: Iterable[Job], ended: Iterable[Job]) -> None:
        """Learn from jobs of earlier processes how long things take, and who had how much."""
        for job in made:
            assert job.outcome is not None
            self._forecasts.learn(job.request, job.outcome["seconds"], job.outcome["quantization"])
        for job in ended:
            assert job.started_at is not None
            assert job.finished_at is not None
            self._scheduler.charge_member(
                job.origin.user_id, max(0.0, job.finished_at - job.started_at), job.finished_at
            )

    def places(self) -> list[Place]:
        """Return the jobs that wait, in the order in which they will begin as things stand."""
        left = [self.seconds_left(run) for run in self.running.values()]
        ahead = _total(left)
        resident, places = set(self.resident), []
        order = self._scheduler.order(self.resident, self._clock())
        for position, job_id in enumerate(order, len(self.running) + 1):
            job = self.waiting[job_id]
            seconds = None if ahead is None else ahead / self._lanes
            places.append(Place(job=job, position=position, seconds=seconds))
            own, model = self._forecasts.seconds(job.request), model_of(job.request)
            if ahead is not None and own is not None:
                ahead += own + (0 if model in resident else self._forecasts.load_seconds())
            else:
                ahead = None
            resident = {model}
        return places

    def seconds_left(self, run: Running) -> float | None:
        """Return how long a job will still run, by its own steps or by what others took."""
        progress = run.progress
        if progress is not None and progress.stage == "denoise" and progress.step:
            return progress.seconds / progress.step * (progress.total - progress.step)
        seconds = self._forecasts.seconds(run.job.request)
        return None if seconds is None else max(0.0, seconds - (time.monotonic() - run.since))

    def _when_to_come_back(self) -> str:
        places = self.places()
        seconds = next((place.seconds for place in places if place.seconds), None)
        if seconds is None:
            return "Please come back when one of them is done, or cancel one with `/cancel`."
        soon = f"The next one begins in about {format_wait(seconds)}"
        return f"{soon}: please come back then, or cancel one with `/cancel`."

    def _count(self, origin: Origin, change: int) -> None:
        self._of_member[origin.user_id] += change
        if origin.guild_id is not None:
            self._of_server[origin.guild_id] += change


def _total(seconds: Sequence[float | None]) -> float | None:
    known = [each for each in seconds if each is not None]
    return sum(known) if len(known) == len(seconds) else None
