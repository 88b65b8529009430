"""Kills at random moments: no picture is lost, and none comes twice."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from contextlib import closing
from random import Random
from typing import Any

import pytest

from .bot_process import BotProcess
from .conftest import Operator
from .fake_discord import FakeDiscord

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(7200)]

JOBS, MEMBERS = 200, 20
KILLS, KILLS_IF_LONG = 30, 1000
DRAIN = 300.0
"""Seconds that the jobs may take after the last kill."""

Row = tuple[int, str, str, int]


@pytest.mark.scenario(
    "worker",
    "Bot and worker are killed thirty times at random moments, under 200 commands of 20 members",
    outcome="Each picture arrives once, or its job ends in a sentence. The database stays whole.",
)
async def test_each_job_is_delivered_once_or_ends_in_a_sentence(
    discord: FakeDiscord, operator: Operator, request: pytest.FixtureRequest
) -> None:
    kills = KILLS_IF_LONG if request.config.getoption("--long") else KILLS
    rng, asked = Random(kills), list[asyncio.Task[Any]]()
    bot = await operator.running(LOG_LEVEL="ERROR")
    for kill in range(kills):
        for number in range(JOBS * kill // kills, JOBS * (kill + 1) // kills):
            command = discord.slash(
                "generate",
                user_id=str(1000 + number % MEMBERS),
                prompt="a red circle",
                seed=number,
                model="dev" if number % 3 == 0 else "schnell",
                steps=4,
            )
            asked.append(asyncio.create_task(command))
        await asyncio.sleep(rng.uniform(0, 4))
        bot = await strike(bot, operator, rng)
    # a command that met no bot is not acknowledged; of the others none may be lost
    answers = await asyncio.gather(*asked, return_exceptions=True)
    acknowledged = [each for each in answers if not isinstance(each, BaseException)]
    assert len(acknowledged) > JOBS / 2
    await all_jobs_have_ended(operator)
    rows = jobs(operator)
    assert {state for _, state, *_ in rows} <= {"delivered", "failed"}
    for job_id, state, error, message_id in rows:
        holders = [
            message
            for message in discord.rest.messages.values()
            if any(f"-{job_id}-1." in name for name in message.now.files)
        ]
        assert len(holders) == (state == "delivered"), f"job {job_id}, {state}"
        if state == "failed":
            assert error in discord.rest.messages[str(message_id)].now.text
    with closing(sqlite3.connect(operator.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    # last: where a worker takes longer to start than it is let live, many end in a sentence
    assert sum(state == "delivered" for _, state, *_ in rows) > 0.9 * len(rows)


async def strike(bot: BotProcess, operator: Operator, rng: Random) -> BotProcess:
    """Kill the bot, or its worker, and return the bot that runs then."""
    workers = bot.workers()
    if workers and rng.random() < 0.5:
        for worker in workers:
            worker.kill()
        return bot
    with contextlib.suppress(ProcessLookupError):  # it ends by itself where no worker can begin
        bot.process.kill()
    await bot.process.wait()
    return await operator.running(LOG_LEVEL="ERROR")


async def all_jobs_have_ended(operator: Operator) -> None:
    async with asyncio.timeout(DRAIN):
        while any(state in ("queued", "running", "made") for _, state, *_ in jobs(operator)):
            await asyncio.sleep(0.2)


def jobs(operator: Operator) -> list[Row]:
    with closing(sqlite3.connect(operator.database)) as database:
        query = "SELECT id, state, error, message_id FROM jobs"
        return database.execute(query).fetchall()
