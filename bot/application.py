"""The composition root: creates what lives as long as the process, and closes it in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bot.client import FluxBot
from bot.cogs._buttons import BUTTONS, controls
from bot.cogs._mask_preview import end_expired_previews
from bot.config import Settings
from bot.delivery import Delivery
from bot.inference.executor import Executor, LocalExecutor
from bot.inference.previews import MaskPreviews
from bot.inference.protocol import WorkerOptions
from bot.jobs import Jobs
from bot.storage import Storage

WEIGHTS = "weights"
"""The folder in DATA_DIR for weights at 8 bits."""
KERNELS = "kernels"
"""The folder in DATA_DIR for what is compiled for the GPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Application:
    """The parts of a running bot."""

    client: FluxBot
    jobs: Jobs
    storage: Storage
    executor: Executor

    async def work(self) -> None:
        """Work off the queue, and end old previews, until cancelled; the client is logged in."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.jobs.run())
            group.create_task(end_expired_previews(self.client))


@asynccontextmanager
async def application(
    settings: Settings, executor: Executor | None = None
) -> AsyncIterator[Application]:
    """Open the storage, start the worker and build the client, which is not connected yet.

    An `executor` that is given is used instead of one of its own, and left open.
    """
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(Storage.open(settings.data_dir))
        if executor is None:
            workers = LocalExecutor([worker_options(settings)], patience=settings.step_timeout_s)
            executor = await stack.enter_async_context(workers)
        client = FluxBot(settings, storage)
        client.executor = executor
        # at once: a message of an earlier process may be clicked before this one sends any
        client.add_dynamic_items(*BUTTONS)
        client.previews = await stack.enter_async_context(MaskPreviews())
        jobs = client.jobs = Jobs(storage, executor, Delivery(client, controls, storage).deliver)
        stack.push_async_callback(jobs.stop, grace=0)
        yield Application(client=client, jobs=jobs, storage=storage, executor=executor)


def worker_options(settings: Settings) -> WorkerOptions:
    """Return the part of the settings that a worker needs."""
    return WorkerOptions(
        family=settings.flux_models,
        device=settings.device,
        gpu_memory_gb=settings.gpu_memory_gb,
        host_memory_gb=settings.host_memory_gb,
        depth_model=settings.depth_model,
        store_folder=settings.data_dir / WEIGHTS,
        kernel_folder=settings.data_dir / KERNELS,
        int8_kernel=settings.int8_kernel,
        previews=settings.preview == "on",
        hf_token=settings.hf_token,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )
