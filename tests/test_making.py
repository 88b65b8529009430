"""How a sweep is made: run after run, and to who looks on one job."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import pytest

from bot.errors import WorkerDied
from bot.inference.residency import model_of
from bot.inference.sweeps import compare, parse, swept, variations
from bot.inference.tools import FAMILIES
from bot.inference.types import Progress, Request, Result
from bot.making import made

from .doubles import HeldExecutor, result_for
from .records import REQUEST

FLUX = FAMILIES["flux"]
STEPS = Progress(stage="denoise", step=1, total=4, seconds=0.5)


def sweep(text: str, request: Request = REQUEST) -> Request:
    return swept(request, parse(text, FLUX, model=request.tool, seed=request.seed))


@dataclass
class Watched:
    """A request that is made meanwhile, and what has come of it so far."""

    executor: HeldExecutor
    request: Request
    resident: Collection[str] = ()
    events: list[Progress | Result] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        async for event in made(self.executor, self.request, self.resident):
            self.events.append(event)

    async def ran(self) -> list[Request]:
        """Let all runs finish, and return what was run."""
        for number in range(self.request.cells):
            await self.executor.let_finish(number)
        await self.task
        return self.executor.started

    def progress(self) -> list[Progress]:
        return [event for event in self.events if isinstance(event, Progress)]

    def result(self) -> Result:
        (result,) = (event for event in self.events if isinstance(event, Result))
        return result


@pytest.fixture
def executor() -> HeldExecutor:
    return HeldExecutor()


async def test_a_request_without_a_sweep_is_run_as_it_is(executor: HeldExecutor) -> None:
    watched = Watched(executor, REQUEST)
    assert await watched.ran() == [REQUEST]
    assert watched.events == [result_for(REQUEST)]


async def test_a_sweep_is_run_one_after_the_other_and_ends_in_one_result(
    executor: HeldExecutor,
) -> None:
    request = sweep("seed 5 3 9")
    watched = Watched(executor, request)
    assert await watched.ran() == list(variations(request))
    assert watched.result().seeds == (5, 3, 9)
    assert isinstance(watched.events[-1], Result)


async def test_no_run_knows_of_a_sweep(executor: HeldExecutor) -> None:
    watched = Watched(executor, sweep("steps 1 2"))
    assert [each.sweep for each in await watched.ran()] == [None, None]


async def test_progress_counts_the_steps_of_all_pictures(executor: HeldExecutor) -> None:
    watched = Watched(executor, sweep("steps 4 2 6"))
    load = Progress(stage="load")
    decode = Progress(stage="decode")
    for number in range(3):
        for event in (load, STEPS, decode):
            executor.events.put_nowait(event)
        await executor.let_finish(number)
    await watched.task
    shown = [(each.stage, each.step, each.total, each.seconds) for each in watched.progress()]
    assert shown == [
        ("load", 0, 0, 0.0),
        ("denoise", 1, 12, 0.5),
        ("decode", 0, 0, 0.0),
        ("load", 0, 0, 0.0),
        ("denoise", 5, 12, 1.5),
        ("load", 0, 0, 0.0),
        ("denoise", 7, 12, 2.5),
    ]


async def test_a_preview_is_passed_on(executor: HeldExecutor) -> None:
    watched = Watched(executor, sweep("steps 1 2"))
    executor.events.put_nowait(replace(STEPS, preview=b"small"))
    await watched.ran()
    assert [event.preview for event in watched.progress()] == [b"small"]


async def test_what_is_on_the_device_is_made_first_and_shown_in_its_place(
    executor: HeldExecutor,
) -> None:
    request = sweep("model schnell krea dev")
    schnell, krea, dev = variations(request)
    watched = Watched(executor, request, resident={model_of(dev)})
    assert await watched.ran() == [dev, schnell, krea]
    assert [cell.label for cell in watched.result().cells] == ["schnell", "krea", "dev"]


async def test_full_precision_comes_first_where_it_is_loaded(executor: HeldExecutor) -> None:
    request = compare(REQUEST, 1)
    eight_bit, full = variations(request)
    watched = Watched(executor, request, resident={model_of(full)})
    assert await watched.ran() == [full, eight_bit]
    assert [cell.quantization for cell in watched.result().cells] == ["8-bit", "None"]


async def test_a_cancel_ends_the_run_that_is_on_and_begins_no_other(
    executor: HeldExecutor,
) -> None:
    request = sweep("steps 1 2 4")
    watched = Watched(executor, request)
    await executor.let_finish(0)
    await executor.has_started(variations(request)[1])
    watched.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watched.task
    assert executor.cancelled == [variations(request)[1]]
    assert len(executor.started) == 2
    assert watched.events == []


async def test_a_failure_of_one_picture_is_that_of_all(executor: HeldExecutor) -> None:
    watched = Watched(executor, sweep("steps 1 2 4"))
    await executor.let_finish(0)
    executor.events.put_nowait(WorkerDied(-9))
    with pytest.raises(WorkerDied):
        await watched.task
    assert len(executor.started) == 2
