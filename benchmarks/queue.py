"""What the order of the jobs is worth: switches of models and waits, against first in, first out.

Run with `python -m benchmarks.queue`. One simulated worker that holds one model at a time works off
the same jobs in both orders; all of it is drawn from fixed seeds, so that the table is the same on
any machine. Seconds are those of pictures of one megapixel on a large GPU.
"""

from __future__ import annotations

import platform
import random
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Protocol

from benchmarks.corridor import processor
from bot.inference.tools import TOOLS
from bot.inference.types import Request
from bot.jobs import PART
from bot.records import Job, Origin
from bot.scheduling import Scheduler, Waiting
from bot.turns import Limits, Running, Turns

SECONDS = {
    "schnell": 0.7,
    "dev": 2.9,
    "fill": 3.0,
    "kontext": 5.8,
    "depth": 3.1,
    "canny": 3.0,
    "fill at 16 bits": 4.2,
}
"""The most wanted model first."""

SWITCH = 4.0
SEEDS = range(10)
HOUR = 3600.0
CROWD = 10_000, 1_000
"""Jobs, and members they are of."""
ALL = "all places, in all"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job, and when it comes."""

    at: float
    job: Waiting


class Queue(Protocol):
    """What decides on the next job."""

    def add(self, job: Waiting) -> None: ...
    def take(self, resident: Collection[str], now: float) -> int | None: ...
    def charge(self, job_id: int, seconds: float, now: float) -> None: ...


class Plain:
    """First in, first out."""

    def __init__(self) -> None:
        self._jobs: deque[int] = deque()

    def add(self, job: Waiting) -> None:
        self._jobs.append(job.id)

    def take(self, resident: Collection[str], now: float) -> int | None:
        return self._jobs.popleft() if self._jobs else None

    def charge(self, job_id: int, seconds: float, now: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an order: switches, waits of members who have one job and of all, the end."""

    switches: int
    single: tuple[float, ...]
    waits: tuple[float, ...]
    end: float


def orders(draw: random.Random, times: Collection[tuple[float, int]]) -> list[Arrival]:
    """Return jobs for times and members: models by Zipf's law, each job 80 to 120 % of the usual.

    Two of three jobs of a member are for the model of the one before.
    """
    names, last = list(SECONDS), dict[int, str]()
    arrivals = []
    for number, (at, member) in enumerate(sorted(times), 1):
        if member not in last or draw.random() > 2 / 3:
            last[member] = draw.choices(names, [1 / n for n in range(1, len(names) + 1)])[0]
        model = last[member]
        seconds = SECONDS[model] * draw.uniform(0.8, 1.2)
        arrivals.append(
            Arrival(at, Waiting(id=number, member=member, model=model, seconds=seconds))
        )
    return arrivals


def busy_evening(draw: random.Random) -> list[Arrival]:
    """40 members in an hour, with about 1200 jobs: more than can be done meanwhile."""
    return _evening(draw, (1, 1, 20, 30, 50, 70))


def evening(draw: random.Random) -> list[Arrival]:
    """40 members in an hour, with about 500 jobs: the queue is empty now and then."""
    return _evening(draw, (1, 1, 3, 10, 20, 40))


def _evening(draw: random.Random, appetites: tuple[int, ...]) -> list[Arrival]:
    times = []
    for member in range(40):
        at = draw.uniform(0, HOUR)
        for _ in range(draw.choice(appetites)):
            times.append((at, member))
            at += draw.expovariate(1 / 20)
    return orders(draw, times)


def flooder(draw: random.Random) -> list[Arrival]:
    """One member has 100 jobs at once, 300 others come with one each in half an hour."""
    times = [(draw.uniform(0, 60), 0) for _ in range(100)]
    times += [(draw.uniform(0, HOUR / 2), member) for member in range(1, 301)]
    return orders(draw, times)


def bursts(draw: random.Random) -> list[Arrival]:
    """Every ten minutes 30 members come within one, most of them with one job."""
    times = []
    for start in range(0, 3600, 600):
        for member in range(30):
            at = start + draw.uniform(0, 60)
            times += [(at + n, start + member) for n in range(draw.choice((1, 1, 1, 2, 5)))]
    return orders(draw, times)


def quiet(draw: random.Random) -> list[Arrival]:
    """A job a minute: hardly any waits, so that there is little to choose from."""
    return orders(draw, [(draw.uniform(0, HOUR), draw.randrange(20)) for _ in range(60)])


SCENARIOS: dict[str, Callable[[random.Random], list[Arrival]]] = {
    "busy evening": busy_evening,
    "evening": evening,
    "flooder": flooder,
    "bursts": bursts,
    "quiet hour": quiet,
}


