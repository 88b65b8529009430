"""The seam between the queue and the models: `async for event in executor.run(request)`.

LocalExecutor keeps one worker process a device, so that neither Python's lock, nor an out-of-memory
error, nor a crashed driver can take the gateway connection down with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self

from bot.errors import BotError, WorkerDied, WorkerHung
from bot.inference import protocol
from bot.inference.protocol import (
    Cancel,
    Failed,
    Happened,
    Look,
    Ready,
    Run,
    Seen,
    Stopped,
    Unable,
    WorkerOptions,
)
from bot.inference.residency import model_of
from bot.inference.types import DeviceMemory, Progress, Request, Result
from bot.logs import about_job, current_job

_log = logging.getLogger(__name__)

_STOP_SECONDS = 5.0
"""How long a worker may take to end by itself before it is killed."""


_MOST_STARTS = 3
"""How often in a row a worker is started that dies before it is ready."""

_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""OpenMP's threads wait for each other by spinning, unless told otherwise. With one other program
on two cores that made a tiny picture take 2.6 s instead of 0.24 s."""


class Executor(Protocol):
    """Runs requests; closing the iterator of a run, or cancelling its task, cancels the run.

    `capacity` is how many it runs at a time now, and `on_change` is called when that has changed.
    It wants `ahead` more of them, which wait in front of the workers.
    """

    capacity: int
    ahead: int
    on_change: Callable[[], None]

    @property
    def ready_workers(self) -> int:
        """How many workers have their device; to look starts none."""
        ...

    @property
    def restarts(self) -> int | None:
        """How often a worker was started after another one that had ended, None if unknown."""
        ...

    async def ready(self) -> None:
        """Wait until runs can begin; raise BotError where they never will."""
        ...

    def run(self, request: Request) -> AsyncGenerator[Progress | Result, None]:
        """Yield the progress of a request, then its result; raise BotError when none comes."""
        ...

    async def memory(self) -> list[DeviceMemory]:
        """Return what each device holds now, also while it runs something; raise BotError."""
        ...

    async def close(self) -> None:
        """End all workers."""
        ...


class LocalExecutor:
    """One worker process for each device of this machine, each with one run at a time."""

    ahead = 0

    def __init__(self, workers: list[WorkerOptions], *, patience: float | None = None) -> None:
        self.capacity = len(workers)
        self.on_change: Callable[[], None] = lambda: None
        self._workers = [Worker(options, patience) for options in workers]
        self._free = list(self._workers)
        self._freed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        for worker in self._workers:
            worker.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def process_ids(self) -> tuple[int, ...]:
        """The ids of the worker processes that run now."""
        return tuple(pid for worker in self._workers if (pid := worker.process_id) is not None)

    @property
    def ready_workers(self) -> int:
        """How many workers have their device."""
        return sum(worker.is_ready for worker in self._workers)

    @property
    def restarts(self) -> int:
        """How often a worker process was started after another one that had ended."""
        return sum(max(0, worker.starts - 1) for worker in self._workers)

    async def ready(self) -> None:
        """Wait until every worker has its device."""
        await asyncio.gather(*(worker.ready() for worker in self._workers))

    async def run(self, request: Request) -> AsyncGenerator[Progress | Result, None]:
        """Run a request on a worker that is free, best on the one that had its model last."""
        model = model_of(request)
        async with self._freed:
            await self._freed.wait_for(lambda: bool(self._free))
            worker = next((each for each in self._free if each.model == model), self._free[0])
            self._free.remove(worker)
        worker.model = model
        try:
            async with contextlib.aclosing(worker.run(request)) as events:
                async for event in events:
                    yield event
        finally:
            self._free.append(worker)
            await asyncio.shield(self._notify())

    async def _notify(self) -> None:
        async with self._freed:
            self._freed.notify()

    async def memory(self) -> list[DeviceMemory]:
        """Return what each device holds now."""
        return await asyncio.gather(*(worker.memory() for worker in self._workers))

    async def close(self) -> None:
        """End all workers, by force where they do not end by themselves."""
        await asyncio.gather(*(worker.close() for worker in self._workers))


