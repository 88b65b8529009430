"""The worker process: events, cancelling, dying, ending."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from contextlib import aclosing

import psutil
import pytest

from bot.errors import ConfigurationError, ModelUnavailable, WorkerDied, WorkerHung
from bot.inference.executor import LocalExecutor
from bot.inference.protocol import WorkerOptions
from bot.inference.types import Progress, Result

from .conftest import ask

LONG = {"model": "dev", "steps": 50, "count": 4}


async def result_of(executor: LocalExecutor, **options: object) -> Result:
    *_, last = [event async for event in executor.run(ask(**options))]
    assert isinstance(last, Result)
    return last


async def test_a_run_gives_progress_and_then_one_result(executor: LocalExecutor) -> None:
    events = [event async for event in executor.run(ask())]
    assert all(isinstance(event, Progress) for event in events[:-1])
    assert isinstance(events[-1], Result)
    assert events[-1].images[0].startswith(b"\x89PNG")


async def test_runs_take_turns(executor: LocalExecutor) -> None:
    results = await asyncio.gather(*(result_of(executor, seed=seed) for seed in range(4)))
    assert [result.seeds for result in results] == [(0,), (1,), (2,), (3,)]


async def test_leaving_a_run_cancels_it_at_its_next_step(executor: LocalExecutor) -> None:
    async with aclosing(executor.run(ask(**LONG))) as events:
        async for event in events:
            if isinstance(event, Progress) and event.stage == "denoise" and event.step == 2:
                seconds_per_step = event.seconds / event.step
                break
    left = time.perf_counter()
    await result_of(executor)
    # the next run did not wait for the 198 steps that were left
    assert time.perf_counter() - left < 100 * seconds_per_step


async def test_a_task_that_is_cancelled_cancels_its_run(executor: LocalExecutor) -> None:
    painting = asyncio.Event()

    async def paint() -> None:
        async for event in executor.run(ask(**LONG)):
            if isinstance(event, Progress) and event.stage == "denoise":
                painting.set()
        raise AssertionError("it ran to its end")

    task = asyncio.create_task(paint())
    await painting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await result_of(executor)


async def test_an_error_of_the_engine_arrives_as_itself(executor: LocalExecutor) -> None:
    request = ask()
    broken = type(request)(**{f: getattr(request, f) for f in request.__slots__} | {"tool": "krea"})
    with pytest.raises(ModelUnavailable):
        async for _ in executor.run(broken):
            pass
    await result_of(executor)


async def test_a_worker_that_is_killed_is_reported_and_started_again(
    executor: LocalExecutor,
) -> None:
    (before,) = executor.process_ids

    async def kill_in_mid_job() -> None:
        async for event in executor.run(ask(**LONG)):
            if isinstance(event, Progress) and event.step == 1:
                os.kill(before, signal.SIGKILL)

    with pytest.raises(WorkerDied, match="exit code -9"):
        await kill_in_mid_job()
    await result_of(executor)
    (after,) = executor.process_ids
    assert after != before


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 10, 100])
async def test_closing_ends_the_process_however_far_its_start_has_come(turns: int) -> None:
    before = {process.pid for process in psutil.Process().children()}
    async with asyncio.timeout(30):
        async with LocalExecutor([WorkerOptions(family="tiny", device="cpu")]):
            for _ in range(turns):
                await asyncio.sleep(0)
    assert {process.pid for process in psutil.Process().children()} <= before


async def test_a_signal_to_the_whole_group_leaves_the_end_to_the_bot(
    executor: LocalExecutor,
) -> None:
    (process_id,) = executor.process_ids
    async for event in executor.run(ask()):
        if isinstance(event, Progress) and event.stage == "encode":
            os.kill(process_id, signal.SIGTERM)
            os.kill(process_id, signal.SIGINT)
    assert isinstance(event, Result)
    assert executor.process_ids == (process_id,)


async def test_a_device_that_is_not_there_is_named_at_the_start_and_to_each_run() -> None:
    sentence = r"DEVICE is cuda:7, but PyTorch finds no such device\. Allowed: auto, cuda"
    async with LocalExecutor([WorkerOptions(family="tiny", device="cuda:7")]) as executor:
        with pytest.raises(ConfigurationError, match=sentence):
            await executor.ready()
        with pytest.raises(ConfigurationError, match=sentence):
            await result_of(executor)


async def test_a_process_that_cannot_start_is_reported_with_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    async with LocalExecutor([WorkerOptions(family="tiny")]) as executor:
        with pytest.raises(WorkerDied, match=r"could not be started \(exit code 1\)"):
            await executor.ready()


async def test_a_worker_without_a_bot_ends_by_itself() -> None:
    async with LocalExecutor([WorkerOptions(family="tiny", device="cpu")]) as executor:
        await result_of(executor)
        (process_id,) = executor.process_ids
        process = executor._workers[0]._process
        assert process is not None
        assert process.stdin is not None
        executor._workers[0]._closing = True
        process.stdin.close()
        await process.wait()
        assert not psutil.pid_exists(process_id)


async def test_a_worker_that_says_nothing_is_ended_and_the_next_run_works() -> None:
    options = WorkerOptions(family="tiny", device="cpu", log_level="ERROR")
    async with LocalExecutor([options], patience=3.0) as executor:
        await result_of(executor)
        (worker,) = executor.process_ids

        async def hang() -> None:
            async for event in executor.run(ask(**LONG)):
                if isinstance(event, Progress) and event.stage == "denoise":
                    os.kill(worker, signal.SIGSTOP)

        with pytest.raises(WorkerHung, match="said nothing for 3 s"):
            await hang()
        await result_of(executor)
        assert executor.process_ids != (worker,)


async def test_a_run_goes_to_the_worker_that_had_its_model_last() -> None:
    options = WorkerOptions(family="tiny", device="cpu", log_level="ERROR")
    async with LocalExecutor([options, options]) as executor:
        for model in ("schnell", "schnell", "dev", "schnell"):
            await result_of(executor, model=model, steps=1)
        holdings = [
            {each.repo_id for each in memory.holdings if each.part == "transformer"}
            for memory in await executor.memory()
        ]
    assert sorted(map(sorted, holdings)) == [
        ["black-forest-labs/FLUX.1-dev"],
        ["black-forest-labs/FLUX.1-schnell"],
    ]
