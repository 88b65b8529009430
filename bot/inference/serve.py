"""The executor on a Ray cluster: replicas with a GPU each, as one deployment of Ray Serve."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from bot.errors import BotError, WorkerDied, WorkerHung
from bot.inference.cluster import Cluster, Scaling
from bot.inference.executor import events
from bot.inference.protocol import Run, Unable, WorkerOptions
from bot.inference.replica import Build, Replica, Taken, memory_in
from bot.inference.residency import model_of
from bot.inference.types import DeviceMemory, Progress, Request, Result
from bot.inference.worker import build_engine
from bot.logs import about_job, current_job

T = TypeVar("T")

_log = logging.getLogger(__name__)

_TROUBLE = (RayError, RayServeException)
"""What Ray raises when a process of it has died or cannot be reached."""
_LOOK = 1.0
"""Seconds between two looks at how many replicas there are."""
_ANSWER = 0.5
"""Seconds that a replica has to say what its device holds."""


class RayExecutor:
    """Replicas on the Ray cluster at `address`, or on one of its own, each with one run at a time.

    With `patience` a replica is replaced when it says nothing of a run for so many seconds, but
    while it loads. `build` gives each its engine.
    """

    ahead = 1

    def __init__(
        self,
        options: WorkerOptions,
        *,
        address: str | None = None,
        scaling: Scaling | None = None,
        patience: float | None = None,
        build: Build = build_engine,
    ) -> None:
        self.capacity = 0
        self.on_change: Callable[[], None] = lambda: None
        self._cluster = Cluster(address)
        self._deploy = partial(self._cluster.deploy, options, scaling or Scaling(), patience, build)
        self._patience = patience
        self._handle: DeploymentHandle[Replica] | None = None
        self._ready = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self._failure: BotError | None = None
        # one thread for all that blocks, and it lives as long as this does: the kernel ends the
        # processes of a local Ray with the thread that has started them
        self._thread = ThreadPoolExecutor(1, "ray")

    async def __aenter__(self) -> Self:
        with about_job(None):
            self._life = asyncio.create_task(self._live(), name="ray")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def ready_workers(self) -> int:
        """How many replicas have their device."""
        return self.capacity if self._ready.is_set() else 0

    @property
    def restarts(self) -> None:
        """Unknown: it is Serve that puts replicas in the place of others."""
        return

    async def ready(self) -> None:
        """Wait until a replica has its device; raise BotError if none ever will."""
        assert self._life is not None
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({ready, self._life}, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise self._failure or WorkerDied(None, starting=True)
        finally:
            ready.cancel()

    async def run(self, request: Request) -> AsyncGenerator[Progress | Result, None]:
        """Run a request on a replica that is free, best on one that holds its model."""
        await self.ready()
        assert self._handle is not None
        handle = self._handle.options(stream=True, multiplexed_model_id=model_of(request))
        stream = handle.run.remote(Run(0, request, current_job()))
        is_over = False
        try:
            # there is no saying how long the runs before it will take
            taken = _taken(await _receive(stream))
            try:
                async for event in events(partial(_receive, stream), self._patience):
                    is_over = isinstance(event, Result)
                    yield event
            except WorkerHung:
                await self._in_thread(ray.kill, taken.actor)
                raise
        finally:
            if not is_over:
                with contextlib.suppress(*_TROUBLE):  # there may be nobody to tell any more
                    stream.cancel()

    async def memory(self) -> list[DeviceMemory]:
        """Return what the device of each replica holds now, of those that answer in time."""
        await self.ready()
        try:
            actors = await self._in_thread(self._cluster.replicas)
        except _TROUBLE as error:
            raise WorkerDied(None) from error
        asked = [asyncio.ensure_future(actor.record_routing_stats.remote()) for actor in actors]
        if not asked:
            raise WorkerDied(None)
        answered, late = await asyncio.wait(asked, timeout=_ANSWER)
        for each in late:
            each.cancel()
        told = [memory_in(each.result()) for each in asked if _is_fine(each, answered)]
        return [memory for memory in told if memory is not None]

    async def close(self) -> None:
        """End all replicas, and a Ray of its own with them."""
        if self._life is None:
            return
        self._life.cancel()
        await asyncio.wait({self._life})
        self._life = None
        await self._in_thread(self._cluster.leave)
        self._thread.shutdown()

    async def _live(self) -> None:
        """Ask for the replicas, and go on to count them."""
        try:
            await self._in_thread(self._cluster.join)
            _take_sigterm_back()
            handle = self._handle = await self._in_thread(self._deploy)
            while True:
                with _trouble_logged():
                    self._note(await self._in_thread(self._cluster.running))
                    if self.capacity and not self._ready.is_set() and await _is_able(handle):
                        self._ready.set()
                await asyncio.sleep(_LOOK)
        except BotError as error:
            self._failure = error
        finally:
            self._ready.clear()

    def _note(self, running: int) -> None:
        """Learn how many replicas there are now."""
        if running == self.capacity:
            return
        _log.info("replicas that are ready: %d", running)
        if running == 0:
            self._ready.clear()
        self.capacity = running
        self.on_change()

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


def _take_sigterm_back() -> None:
    """Let SIGTERM be the bot's again: Ray's own handler, in C++, ends the process at once."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        signal.siginterrupt(signal.SIGTERM, False)


async def _is_able(handle: DeploymentHandle[Replica]) -> bool:
    """Ask a replica whether it can make runs; raise BotError if none of them can."""
    inability = await handle.inability.remote()
    if inability is not None:
        raise inability
    return True


async def _receive(stream: DeploymentResponseGenerator[object]) -> object:
    """Return the next message of a replica, of which its death is one."""
    try:
        return await anext(stream)
    except RayTaskError:
        raise  # a defect there
    except _TROUBLE:
        return WorkerDied(None)


@contextmanager
def _trouble_logged() -> Iterator[None]:
    """Go on after what may pass, as when Serve's controller is being started again."""
    try:
        yield
    except _TROUBLE as error:
        _log.warning("Ray does not answer: %s", error)


def _taken(message: object) -> Taken:
    """Return who makes a run; raise what came instead."""
    if isinstance(message, WorkerDied):
        raise message
    if isinstance(message, Unable):
        raise message.error
    assert isinstance(message, Taken)
    return message


def _is_fine(asked: asyncio.Future[object], answered: set[asyncio.Future[object]]) -> bool:
    return asked in answered and asked.exception() is None