class Worker:
    """One worker process: started ahead of need, started again when it dies.

    With `patience` it is killed when it says nothing of a run for so many seconds, but while it
    loads, which may be a download. `model` is the one that it was asked for last, and `starts` are
    those of the process.
    """

    def __init__(self, options: WorkerOptions, patience: float | None = None) -> None:
        self.model: str | None = None
        self.starts = 0
        self._options = options
        self._patience = patience
        self._numbers = itertools.count(1)
        self._life: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._idle = asyncio.Event()
        self._inboxes: dict[int, asyncio.Queue[object]] = {}
        self._closing = False
        self._start_failure: BotError | None = None

    @property
    def process_id(self) -> int | None:
        """The id of the process, None while there is none."""
        return self._process.pid if self._process else None

    @property
    def is_ready(self) -> bool:
        """Whether the process has its device."""
        return self._ready.is_set()

    def start(self) -> None:
        """Start the process, without waiting until it is ready."""
        self._ready.clear()
        self._start_failure = None
        with about_job(None):  # it outlives the job that may have asked for it
            self._life = asyncio.create_task(self._live(), name="inference worker")

    async def run(self, request: Request) -> AsyncGenerator[Progress | Result, None]:
        """Send a request to the process and yield what it reports.

        When the consumer stops early the worker is told to cancel. It may need until its next step
        to do so: the next run waits for that, the caller does not.
        """
        await self.ready()
        await self._idle.wait()
        while not self._ready.is_set():  # it died in the meantime
            await self.ready()
        number = next(self._numbers)
        inbox = self._inboxes[number] = asyncio.Queue()
        self._idle.clear()
        try:
            self._send(Run(number, request, current_job()))
            async for event in events(inbox.get, self._patience):
                yield event
        except WorkerHung:
            if self._process is not None:
                self._process.kill()
            raise
        finally:
            del self._inboxes[number]
            if not self._idle.is_set():
                self._send(Cancel(number))

    async def memory(self) -> DeviceMemory:
        """Return what the device holds now, also in the middle of a run."""
        await self.ready()
        number = next(self._numbers)
        inbox = self._inboxes[number] = asyncio.Queue()
        try:
            self._send(Look(number))
            answer = await inbox.get()
        finally:
            del self._inboxes[number]
        if isinstance(answer, WorkerDied):
            raise answer
        assert isinstance(answer, Seen)
        return answer.memory

    async def ready(self) -> None:
        """Wait for the process to have its device; raise BotError if it ends before that."""
        if self._life is None or self._life.done():
            self.start()
        assert self._life is not None
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({ready, self._life}, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise self._start_failure or WorkerDied(None, starting=True)
        finally:
            ready.cancel()

    async def close(self) -> None:
        """End the process, politely first, and wait for it."""
        self._closing = True
        if self._process is not None:
            _end_input(self._process)
        if self._life is None:
            return
        _, alive = await asyncio.wait({self._life}, timeout=_STOP_SECONDS)
        if alive:
            if self._process is not None:
                self._process.kill()
            await asyncio.wait(alive)

    def _send(self, message: object) -> None:
        # a pipe that broke is the death of the process, which `_live` reports to the run
        if self._process and self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(protocol.pack(message))

    async def _live(self) -> None:
        """Keep a process alive: start it, hand its messages on, and start it again when it dies.

        One that dies before it is ready a few times in a row, or says itself that it cannot begin,
        is not started again until the next run asks for it.
        """
        failed_starts = 0
        while not self._closing:
            exit_code = None
            try:
                exit_code = await self._live_once()
            finally:
                was_ready = self._ready.is_set()
                self._ready.clear()
                for inbox in self._inboxes.values():
                    inbox.put_nowait(WorkerDied(exit_code))
                self._idle.set()
            if self._closing:
                return
            _log.error("the inference process ended with exit code %s", exit_code)
            failed_starts = 0 if was_ready else failed_starts + 1
            if self._start_failure or failed_starts == _MOST_STARTS:
                self._start_failure = self._start_failure or WorkerDied(exit_code, starting=True)
                return

    async def _live_once(self) -> int:
        """Run one process from its start to its end and return its exit code."""
        self.starts += 1
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot.inference.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # a session of its own: Ctrl-C is for the bot, which then ends the worker
            start_new_session=True,
            env=_ENVIRONMENT | os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            self._send(self._options)
            if self._closing:
                _end_input(process)
            assert process.stdout is not None
            while True:
                self._dispatch(await protocol.receive(process.stdout))
        except (asyncio.IncompleteReadError, ConnectionError):
            return await process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            raise
        finally:
            self._process = None

    def _dispatch(self, message: Ready | Unable | Happened | Stopped | Failed | Seen) -> None:
        if isinstance(message, Unable):
            self._start_failure = message.error
            return
        if isinstance(message, Ready):
            _log.info("the inference process is ready on %s", message.device)
            self._ready.set()
            self._idle.set()
            return
        goes_on = isinstance(message, Happened) and isinstance(message.event, Progress)
        if not (goes_on or isinstance(message, Seen)):
            self._idle.set()
        # a run that was cancelled has no inbox any more: what it still says is for nobody
        if inbox := self._inboxes.get(message.number):
            inbox.put_nowait(message)


def _end_input(process: asyncio.subprocess.Process) -> None:
    """Tell a worker to end: it does so at the end of its standard input."""
    assert process.stdin is not None
    process.stdin.close()


async def events(
    receive: Callable[[], Awaitable[object]], patience: float | None
) -> AsyncIterator[Progress | Result]:
    """Yield the events of one run up to its result; raise what it failed with.

    `receive` gives the next message about it, of which WorkerDied is one. Raise WorkerHung when
    there is none for `patience` seconds, but while it loads.
    """
    is_loading = False
    while True:
        try:
            async with asyncio.timeout(None if is_loading else patience):
                message = await receive()
        except TimeoutError:
            assert patience is not None
            raise WorkerHung(patience) from None
        if isinstance(message, WorkerDied):
            raise message
        if isinstance(message, Failed):
            if not isinstance(message.error, BotError):
                _log.error("the inference process failed:\n%s", message.traceback)
            raise message.error
        if isinstance(message, Happened):
            is_loading = isinstance(message.event, Progress) and message.event.stage == "load"
            yield message.event
            if isinstance(message.event, Result):
                return
