"""The second implementation of the seams: an executor that a test holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from bot.events import JobEvent
from bot.inference.types import DeviceMemory, MemoryStats, Progress, Request, Result, Weights
from bot.records import Job

MEMORY = MemoryStats(
    device="CPU",
    peak=3,
    resident=2,
    allocated=2,
    reserved=None,
    free=5,
    total=9,
    weights=Weights(actual=2, bfloat16=4, float32=8),
)


def result_for(request: Request) -> Result:
    """Return a result with the seeds of a request and pictures that are none."""
    return Result(
        images=tuple(b"picture %d" % seed for seed in request.seeds),
        seeds=request.seeds,
        size=(request.width or 128, request.height or 128),
        seconds={"denoise": 1.0},
        memory=MEMORY,
        quantization=request.quantization,
    )


class HeldExecutor:
    """Starts each run and lets none go on before the test says so."""

    capacity = 1
    ahead = 0
    ready_workers = 1
    restarts = 0

    def __init__(self) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.started: list[Request] = []
        self.cancelled: list[Request] = []
        self.events: asyncio.Queue[Progress | Result | Exception] = asyncio.Queue()
        self._changed = asyncio.Condition()

    async def run(self, request: Request) -> AsyncGenerator[Progress | Result, None]:
        """Yield what the test puts into `events`; an exception is raised."""
        self.started.append(request)
        await self._notify()
        try:
            while True:
                event = await self.events.get()
                await self._notify()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Result):
                    return
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.append(request)
            raise

    async def ready(self) -> None:
        """Be ready at once."""

    async def is_busy(self) -> None:
        """Wait until any run has begun."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: bool(self.started))

    async def has_started(self, request: Request) -> None:
        """Wait until a run of this request has begun."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: request in self.started)

    async def let_finish(self, number: int) -> None:
        """Wait until the run of this number, from 0, has begun, and give it its result."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.started) > number)
        self.events.put_nowait(result_for(self.started[number]))

    async def has_taken_all(self) -> None:
        """Wait until nothing that the test has put in is left."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(self.events.empty)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def memory(self) -> list[DeviceMemory]:
        """Nothing is on any device."""
        return []

    async def close(self) -> None:
        """Nothing is open."""


class Mailbox:
    """Keeps what would have been told to the members, and takes events of one type, or none.

    While it is not `open`, what must arrive waits before it, as in an outage of Discord; `asked`
    counts that too.
    """

    def __init__(self) -> None:
        self.letters: list[tuple[int, JobEvent]] = []
        self.takes: type[object] | None = object
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def deliver(self, job: Job, event: JobEvent) -> bool:
        """Note an event."""
        self.asked += 1
        if not isinstance(event, Progress):
            await self.open.wait()
        self.letters.append((job.id, event))
        return self.takes is not None and isinstance(event, self.takes)

    def of(self, job: Job) -> list[JobEvent]:
        """Return what was told of one job."""
        return [event for number, event in self.letters if number == job.id]
