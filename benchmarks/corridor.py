"""What the bot adds to a picture: start-up, overhead, event loop stalls, on the tiny models.

Run with `python -m benchmarks.corridor`. Medians of one run, so that a busy machine shows in all of
them alike; `--pictures N` sets how many.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.config import Settings
from bot.playground.simulation import Simulation, simulation

STARTS = {
    "`python -m bot --help`": ["-m", "bot", "--help"],
    "import a cog": ["-c", "import bot.cogs.generate"],
}
TICK = 0.005


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    measured: str
    goal: str


def start_up(repeats: int) -> Iterator[Row]:
    """Time processes that load no model."""
    for what, arguments in STARTS.items():
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - start)
        yield Row(what, f"{statistics.median(seconds):.2f} s", "≤ 0.5 s")


class Ticker:
    """Measures by how much the event loop is late for a tick of five milliseconds."""

    def __init__(self) -> None:
        self._worst = 0.0

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Tick for as long as the block lasts."""
        task = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            task.cancel()

    @property
    def worst(self) -> float:
        """The longest stall in milliseconds."""
        return 1000 * self._worst

    async def _tick(self) -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(TICK)
            self._worst = max(self._worst, time.perf_counter() - start - TICK)


async def one_picture(room: Simulation, seed: int) -> tuple[float, float]:
    """Send a command and return the seconds to its file, and those that the models took of them."""
    start = time.perf_counter()
    await room.owner.slash(
        room.channel, "generate", prompt="a large red circle on a blue background", seed=seed
    )
    await room.application.jobs.idle()
    total = time.perf_counter() - start
    job = await room.application.storage.job(seed)
    assert job.outcome is not None, job.error
    models = sum(s for stage, s in job.outcome["seconds"].items() if stage != "wait")
    return total, models


async def corridor(pictures: int) -> list[Row]:
    """Send commands one after the other to the bot on a simulated Discord."""
    loading, running = Ticker(), Ticker()
    async with simulation(Settings(log_level="WARNING")) as room:
        with loading.watch():
            await one_picture(room, 1)
        with running.watch():
            measured = [await one_picture(room, 2 + n) for n in range(pictures)]
    models = statistics.median(seconds for _, seconds in measured)
    overhead = statistics.median(total - seconds for total, seconds in measured)
    return [
        Row("tiny schnell 128×128, 4 steps, warm", f"{models:.2f} s", "≤ 1.0 s"),
        Row("the bot on top of it, command in to file out", f"{1000 * overhead:.0f} ms", "≤ 50 ms"),
        Row("worst event loop stall, worker starts, loads", f"{loading.worst:.0f} ms", "≤ 50 ms"),
        Row("worst event loop stall, jobs run", f"{running.worst:.0f} ms", "≤ 50 ms"),
    ]


def processor() -> str:
    """Return the name of the processor, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=30)
    pictures = parser.parse_args().pictures
    rows = [*start_up(repeats=9), *asyncio.run(corridor(pictures))]
    print(f"{processor()}, Python {platform.python_version()}, {pictures} pictures\n")
    print("| what | measured | goal |\n|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.measured} | {row.goal} |")


if __name__ == "__main__":
    main()
