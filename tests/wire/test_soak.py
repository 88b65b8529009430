"""Many jobs one after the other: the bot and its worker stay as large as they were."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import psutil
import pytest

from .bot_process import BotProcess
from .conftest import Operator
from .fake_discord import FakeDiscord

_log = logging.getLogger(__name__)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(7200)]

JOBS, JOBS_IF_LONG = 40, 10_000
WARM = 0.2
"""The share of the jobs after which caches are full."""
AT_ONCE, MEMBERS = 10, 50
QUIET = 60.0
"""Seconds in which connections that nobody uses any more are closed."""


@dataclass(frozen=True)
class Size:
    """What a process takes: bytes in memory, files that are open, threads."""

    memory: int
    files: int
    threads: int


async def test_the_bot_and_its_worker_do_not_grow_with_the_jobs_that_they_have_done(
    discord: FakeDiscord, operator: Operator, request: pytest.FixtureRequest
) -> None:
    is_long = request.config.getoption("--long")
    count = JOBS_IF_LONG if is_long else JOBS
    bot = await operator.running(LOG_LEVEL="WARNING", DATA_LIMIT_GB="0.02")
    warm = int(WARM * count)
    await make(discord, range(warm))
    before = sizes(bot)
    await make(discord, range(warm, count))
    async with asyncio.timeout(QUIET):
        while operator.rows("SELECT count(*) FROM jobs WHERE state = 'delivered'") != [(count,)]:
            await asyncio.sleep(0.1)
        while any(
            (after.files, after.threads) > (earlier.files, earlier.threads)
            for after, earlier in zip(sizes(bot), before, strict=True)
        ):
            await asyncio.sleep(1)
    if is_long:
        for after, earlier in zip(sizes(bot), before, strict=True):
            _log.info("%d MB, and %d after all", earlier.memory / 1e6, after.memory / 1e6)
            assert after.memory < 1.05 * earlier.memory


async def make(discord: FakeDiscord, numbers: range) -> None:
    """Ask for pictures, so many at a time, and see each of them come."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            message = await discord.slash(
                "generate",
                user_id=str(1000 + number % MEMBERS),
                prompt=f"a {'red' if number % 2 else 'blue'} circle",
                seed=number,
                steps=1,
                size="small square",
            )
            await message.until(lambda version: version.files, 120)
            # a Discord keeps what it is sent; this one need not
            message.now.files.clear()

    await asyncio.gather(*(one(number) for number in numbers))


def sizes(bot: BotProcess) -> list[Size]:
    """Return what the bot takes, and what its worker does."""
    (worker,) = bot.workers()
    return [
        Size(each.memory_info().rss, each.num_fds(), each.num_threads())
        for each in (psutil.Process(bot.process.pid), worker)
    ]
