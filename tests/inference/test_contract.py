"""What every executor promises, of the one on this machine and of the one on Ray, with two workers.

The two are started once for all tests here: the first finds them new, and the last ends them.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from bot.errors import ModelUnavailable, WorkerDied, WorkerHung
from bot.events import Ended
from bot.inference.executor import Executor, LocalExecutor
from bot.inference.protocol import WorkerOptions
from bot.inference.types import Progress, Result
from bot.jobs import Jobs
from bot.records import Job
from bot.storage import Storage
from tests.conftest import picture
from tests.doubles import Mailbox
from tests.records import ORIGIN

from .conftest import ask

OPTIONS = WorkerOptions(family="tiny", device="cpu", log_level="ERROR")
PATIENCE = 5.0
NEWS = 1.0
"""Seconds within which a cluster has heard which worker holds which model, and which is free."""
LONG = {"model": "dev", "steps": 50, "count": 4}

others: set[psutil.Process] = set()


def on_this_machine() -> AbstractAsyncContextManager[Executor]:
    return LocalExecutor([OPTIONS, OPTIONS], patience=PATIENCE)


def on_ray() -> AbstractAsyncContextManager[Executor]:
    # imported here: to collect the tests must not take the seconds that Ray takes
    from bot.inference.cluster import Scaling
    from bot.inference.serve import RayExecutor

    return RayExecutor(OPTIONS, scaling=Scaling(least=2, most=2), patience=PATIENCE)


@pytest.fixture(scope="module", params=[on_this_machine, on_ray])
async def executor(request: pytest.FixtureRequest) -> AsyncIterator[Executor]:
    """An executor with two workers, both of which are ready."""
    # those of an executor that other tests share, in the same process as these
    others.clear()
    others.update(workers())
    async with request.param() as executor:
        await executor.ready()
        await both(executor)
        yield executor


async def both(executor: Executor) -> None:
    """Wait until both workers are there."""
    async with asyncio.timeout(60):
        while executor.capacity < 2 or len(workers()) < 2:
            await asyncio.sleep(0.1)
        await executor.memory()  # which those that have just been started answer, too


def workers() -> dict[psutil.Process, float]:
    """Return the processes that make pictures, and how many seconds they have computed."""
    found = {}
    for each in psutil.Process().children(recursive=True):
        try:
            line = " ".join(each.cmdline())
            is_worker = "bot.inference.worker" in line or "ray::ServeReplica" in line
            if is_worker and each not in others:
                found[each] = sum(each.cpu_times()[:2])
        except psutil.Error:
            continue
    return found


def at_work(before: dict[psutil.Process, float]) -> psutil.Process:
    """Return the process that has computed most since then."""
    now = workers()
    return max(now, key=lambda each: now[each] - before.get(each, 0.0))


async def result_of(executor: Executor, **options: object) -> Result:
    *_, last = [event async for event in executor.run(ask(**options))]
    assert isinstance(last, Result)
    return last


async def until_denoising(executor: Executor, then: Callable[[], None]) -> None:
    """Begin a long run, do something in its midst, and go on with it."""
    async for event in executor.run(ask(**LONG)):
        if isinstance(event, Progress) and event.stage == "denoise" and event.step == 3:
            then()
    raise AssertionError("it ran to its end")


async def test_a_run_goes_to_the_worker_that_holds_its_model(executor: Executor) -> None:
    for model in ("schnell", "dev", "schnell", "dev", "dev"):
        await result_of(executor, model=model, steps=1)
        await asyncio.sleep(NEWS)
    held = [
        {each.repo_id for each in memory.holdings if each.part == "transformer"}
        for memory in await executor.memory()
    ]
    assert sorted(map(sorted, held)) == [
        ["black-forest-labs/FLUX.1-dev"],
        ["black-forest-labs/FLUX.1-schnell"],
    ]


async def test_a_run_tells_of_its_progress_and_ends_with_the_picture(executor: Executor) -> None:
    events = [event async for event in executor.run(ask())]
    assert all(isinstance(event, Progress) for event in events[:-1])
    assert [event.step for event in events[:-1] if event.stage == "denoise"] == [0, 1, 2, 3, 4]
    assert isinstance(events[-1], Result)
    red, green, blue = picture(events[-1].images[0]).getpixel((64, 64))
    assert red > 2 * max(green, blue)


async def test_all_executors_paint_the_same(
    executor: Executor, painted: dict[str, tuple[bytes, ...]]
) -> None:
    result = await result_of(executor, model="dev", steps=3, count=2)
    assert painted.setdefault("first", result.images) == result.images


@pytest.fixture(scope="module")
def painted() -> dict[str, tuple[bytes, ...]]:
    """What the first executor has painted."""
    return {}


async def test_two_runs_are_made_at_the_same_time(executor: Executor) -> None:
    denoising = [asyncio.Event(), asyncio.Event()]

    async def paint(number: int) -> None:
        async with aclosing(executor.run(ask(**LONG))) as events:
            async for event in events:
                if isinstance(event, Progress) and event.step:
                    denoising[number].set()
                    await denoising[1 - number].wait()
                    return

    async with asyncio.timeout(60):
        await asyncio.gather(paint(0), paint(1))


async def test_more_runs_than_workers_are_all_made(executor: Executor) -> None:
    results = await asyncio.gather(*(result_of(executor, seed=seed) for seed in range(4)))
    assert [result.seeds for result in results] == [(0,), (1,), (2,), (3,)]


async def test_a_run_that_is_left_ends_at_its_next_step(executor: Executor) -> None:
    for _ in range(2):  # one for each worker
        async with aclosing(executor.run(ask(**LONG))) as events:
            async for event in events:
                if isinstance(event, Progress) and event.stage == "denoise" and event.step == 2:
                    break
    before = workers()
    await asyncio.gather(result_of(executor), result_of(executor))
    # what was left would have been 198 steps, the two runs have eight
    assert sum(workers().values()) - sum(before.values()) < 50 * event.seconds / event.step


async def test_a_task_that_is_cancelled_cancels_its_run(executor: Executor) -> None:
    painting = asyncio.Event()
    task = asyncio.create_task(until_denoising(executor, painting.set))
    await painting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await result_of(executor)


async def test_a_run_that_still_waits_for_a_worker_can_be_left(executor: Executor) -> None:
    async def paint() -> None:
        await until_denoising(executor, lambda: None)

    tasks = [asyncio.create_task(paint()) for _ in range(3)]
    await asyncio.sleep(0.2)
    for task in reversed(tasks):
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    await result_of(executor)


async def test_an_error_arrives_as_itself_with_its_sentence(executor: Executor) -> None:
    with pytest.raises(ModelUnavailable, match=r"FLUX\.1-Krea-dev could not be loaded"):
        async for _ in executor.run(replace(ask(), tool="krea")):
            pass
    await result_of(executor)


async def test_each_device_tells_what_it_holds_also_in_the_midst_of_a_run(
    executor: Executor,
) -> None:
    async with aclosing(executor.run(ask(**LONG))) as events:
        async for event in events:
            if isinstance(event, Progress) and event.stage == "denoise":
                break
        devices = await executor.memory()
    assert [memory.device for memory in devices] == ["CPU", "CPU"]
    assert any(each.part == "transformer" for memory in devices for each in memory.holdings)


async def test_the_death_of_a_worker_is_told_and_another_takes_its_place(
    executor: Executor,
) -> None:
    before = workers()
    with pytest.raises(WorkerDied, match="ended while it worked on this"):
        await until_denoising(executor, lambda: at_work(before).kill())
    await result_of(executor)
    await both(executor)
    assert workers().keys() != before.keys()


async def test_a_worker_that_says_nothing_is_replaced(executor: Executor) -> None:
    before = workers()
    hung = []

    def hang() -> None:
        hung.append(at_work(before))
        os.kill(hung[0].pid, signal.SIGSTOP)

    with pytest.raises(WorkerHung, match="said nothing for 5 s"):
        await until_denoising(executor, hang)
    await result_of(executor)
    async with asyncio.timeout(60):
        while hung[0] in workers():
            await asyncio.sleep(0.1)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """For how many seconds jobs come, and how many lie between two deaths of workers."""

    seconds: float
    between_deaths: float


SHORT_TROUBLE = {
    on_this_machine: Trouble(seconds=18.0, between_deaths=7.0),
    on_ray: Trouble(seconds=120.0, between_deaths=20.0),
}
LONG_TROUBLE = Trouble(seconds=1800.0, between_deaths=120.0)


@pytest.mark.timeout(2400)
async def test_no_job_is_lost_or_made_twice_while_workers_die(
    executor: Executor, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    is_long = request.config.getoption("--long")
    trouble = LONG_TROUBLE if is_long else SHORT_TROUBLE[request.node.callspec.params["executor"]]
    draw, mailbox = random.Random(1), Mailbox()
    async with Storage.open(tmp_path) as storage:
        jobs = Jobs(storage, executor, mailbox.deliver)
        work = asyncio.create_task(jobs.run())
        deaths = asyncio.create_task(kill_now_and_then(trouble, draw))
        submitted = await submit_for(trouble, jobs, draw)
        deaths.cancel()
        async with asyncio.timeout(300):
            await jobs.idle()
        work.cancel()
        await asyncio.wait({work, deaths})
        ended = [await storage.job(job.id) for job in submitted]
    assert [job.error for job in ended if job.state == "failed"] == []
    assert {job.state for job in ended} == {"delivered", "cancelled"}
    for job in ended:
        *before, last = mailbox.of(job)
        assert isinstance(last, Result if job.state == "delivered" else Ended)
        assert not any(isinstance(event, Result | Ended) for event in before)
    assert max(job.attempts for job in ended) > 1


async def submit_for(trouble: Trouble, jobs: Jobs, draw: random.Random) -> list[Job]:
    """Keep a few jobs of many kinds waiting, call some of them off, and return them all."""
    submitted: list[Job] = []
    until = asyncio.get_running_loop().time() + trouble.seconds
    while asyncio.get_running_loop().time() < until:
        if len(jobs.unfinished()) < 6:
            model = draw.choice(["schnell", "dev"])
            options = {"model": model, "steps": draw.randint(2, 8), "seed": len(submitted)}
            origin = replace(ORIGIN, user_id=draw.randint(1, 3))
            submitted.append(await jobs.submit(ask(**options), origin))
        if draw.random() < 0.02 and (job := draw.choice(submitted)) in jobs.unfinished():
            await jobs.cancel(job.id, "Not any more.")
        await asyncio.sleep(0.05)
    return submitted


async def kill_now_and_then(trouble: Trouble, draw: random.Random) -> None:
    while True:
        await asyncio.sleep(trouble.between_deaths)
        draw.choice(sorted(workers(), key=lambda each: each.pid)).kill()


async def test_closing_ends_all_processes(executor: Executor) -> None:
    assert workers()
    await executor.close()
    assert not workers()
