"""How fast commands are acknowledged while a picture is painted: `python -m benchmarks.load`.

The real bot as a process of its own, with the tiny models, on a Discord on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from tests.wire.bot_process import BotProcess
from tests.wire.fake_discord import FakeDiscord
from tests.wire.rest import TOKEN

AT_ONCE, MEMBERS = 1000, 200
A_SECOND, SECONDS = 50, 10
WORKER_STARTS = 10.0
"""Seconds until the worker paints."""
LONG = {"prompt": "a red circle", "model": "dev", "steps": 50, "count": 4}


async def main() -> None:
    """Measure both, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        async with FakeDiscord.serve() as discord:
            settings = {"DISCORD_TOKEN": TOKEN, "LOG_LEVEL": "ERROR"}
            bot = await BotProcess.start(discord.url, Path(folder), settings)
            try:
                await discord.gateway.online()
                await discord.slash("generate", **LONG)
                await asyncio.sleep(WORKER_STARTS)
                rows = [
                    (f"{A_SECOND} a second for {SECONDS} s", 0.15, await steadily(discord)),
                    (f"{AT_ONCE} commands in one instant", 1.5, await at_once(discord)),
                ]
            finally:
                await bot.end()
    print("| commands | median | p99 | goal for p99 | not acknowledged |")
    print("|---|---|---|---|---|")
    for name, goal, answers in rows:
        times = sorted(each for each in answers if each is not None)
        p99 = times[int(0.99 * (len(times) - 1))]
        lost = len(answers) - len(times)
        print(f"| {name} | {statistics.median(times):.3f} s | {p99:.3f} s | ≤ {goal} s | {lost} |")


async def at_once(discord: FakeDiscord) -> list[float | None]:
    """Give all commands in one instant."""
    return await asyncio.gather(*(acknowledged_after(discord, n) for n in range(AT_ONCE)))


async def steadily(discord: FakeDiscord) -> list[float | None]:
    """Give so many commands a second."""
    tasks, start = [], time.monotonic()
    for n in range(A_SECOND * SECONDS):
        tasks.append(asyncio.create_task(acknowledged_after(discord, n)))
        await asyncio.sleep(max(0.0, start + (n + 1) / A_SECOND - time.monotonic()))
    return await asyncio.gather(*tasks)


async def acknowledged_after(discord: FakeDiscord, number: int) -> float | None:
    """Give a command as one of the members and return the seconds until it is acknowledged."""
    try:
        member = str(1000 + number % MEMBERS)
        message = await discord.slash("generate", user_id=member, prompt="a star", seed=number)
    except TimeoutError:
        return None
    return message.acknowledged_after


if __name__ == "__main__":
    asyncio.run(main())
