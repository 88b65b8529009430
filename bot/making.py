"""How the pictures of a job are made: in one run, or in one after the other for a sweep."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import replace

from bot.inference.executor import Executor
from bot.inference.residency import model_of
from bot.inference.sweep_results import merged
from bot.inference.sweeps import variations
from bot.inference.types import Progress, Request, Result

Events = AsyncGenerator[Progress | Result, None]


def made(executor: Executor, request: Request, resident: Collection[str]) -> Events:
    """Yield the progress of a request, then its result; raise BotError when none comes.

    What runs on a `resident` model, as `model_of` names them, is made first. To close the iterator
    cancels what runs.
    """
    return executor.run(request) if request.sweep is None else _swept(executor, request, resident)


async def _swept(executor: Executor, request: Request, resident: Collection[str]) -> Events:
    """Run the variations of a request: to who looks on they are one job, with all their steps."""
    cells = variations(request)
    total = sum(cell.num_inference_steps for cell in cells)
    step, seconds = 0, 0.0
    results: dict[int, Result] = {}
    for number in _order(cells, resident):
        async with contextlib.aclosing(executor.run(cells[number])) as events:
            async for event in events:
                if isinstance(event, Result):
                    results[number] = event
                elif event.stage == "denoise":
                    yield replace(
                        event, step=step + event.step, total=total, seconds=seconds + event.seconds
                    )
                elif event.stage == "load" or not results:
                    # what is short goes on unseen, once there are steps to be seen
                    yield event
        step += cells[number].num_inference_steps
        seconds += results[number].seconds.get("denoise", 0.0)
    # in a thread: how alike large pictures are takes a second
    yield await asyncio.to_thread(merged, request, [results[each] for each in range(len(cells))])


def _order(cells: Sequence[Request], resident: Collection[str]) -> list[int]:
    """Return in which order the cells need the fewest switches of models."""
    models = [model_of(cell) for cell in cells]
    return sorted(
        range(len(cells)),
        key=lambda each: (models[each] not in resident, models.index(models[each])),
    )
