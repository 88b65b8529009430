"""What settings, history and retention cost with many jobs: `python -m benchmarks.storage`."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bot.files import write_file
from bot.history import Search, Sight
from bot.storage import Storage
from tests.records import ALICE, HOME, made

JOBS, MEMBERS = 10_000, 50
REPEATS = 200


async def main() -> None:
    """Fill a data folder, measure, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        async with Storage.open(Path(folder)) as storage:
            await fill(storage, Path(folder))
            await storage.settings.change(HOME, 0, {"max_count": 2}, user_id=ALICE)
            mine = Sight(user_id=ALICE, guild_id=HOME)
            rows = [
                ("settings of a channel", 1.0, await median(lambda: storage.settings.at(HOME, 1))),
                (
                    "a page of the history",
                    None,
                    await median(lambda: storage.history.page(mine, Search(), count=6)),
                ),
                (
                    "words that are in none",
                    None,
                    await median(lambda: storage.history.page(mine, Search(text="zebra"), count=6)),
                ),
            ]
            seconds, stall = await sweep(storage)
    print(f"{JOBS} jobs of {MEMBERS} members\n\n| what | ms, median | goal |\n|---|---|---|")
    for what, goal, milliseconds in rows:
        print(f"| {what} | {milliseconds:.2f} | {'' if goal is None else f'≤ {goal:g}'} |")
    print(f"| delete all {JOBS} jobs with their files | {seconds * 1000:.0f} | ≤ 2000 |")
    print(f"| the longest stall of the loop meanwhile | {stall * 1000:.0f} | |")


async def fill(storage: Storage, folder: Path) -> None:
    """Copy one job and its picture many times."""
    first = await made(storage)
    (image,) = await storage.images(first.id)
    content = await asyncio.to_thread(image.path.read_bytes)
    names = [f"images/{number:08}-1.png" for number in range(2, JOBS + 1)]
    async with storage._database.transaction() as connection:
        columns = [row["name"] for row in await storage._database.rows("PRAGMA table_info(jobs)")]
        values = ", ".join({"id": "?1", "user_id": "?2"}.get(each, each) for each in columns)
        await connection.executemany(
            f"INSERT INTO jobs ({', '.join(columns)}) SELECT {values} FROM jobs WHERE id = 1",
            [(number, ALICE + number % MEMBERS) for number in range(2, JOBS + 1)],
        )
        await connection.executemany(
            "INSERT INTO images (job_id, position, seed, path, bytes) VALUES (?, 1, 7, ?, ?)",
            [(number, name, len(content)) for number, name in enumerate(names, 2)],
        )
    await asyncio.to_thread(lambda: [write_file(folder / name, content) for name in names])


async def median(ask: Callable[[], Awaitable[object]]) -> float:
    """Return the milliseconds that a question takes."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


async def sweep(storage: Storage) -> tuple[float, float]:
    """Delete everything, and return the seconds that took, and the longest stall meanwhile."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before - 0.001)

    watching = asyncio.create_task(watch())
    began = time.perf_counter()
    deleted = await storage.disposal.delete_expired(HOME, time.time() + 1)
    seconds = time.perf_counter() - began
    watching.cancel()
    assert deleted == JOBS
    return seconds, longest


if __name__ == "__main__":
    asyncio.run(main())
