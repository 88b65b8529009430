"""The worker process: starting, ending, and what is told of that.

What it shares with replicas on Ray is in test_contract.py.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys

import psutil
import pytest

from bot.errors import ConfigurationError, WorkerDied
from bot.inference.executor import LocalExecutor
from bot.inference.protocol import WorkerOptions
from bot.inference.types import Progress, Result

from .conftest import ask

LONG = {"model": "dev", "steps": 50, "count": 4}


async def result_of(executor: LocalExecutor, **options: object) -> Result:
    *_, last = [event async for event in executor.run(ask(**options))]
    assert isinstance(last, Result)
    return last


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
    await executor.ready()
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
