"""What becomes of jobs, counted once each, and what they took."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bot.errors import OutOfMemory
from bot.events import Deliver, Ended
from bot.inference.sweeps import variations
from bot.inference.types import Cell, Progress, Queued, Request, Result, Sweep
from bot.jobs import Jobs
from bot.metrics.work import WorkMetrics
from bot.records import Job
from bot.storage import Storage
from tests.doubles import HeldExecutor, Mailbox, result_for
from tests.test_storage import ORIGIN, REQUEST

TOOL = REQUEST.tool


@dataclass
class Measured:
    """A queue whose executor and mailbox are the test's, and what is measured of it."""

    metrics: WorkMetrics
    registry: CollectorRegistry
    jobs: Jobs
    executor: HeldExecutor
    mailbox: Mailbox
    deliver: Deliver

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"fluxbot_{name}", labels)

    def states(self) -> dict[str, float]:
        """Return the states that jobs came to, and how many did."""
        (family,) = [each for each in self.registry.collect() if each.name == "fluxbot_jobs"]
        return {each.labels["state"]: each.value for each in family.samples if each.value}

    async def running(self, *events: Progress | Result | Exception) -> Job:
        """Submit a job, let it come to some events, and return it when the queue is at rest."""
        job = await self.jobs.submit(REQUEST, ORIGIN)
        for event in events:
            self.executor.events.put_nowait(event)
        await self.jobs.idle()
        return job


@pytest.fixture
async def measured(tmp_path: Path) -> AsyncIterator[Measured]:
    async with Storage.open(tmp_path) as storage:
        executor, mailbox, registry = HeldExecutor(), Mailbox(), CollectorRegistry()
        metrics = WorkMetrics(registry)
        deliver = metrics.telling(mailbox.deliver)
        jobs = Jobs(storage, executor, deliver)
        work = asyncio.create_task(jobs.run())
        yield Measured(metrics, registry, jobs, executor, mailbox, deliver)
        await jobs.stop(grace=0)
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


def a_job(request: Request = REQUEST, state: str = "running") -> Job:
    return Job(
        id=1,
        state=state,  # type: ignore[arg-type]
        origin=ORIGIN,
        request=request,
        outcome=None,
        error=None,
        created_at=0.0,
        started_at=4.0,
        finished_at=None,
    )


async def test_each_job_counts_once_by_its_end(measured: Measured) -> None:
    await measured.running(Progress(stage="denoise", step=1, total=2), result_for(REQUEST))
    await measured.running(OutOfMemory("No room.", "Try less."))
    job = await measured.jobs.submit(REQUEST, ORIGIN)
    await measured.jobs.cancel(job.id, "Cancelled.")
    await measured.jobs.idle()
    assert measured.states() == {"queued": 3, "delivered": 1, "failed": 1, "cancelled": 1}


async def test_moving_up_in_the_queue_is_no_new_job(measured: Measured) -> None:
    await measured.deliver(a_job(), Queued(position=1))
    await measured.deliver(a_job(), Queued(position=1, moved=True, restarting=True))
    assert measured.states() == {"queued": 1}


async def test_a_picture_counts_as_delivered_when_discord_takes_it_at_last(
    measured: Measured,
) -> None:
    measured.mailbox.takes = None
    assert not await measured.deliver(a_job(), result_for(REQUEST))
    assert not await measured.deliver(a_job(), Ended(state="failed", text="Not taken."))
    assert measured.states() == {}
    measured.mailbox.takes = object
    assert await measured.deliver(a_job(state="made"), result_for(REQUEST))
    assert measured.states() == {"delivered": 1}


async def test_an_end_without_pictures_counts_though_nobody_could_be_told(
    measured: Measured,
) -> None:
    measured.mailbox.takes = None
    await measured.deliver(a_job(), Ended(state="failed", text="No room."))
    assert measured.states() == {"failed": 1}


async def test_stages_and_wait_are_timed_once_though_the_picture_is_brought_twice(
    measured: Measured,
) -> None:
    seconds = {"wait": 20.0, "load": 3.0, "encode": 0.2, "denoise": 8.0, "decode": 0.4}
    result = replace(result_for(REQUEST), seconds=seconds)
    await measured.deliver(a_job(), result)
    await measured.deliver(a_job(state="made"), result)
    assert measured.value("wait_seconds_sum", tool=TOOL) == 20
    assert measured.value("wait_seconds_count", tool=TOOL) == 1
    for stage in ("load", "encode", "denoise", "decode"):
        labels = {"stage": stage, "tool": TOOL}
        assert measured.value("stage_seconds_sum", **labels) == seconds[stage]
        assert measured.value("stage_seconds_count", **labels) == 1
    assert measured.value("stage_seconds_count", stage="wait", tool=TOOL) is None
    assert measured.value("device_memory_peak_bytes", device="CPU") == result.memory.peak


async def test_a_load_is_a_switch_and_a_kept_stage_is_a_hit(measured: Measured) -> None:
    loaded = replace(result_for(REQUEST), seconds={"load": 3.0, "encode": 0.1, "denoise": 1.0})
    kept = replace(result_for(REQUEST), seconds={"load": 0.01, "denoise": 1.0}, reused=("encode",))
    assert measured.value("model_switches_total", tool=TOOL) == 0
    assert measured.value("cache_hits_total", stage="encode") == 0
    for result in (loaded, kept, kept):
        await measured.deliver(a_job(), result)
    assert measured.value("model_switches_total", tool=TOOL) == 1
    assert measured.value("cache_hits_total", stage="encode") == 2


async def test_a_sweep_is_measured_picture_by_picture(measured: Measured) -> None:
    sweep = Sweep(option="model", values=("schnell", "dev"), steps=(4, 28), guidance=(None, 3.5))
    request = replace(REQUEST, sweep=sweep)
    cells = tuple(
        Cell(label=each.tool, seed=1, seconds=seconds, peak=3, weights=2, quantization="8-bit")
        for each, seconds in zip(
            variations(request),
            ({"load": 2.0, "encode": 0.5, "denoise": 1.0}, {"load": 2.0, "denoise": 7.0}),
            strict=True,
        )
    )
    merged = {"load": 4.0, "encode": 0.5, "denoise": 8.0}
    await measured.deliver(
        a_job(request), replace(result_for(request), seconds=merged, cells=cells)
    )
    for tool, seconds in (("schnell", 1.0), ("dev", 7.0)):
        assert measured.value("stage_seconds_sum", stage="denoise", tool=tool) == seconds
        assert measured.value("model_switches_total", tool=tool) == 1
    assert measured.value("cache_hits_total", stage="encode") == 1


async def test_the_error_of_a_forecast_is_a_share_of_it(measured: Measured) -> None:
    measured.metrics.forecast = lambda request: 4.0
    progress = Progress(stage="encode")
    result = replace(result_for(REQUEST), seconds={"load": 9.0, "encode": 1.0, "denoise": 4.0})
    await measured.running(progress, result)
    assert measured.value("forecast_error_ratio_sum", tool=TOOL) == pytest.approx(0.25)
    measured.metrics.forecast = lambda request: None
    await measured.running(progress, result)
    assert measured.value("forecast_error_ratio_count", tool=TOOL) == 1
