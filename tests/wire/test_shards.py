"""Several connections to Discord: who is served by which, and what becomes of one that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bot.__main__ import EX_CONFIG

from .bot_process import BotProcess
from .conftest import Operator
from .fake_discord import FakeDiscord
from .gateway import SHARDING_REQUIRED
from .messages import GUILD_ID, OTHER_GUILD_ID, Message
from .test_run import has_picture

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _two_servers(world: FakeDiscord) -> None:
    """Have a server on each of the two shards that Discord recommends."""
    world.rest.guild_ids = [GUILD_ID, OTHER_GUILD_ID]
    world.rest.shards = 2


@pytest_asyncio.fixture(loop_scope="module")
async def bot(discord: FakeDiscord, operator: Operator) -> AsyncIterator[BotProcess]:
    """Give a bot that is online on all shards, before and after a test."""
    yield await operator.running()
    await discord.gateway.online()


async def begin(discord: FakeDiscord, guild_id: str | None) -> asyncio.Task[Message]:
    """Give a command at once, which is answered when its shard is there."""
    command = discord.slash("generate", guild_id=guild_id, prompt="a red circle")
    task = asyncio.create_task(command)
    await asyncio.sleep(0)
    return task


def pairs(sent: list[dict[str, Any]]) -> list[list[int]]:
    return [each["shard"] for each in sent]


async def test_as_many_shards_as_discord_recommends_serve_their_servers(
    bot: BotProcess, discord: FakeDiscord
) -> None:
    assert pairs(discord.gateway.identifies) == [[0, 2], [1, 2]]
    assert [discord.gateway.shard_of(each) for each in (GUILD_ID, OTHER_GUILD_ID)] == [0, 1]
    asked = [await begin(discord, each) for each in (GUILD_ID, OTHER_GUILD_ID, None)]
    for message in await asyncio.gather(*asked):
        await message.until(has_picture)


@pytest.mark.parametrize("how", ["dropped", "asked to reconnect"])
@pytest.mark.scenario(
    "gateway",
    "One of several connections ends, or Discord asks for a new one (op 7)",
    outcome="Other servers notice nothing. What was asked in its own is answered as soon as it is"
    " back.",
)
async def test_a_shard_that_ends_is_resumed_while_the_other_one_serves(
    bot: BotProcess, discord: FakeDiscord, how: str
) -> None:
    identifies, resumes = len(discord.gateway.identifies), len(discord.gateway.resumes)
    discord.gateway.lets_in.clear()
    if how == "dropped":
        await discord.gateway.drop(shard=1)
    else:
        await discord.gateway.ask_to_reconnect(shard=1)
    missed = await begin(discord, OTHER_GUILD_ID)
    served = await discord.slash("generate", guild_id=GUILD_ID, prompt="a blue square")
    await served.until(has_picture)
    assert not missed.done()
    discord.gateway.lets_in.set()
    await (await missed).until(has_picture)
    assert len(discord.gateway.resumes) == resumes + 1
    assert len(discord.gateway.identifies) == identifies


@pytest.mark.scenario(
    "gateway",
    "Discord ends the session of one of several connections for good (op 9)",
    outcome="Other servers notice nothing. Its own are served again some seconds later.",
)
async def test_a_session_that_is_over_begins_anew_on_its_shard_alone(
    bot: BotProcess, discord: FakeDiscord
) -> None:
    identifies = len(discord.gateway.identifies)
    await discord.gateway.invalidate(shard=1)
    served = await discord.slash("generate", guild_id=GUILD_ID, prompt="a blue square")
    await served.until(has_picture)
    await discord.gateway.online()
    assert pairs(discord.gateway.identifies[identifies:]) == [[1, 2]]
    message = await discord.slash("generate", guild_id=OTHER_GUILD_ID, prompt="a red circle")
    await message.until(has_picture)


@pytest.mark.scenario(
    "gateway",
    "SHARD_COUNT is too small for the servers that the bot is in (4011)",
    outcome="The bot ends with one sentence for its operator that names the setting.",
)
async def test_the_operator_may_say_how_many_shards_and_reads_it_if_these_are_too_few(
    discord: FakeDiscord, operator: Operator
) -> None:
    identifies = len(discord.gateway.identifies)
    bot = await operator.running(SHARD_COUNT="3", LOG_LEVEL="ERROR")
    assert pairs(discord.gateway.identifies[identifies:]) == [[0, 3], [1, 3], [2, 3]]
    await discord.gateway.drop(SHARDING_REQUIRED, shard=1)
    assert await bot.exit_code(30) == EX_CONFIG
    assert bot.log == (
        "SHARD_COUNT is `3`, too few for the servers that the bot is in. Allowed: a larger number,"
        " or empty for as many as Discord recommends.\n"
    )
