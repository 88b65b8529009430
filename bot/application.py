"""The composition root: creates what lives as long as the process, and closes it in reverse."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from bot.client import FluxBot
from bot.cogs._buttons import BUTTONS, answer_unknown, controls
from bot.cogs._mask_preview import end_expired_previews
from bot.config import Settings
from bot.delivery import Delivery
from bot.errors import ConfigurationError
from bot.inference.executor import Executor, LocalExecutor
from bot.inference.finder import MaskFinder
from bot.inference.previews import MaskPreviews
from bot.inference.protocol import WorkerOptions
from bot.jobs import Jobs
from bot.leavers import Leavers
from bot.membership import has_left
from bot.metrics.registry import Metrics
from bot.policy import Policy
from bot.removals import Removals
from bot.retention import Retention
from bot.storage import Storage

_log = logging.getLogger(__name__)

AFTER_A_DEFECT = 60.0
"""Seconds until a sweep that has failed begins again."""
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
    delivery: Delivery
    retention: Retention
    metrics: Metrics

    async def work(self) -> None:
        """Work off the queue, and end and delete what is old, until cancelled.

        The client is logged in.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self.jobs.run())
            previews = partial(end_expired_previews, self.client)
            for sweep in (previews, self.client.removals.run, self.retention.run):
                group.create_task(for_ever(sweep))


async def for_ever(sweep: Callable[[], Awaitable[None]]) -> None:
    """Begin a sweep again when it has failed: a defect in it does not end the bot."""
    while True:
        try:
            await sweep()
        except Exception:
            _log.exception("a sweep failed, and begins again in %.0f s", AFTER_A_DEFECT)
        await asyncio.sleep(AFTER_A_DEFECT)


@asynccontextmanager
async def application(
    settings: Settings,
    executor: Executor | None = None,
    finder: MaskFinder | None = None,
    previews: MaskPreviews | None = None,
) -> AsyncIterator[Application]:
    """Open the storage, start the worker and build the client, which is not connected yet.

    An `executor`, a `finder` or `previews` that are given are used instead of its own, and left
    open.
    """
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(Storage.open(settings.data_dir))
        if executor is None:
            executor = await stack.enter_async_context(own_executor(settings))
        client = FluxBot(settings, storage)
        client.executor = executor
        # at once: a message of an earlier process may be clicked before this one sends any
        client.add_dynamic_items(*BUTTONS)
        client.add_listener(answer_unknown, "on_interaction")
        if previews is None:
            previews = await stack.enter_async_context(MaskPreviews())
        client.previews = previews
        if finder is None:
            finder = await stack.enter_async_context(MaskFinder(worker_options(settings)))
        client.finder = finder
        delivery = Delivery(client, controls, storage)
        stack.push_async_callback(delivery.close)
        metrics = Metrics(settings.flux_models)
        deliver = metrics.work.telling(delivery.deliver)
        jobs = Jobs(storage, executor, deliver, has_left=partial(has_left, client))
        client.jobs = jobs
        metrics.watch(client, jobs, delivery)
        stack.push_async_callback(jobs.stop, grace=0)
        client.policy = Policy(
            storage,
            client.family,
            servers=settings.allowed_servers,
            direct_messages=settings.direct_messages == "on",
            quantization=settings.quantization,
            pending=jobs.pending,
        )
        client.removals = Removals(client, storage)
        client.leavers = Leavers(client, storage, settings.leavers)
        yield Application(
            client=client,
            jobs=jobs,
            storage=storage,
            executor=executor,
            delivery=delivery,
            retention=Retention(storage, client.leavers, _data_limit(settings)),
            metrics=metrics,
        )


def _data_limit(settings: Settings) -> int | None:
    return None if settings.data_limit_gb is None else int(settings.data_limit_gb * 10**9)


def own_executor(settings: Settings) -> AbstractAsyncContextManager[Executor]:
    """Return what makes the pictures, not started yet."""
    if settings.executor == "local":
        return LocalExecutor(each_worker(settings), patience=settings.step_timeout_s)
    # imported here: Ray takes seconds, and who has no use for it need not install it
    try:
        from bot.inference.cluster import Scaling
        from bot.inference.serve import RayExecutor
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "EXECUTOR", f"is ray, but {error.name} is not installed", "local, or install `.[ray]`"
        ) from error
    return RayExecutor(
        worker_options(settings),
        address=settings.ray_address,
        scaling=Scaling(least=settings.ray_min_replicas, most=settings.ray_max_replicas),
        patience=settings.step_timeout_s,
    )


def worker_options(settings: Settings) -> WorkerOptions:
    """Return the part of the settings that a worker needs, on the first device."""
    folder = settings.data_dir.absolute()  # a replica has another working directory
    return WorkerOptions(
        family=settings.flux_models,
        device=settings.device[0],
        gpu_memory_gb=settings.gpu_memory_gb,
        host_memory_gb=settings.host_memory_gb,
        host_share=len(settings.device),
        depth_model=settings.depth_model,
        segmenter=settings.segmenter,
        store_folder=folder / WEIGHTS,
        kernel_folder=folder / KERNELS,
        int8_kernel=settings.int8_kernel,
        previews=settings.preview == "on",
        classifier=settings.classifier,
        classifier_labels=settings.classifier_labels,
        hf_token=settings.hf_token,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )


def each_worker(settings: Settings) -> list[WorkerOptions]:
    """Return what the worker of each device needs."""
    first = worker_options(settings)
    return [replace(first, device=device) for device in settings.device]