def simulate(queue: Queue, arrivals: list[Arrival]) -> Outcome:
    """Work off the jobs, and note how long each waited."""
    coming = deque(arrivals)
    jobs = {arrival.job.id: arrival for arrival in arrivals}
    of_member = Counter(arrival.job.member for arrival in arrivals)
    now, model, switches = 0.0, "", 0
    single, waits = [], []
    for _ in arrivals:
        while (job_id := _next(queue, coming, model, now)) is None:
            now = coming[0].at
        at, job = jobs[job_id].at, jobs[job_id].job
        if job.model != model:
            model, switches = job.model, switches + 1
            now += SWITCH
        waits.append(now - at)
        if of_member[job.member] == 1:
            single.append(now - at)
        now += job.seconds
        queue.charge(job_id, job.seconds, now)
    return Outcome(switches, tuple(single), tuple(waits), now)


def _next(queue: Queue, coming: deque[Arrival], model: str, now: float) -> int | None:
    while coming and coming[0].at <= now:
        queue.add(coming.popleft().job)
    return queue.take((model,), now)


def compare(make: Callable[[random.Random], list[Arrival]]) -> Iterator[list[str]]:
    """Simulate a scenario over and over in both orders, and return what to print of each."""
    mixes = [make(random.Random(seed)) for seed in SEEDS]
    before = 0
    for name, queue in (("first in, first out", Plain), ("scheduler", Scheduler)):
        outcomes = [simulate(queue(), mix) for mix in mixes]
        switches = sum(outcome.switches for outcome in outcomes)
        single = [wait for outcome in outcomes for wait in outcome.single]
        waits = [wait for outcome in outcomes for wait in outcome.waits]
        before = before or switches
        yield [
            name,
            f"{switches / len(mixes):.0f}",
            f"{100 * (1 - switches / before):.0f} %",
            f"{_p95(single):.0f} s",
            f"{max(single):.0f} s",
            f"{_p95(waits):.0f} s",
            f"{statistics.fmean(outcome.end for outcome in outcomes):.0f} s",
        ]


def _p95(waits: list[float]) -> float:
    return statistics.quantiles(waits, n=20)[-1]


def crowd() -> Iterator[tuple[str, float]]:
    """Return what each call takes in milliseconds while a great many jobs wait."""
    count, members = CROWD
    draw, tools = random.Random(0), list(TOOLS)
    turns = Turns(Limits(member=count, server=count), lanes=lambda: 1)
    jobs = [_job(n, draw.randrange(members), draw.choice(tools)) for n in range(count)]
    outcome = {"seconds": {"denoise": 3.0}, "quantization": jobs[0].request.quantization}
    turns.remember([replace(_job(0, 0, tool), outcome=outcome) for tool in tools], [])
    yield "add", max(_milliseconds(partial(turns.enter, job)) for job in jobs)
    yield "place of a new job", _median(lambda: turns.place(jobs[-1]))
    yield "places that are near", _median(lambda: list(turns.near()))
    places = turns.places()
    parts = [_milliseconds(lambda: list(islice(places, PART))) for _ in range(0, count, PART)]
    yield f"all places, {PART} at a stretch", max(parts)
    yield ALL, sum(parts)
    yield "withdraw", max(_milliseconds(partial(turns.withdraw, n)) for n in range(100))
    began: list[Running] = []
    yield "take", max(_milliseconds(lambda: began.append(turns.begin())) for _ in range(100))
    yield "end", max(_milliseconds(partial(turns.end, run)) for run in began)


def _job(number: int, member: int, tool: str) -> Job:
    return Job(
        id=number,
        state="queued",
        origin=Origin(
            user_id=member,
            guild_id=None,
            channel_id=0,
            message_id=number,
            application_id=0,
            token="",
        ),
        request=Request(
            tool=tool,
            prompt="",
            width=1024,
            height=1024,
            num_inference_steps=28,
            guidance_scale=None,
            seed=0,
        ),
        outcome=None,
        error=None,
        created_at=0.0,
        started_at=None,
        finished_at=None,
    )


def _median(act: Callable[[], object]) -> float:
    return statistics.median(_milliseconds(act) for _ in range(15))


def _milliseconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Simulate everything and print the tables."""
    print(f"Means of {len(SEEDS)} evenings each; a switch takes {SWITCH:.0f} s\n")
    columns = ["jobs", "order", "switches", "fewer", "p95 wait, members with one job", "worst"]
    columns += ["p95 wait, all", "done after"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, make in SCENARIOS.items():
        for row in compare(make):
            print(f"| {name} | {' | '.join(row)} |")
    print(f"\n{processor()}, Python {platform.python_version()}, {CROWD[0]} jobs wait\n")
    print("| call | measured | goal |\n|---|---|---|")
    for name, milliseconds in crowd():
        goal = "" if name == ALL else "≤ 5 ms"
        print(f"| {name} | {milliseconds:.2f} ms | {goal} |")


if __name__ == "__main__":
    main()
