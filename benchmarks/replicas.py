"""What a second replica on Ray is worth, what it costs to hand a job over, and when one is added.

Run with `python -m benchmarks.replicas`. The engine sleeps instead of computing, so that a machine
with few processors can tell: the runs are real, through the queue of the executor and Ray Serve.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

# when Serve hears of the queue: every ten seconds, unless told so before its import
os.environ.setdefault("RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S", "1")

from benchmarks.corridor import processor
from bot.inference.cluster import Scaling
from bot.inference.protocol import WorkerOptions
from bot.inference.requests import text_to_image
from bot.inference.serve import RayExecutor
from bot.inference.tools import FAMILIES
from bot.inference.types import DeviceMemory, MemoryStats, Progress, Request, Result, Weights

JOBS = 40
STEPS, STEP_SECONDS = 4, 0.05
OPTIONS = WorkerOptions(family="tiny", device="cpu", log_level="ERROR")
REQUEST = text_to_image(FAMILIES["tiny"], model="schnell", prompt="a red circle", seed=1)
NOTHING = Weights(actual=0, bfloat16=0, float32=0)
MEMORY = MemoryStats(
    device="CPU", peak=0, resident=0, allocated=0, reserved=None, free=1, total=1, weights=NOTHING
)


class Sleeper:
    """An engine whose steps sleep, `seconds` each."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def run(
        self, request: Request, report: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> Result:
        """Sleep as many times as a request has steps."""
        for step in range(request.num_inference_steps):
            time.sleep(self._seconds)
            report(Progress(stage="denoise", step=step + 1, total=request.num_inference_steps))
        return Result(
            images=(b"picture",),
            seeds=request.seeds,
            size=(128, 128),
            seconds={"denoise": self._seconds * request.num_inference_steps},
            memory=MEMORY,
            quantization=request.quantization,
        )

    def memory(self) -> DeviceMemory:
        """Hold nothing."""
        return DeviceMemory(
            device="CPU", free=1, total=1, budget=10**11, host_budget=1, holdings=()
        )


def sleepy(options: WorkerOptions) -> Any:
    """Build an engine that sleeps a step."""
    return Sleeper(STEP_SECONDS), SimpleNamespace(device=SimpleNamespace(type="cpu"))


def hasty(options: WorkerOptions) -> Any:
    """Build an engine that does nothing at all."""
    return Sleeper(0.0), SimpleNamespace(device=SimpleNamespace(type="cpu"))


@asynccontextmanager
async def replicas(count: int, build: Any) -> AsyncIterator[RayExecutor]:
    """Start so many replicas."""
    scaling = Scaling(least=count, most=count)
    async with RayExecutor(OPTIONS, scaling=scaling, build=build) as executor:
        await executor.ready()
        while executor.capacity < count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        yield executor


async def work_off(executor: RayExecutor, jobs: int) -> float:
    """Make so many jobs as the bot's queue does, and return the seconds that it took."""
    left = iter(range(jobs))

    async def lane() -> None:
        for _ in left:
            async for _event in executor.run(REQUEST):
                pass

    start = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(executor.capacity + executor.ahead)))
    return time.perf_counter() - start


async def throughput(count: int) -> float:
    """Return the jobs a second of so many replicas, the median of three times."""
    async with replicas(count, sleepy) as executor:
        await work_off(executor, 6)
        return statistics.median([JOBS / await work_off(executor, JOBS) for _ in range(3)])


async def overhead() -> tuple[float, float]:
    """Return the milliseconds that a job takes which does nothing: alone, and one after another."""
    async with replicas(1, hasty) as executor:
        await work_off(executor, 6)
        alone = []
        for _ in range(100):
            start = time.perf_counter()
            async for _event in executor.run(REQUEST):
                pass
            alone.append(time.perf_counter() - start)
        in_line = await work_off(executor, 100) / 100
    return 1000 * statistics.median(alone), 1000 * in_line


async def growth() -> tuple[float, int]:
    """Return the seconds of waiting after which a second replica works, and the most there were."""
    scaling = Scaling(least=1, most=2, up_after=2.0)
    async with RayExecutor(OPTIONS, scaling=scaling, build=sleepy) as executor:
        await executor.ready()
        seen = [(0.0, executor.capacity)]
        start = time.perf_counter()
        executor.on_change = lambda: seen.append((time.perf_counter() - start, executor.capacity))
        while time.perf_counter() - start < 60:
            await work_off(executor, 10)
        grown = [at for at, capacity in seen if capacity == 2]
        return (grown[0] if grown else float("nan")), max(capacity for _, capacity in seen)


async def main() -> None:
    one, two = await throughput(1), await throughput(2)
    alone, in_line = await overhead()
    grown, most = await growth()
    print(f"Ray Serve, {processor()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| what | measured |")
    print("|---|---|")
    print(f"| jobs a second, one replica ({STEPS} steps of {STEP_SECONDS:g} s) | {one:.2f} |")
    print(f"| jobs a second, two replicas | {two:.2f} ({two / one:.2f} times) |")
    print(f"| a job that does nothing, alone (median of 100) | {alone:.1f} ms |")
    print(f"| a job that does nothing, of 100 in line | {in_line:.1f} ms |")
    print(f"| a second replica works after jobs have waited for | {grown:.0f} s |")
    print(f"| replicas at most, where two are allowed, in a minute under load | {most} |")


if __name__ == "__main__":
    asyncio.run(main())
