"""How the bot bears a rush of commands while it paints: `python -m benchmarks.load`.

The real bot as a process of its own, with the tiny models, on a Discord on 127.0.0.1: 200 members
of 50 servers. All wait for one worker, so most commands only get their place in the queue.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.wire.bot_process import BotProcess
from tests.wire.crowd import GUILD_IDS, at_once, refused, steadily
from tests.wire.fake_discord import FakeDiscord
from tests.wire.messages import Message
from tests.wire.rest import TOKEN

AT_ONCE = 1000
A_SECOND, SECONDS = 30, 120
WORKER_STARTS = 10.0
"""Seconds until the worker paints."""


async def main() -> None:
    """Measure both, and print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        async with FakeDiscord.serve() as discord:
            discord.rest.guild_ids = GUILD_IDS
            settings = {"DISCORD_TOKEN": TOKEN, "LOG_LEVEL": "ERROR"}
            bot = await BotProcess.start(discord.url, Path(folder), settings)
            try:
                await discord.gateway.online()
                await discord.slash("generate", prompt="a red circle", model="dev", count=4)
                await asyncio.sleep(WORKER_STARTS)
                process = psutil.Process(bot.process.pid)
                start, before = time.monotonic(), process.memory_info().rss
                rush = await at_once(discord, AT_ONCE)
                steady = await steadily(discord, A_SECOND, SECONDS)
                after = process.memory_info().rss
                late = discord.gateway.longest_gap(start) - discord.gateway.heartbeat_interval
            finally:
                await bot.end()
    print("| commands | median | p99 | goal for p99 | not acknowledged |")
    print("|---|---|---|---|---|")
    print(_row(f"{AT_ONCE:,} in one instant", 1.5, rush))
    print(_row(f"then {A_SECOND} a second for {SECONDS} s", 0.15, steady))
    edits = [len(each.history) for each in (*rush, *steady) if each is not None]
    print("\n| what | measured |")
    print("|---|---|")
    print(f"| a heartbeat was late by at most | {late:.3f} s |")
    print(f"| memory of the bot before, after | {before / 1e6:.0f} MB, {after / 1e6:.0f} MB |")
    print(f"| states of a message, mean and most | {statistics.mean(edits):.1f}, {max(edits)} |")
    print(f"| requests that Discord would refuse with 429 | {refused(discord.rest.calls)} |")


def _row(name: str, goal: float, messages: Sequence[Message | None]) -> str:
    times = sorted(each.acknowledged_after for each in messages if each is not None)
    p99 = times[int(0.99 * (len(times) - 1))]
    lost = len(messages) - len(times)
    return f"| {name} | {statistics.median(times):.3f} s | {p99:.3f} s | ≤ {goal} s | {lost} |"


if __name__ == "__main__":
    asyncio.run(main())
