"""One replica on a Ray cluster: an engine with a device of its own, which makes one run at a time.

Its messages are those of a worker process, and leave as a stream instead of through a pipe.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import ray
from ray import serve
from ray.serve._private import replica as serve_replica

from bot.errors import BotError
from bot.inference.protocol import Failed, Happened, Run, Unable, WorkerOptions
from bot.inference.types import DeviceMemory, Progress
from bot.inference.worker import build_engine, outcome
from bot.logs import about_job, configure_logging

if TYPE_CHECKING:
    from bot.inference.engine import Engine
    from bot.inference.pipelines import Pipelines

_log = logging.getLogger(__name__)

Build = Callable[[WorkerOptions], "tuple[Engine, Pipelines]"]

LOOPBACK = "127.0.0.1"

_MEMORY = "memory"
"""Under which name a replica tells what its device holds."""
_LAST_WORD = 1.0
"""Seconds that a replica leaves its last message on its way, before it ends itself."""
_SHARED_BYTES, _MODEL_BYTES = 5 * 10**9, 12 * 10**9
"""What text encoders and autoencoder take on a device, and what each transformer does at 8 bits."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Replica to bot: a run begins; `actor` is the Ray actor that makes it."""

    actor: Any


class Pulse:
    """Whether a run still says something; `patience` are the seconds that it may be silent."""

    def __init__(self, patience: float | None) -> None:
        self._patience = patience
        self._beat: float | None = None

    def begin(self, now: float) -> None:
        """Note that a run begins."""
        self._beat = now

    def note(self, message: Happened, now: float) -> None:
        """Note what a run says: before it loads, which may be a download, it may be silent."""
        loads = isinstance(message.event, Progress) and message.event.stage == "load"
        self._beat = None if loads else now

    def end(self) -> None:
        """Note that nothing runs."""
        self._beat = None

    def has_stopped(self, now: float) -> bool:
        """Tell whether a run has said nothing for too long."""
        if self._patience is None or self._beat is None:
            return False
        return now - self._beat > self._patience


class Replica:
    """The deployment of Ray Serve: `run` streams what comes of a request.

    With `patience` the process ends itself when it says nothing of a run for so many seconds, but
    while it loads. `build` gives the engine.
    """

    def __init__(
        self, options: WorkerOptions, patience: float | None, build: Build = build_engine
    ) -> None:
        # Ray gives OpenMP as many threads as a replica reserves processors, which is one
        os.environ.pop("OMP_NUM_THREADS", None)
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        _keep_to_this_machine()
        configure_logging(options.log_level, options.log_format, [options.hf_token])
        self._pulse = Pulse(patience)
        self._inability: BotError | None = None
        self._is_lost = False
        self._has_begun = False
        # a single thread: the next run begins where the last step of one called off ends
        self._thread = ThreadPoolExecutor(1, "inference")
        try:
            self._engine, pipelines = build(options)
        except BotError as error:
            self._inability = error
            return
        room = (self._engine.memory().budget - _SHARED_BYTES) // _MODEL_BYTES
        self._hold = serve.multiplexed(_named, max_num_models_per_replica=max(1, room))
        if pipelines.device.type == "cuda":
            from bot.inference.warm_up import warm_up

            self._thread.submit(warm_up, self._engine, pipelines, lambda: not self._has_begun)

    async def inability(self) -> BotError | None:
        """Return why there will be no run, as with a device that is not there."""
        return self._inability

    async def run(self, run: Run) -> AsyncGenerator[object, None]:
        """Yield Taken, the progress of a run and what ends it; closing the stream cancels it."""
        if self._inability is not None:
            yield Unable(self._inability)
            return
        self._has_begun = True
        yield Taken(ray.get_runtime_context().current_actor)
        await self._hold(serve.get_multiplexed_model_id())
        loop = asyncio.get_running_loop()
        messages: asyncio.Queue[object] = asyncio.Queue()
        cancelled = threading.Event()

        def send(message: object) -> None:
            loop.call_soon_threadsafe(messages.put_nowait, message)

        self._thread.submit(self._make, run, cancelled, send)
        try:
            while True:
                message = await messages.get()
                yield message
                if not (isinstance(message, Happened) and isinstance(message.event, Progress)):
                    break
            if self._is_lost:
                await asyncio.sleep(_LAST_WORD)
        finally:
            cancelled.set()
            if self._is_lost:
                _end("it has lost its device")

    def _make(self, run: Run, cancelled: threading.Event, send: Callable[[object], None]) -> None:
        """Make a run, in the thread for that."""

        def tell(message: Happened) -> None:
            self._pulse.note(message, time.monotonic())
            send(message)

        self._pulse.begin(time.monotonic())
        with about_job(run.job):
            message = outcome(self._engine, run, cancelled.is_set, tell)
        self._pulse.end()
        self._is_lost = isinstance(message, Failed) and message.fatal
        send(message)

    async def check_health(self) -> None:
        """End the process, for Serve to put another in its place, if its run hangs."""
        if self._pulse.has_stopped(time.monotonic()):
            _end("its run hangs")

    async def record_routing_stats(self) -> dict[str, bytes]:
        """Tell what the device holds, at any time: Serve asks this beside the runs."""
        # packed, for Serve hands it on to processes that need not know what it is
        return {} if self._inability else {_MEMORY: pickle.dumps(self._engine.memory())}


def memory_in(stats: dict[str, bytes]) -> DeviceMemory | None:
    """Return what a replica has told of its device, None where it has none."""
    packed = stats.get(_MEMORY)
    return None if packed is None else pickle.loads(packed)


async def _named(model: str) -> str:
    """Stand for a model in the books of Serve: the engine loads it, and lets it go."""
    return model


def _end(reason: str) -> NoReturn:
    _log.error("this replica ends, for another to take its place: %s", reason)
    os._exit(1)


def _keep_to_this_machine() -> None:
    """Let what Serve opens for each replica, on all addresses, be where the rest of Ray is.

    It runs whatever it is sent. In a Ray that is for this machine alone, so has that to be.
    """
    if ray.util.get_node_ip_address() != LOOPBACK:
        return
    add_port = serve_replica.add_port_to_grpc_server
    serve_replica.add_port_to_grpc_server = lambda server, _: add_port(server, f"{LOOPBACK}:0")
