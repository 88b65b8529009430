"""The connection to the gateway ends in all the ways that Discord and the network know."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import discord as discordpy
import pytest
import pytest_asyncio

from bot.client import INTENTS, FluxBot
from bot.errors import DiscordRefused
from bot.serving import _stay_connected

from .bot_process import BotProcess
from .conftest import Operator
from .fake_discord import FakeDiscord
from .messages import Message
from .pictures import PROMPT, arrives_once
from .rest import TOKEN
from .test_run import has_picture

pytestmark = pytest.mark.asyncio(loop_scope="module")

HASTE = "heartbeat_timeout=3 identify_pause=0.5"
BAD_INTENTS = 4014


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _hurried(operator: Operator) -> None:
    """Let the bot of these tests soon lose its patience, and soon begin a new session."""
    await operator.running(HASTE=HASTE)


class Sessions:
    """How often the bot has resumed its session, or begun a new one, since this was made."""

    def __init__(self, discord: FakeDiscord) -> None:
        self._gateway = discord.gateway
        self._before = self._counts()

    @property
    def resumed(self) -> int:
        return self._counts()[0] - self._before[0]

    @property
    def begun(self) -> int:
        return self._counts()[1] - self._before[1]

    def _counts(self) -> tuple[int, int]:
        return len(self._gateway.resumes), len(self._gateway.identifies)


@pytest.fixture
def sessions(bot: BotProcess, discord: FakeDiscord) -> Sessions:
    return Sessions(discord)


async def ask(discord: FakeDiscord) -> Message:
    return await discord.slash("generate", prompt=PROMPT)


@pytest.mark.parametrize("code", [4000, 4001, 4002, 4003, 4005, 4008])
@pytest.mark.scenario(
    "gateway",
    "Discord closes the connection for a reason that passes (4000 to 4003, 4005, 4008)",
    outcome="The bot is back at once. What was asked meanwhile is answered, and each picture"
    " arrives.",
)
async def test_a_close_that_passes_is_resumed(
    sessions: Sessions, discord: FakeDiscord, operator: Operator, code: int
) -> None:
    running = await ask(discord)
    await discord.gateway.drop(code)
    missed = await ask(discord)
    for message in (running, missed):
        await arrives_once(discord, operator, message)
    assert (sessions.resumed, sessions.begun) == (1, 0)


@pytest.mark.scenario(
    "gateway",
    "The connection ends without a word, as when a router restarts",
    outcome="The bot is back at once. What was asked meanwhile is answered, and each picture"
    " arrives.",
)
async def test_a_connection_that_breaks_is_resumed(
    sessions: Sessions, discord: FakeDiscord, operator: Operator
) -> None:
    running = await ask(discord)
    discord.gateway.cut()
    missed = await ask(discord)
    for message in (running, missed):
        await arrives_once(discord, operator, message)
    assert (sessions.resumed, sessions.begun) == (1, 0)


@pytest.mark.scenario(
    "gateway",
    "Discord calls the session invalid, but says that it can be resumed (op 9)",
    outcome="The bot is back at once. What was asked meanwhile is answered, and each picture"
    " arrives.",
)
async def test_a_session_that_is_invalid_for_a_moment_is_resumed(
    sessions: Sessions, discord: FakeDiscord, operator: Operator
) -> None:
    running = await ask(discord)
    await discord.gateway.invalidate(resumable=True)
    missed = await ask(discord)
    for message in (running, missed):
        await arrives_once(discord, operator, message)
    assert (sessions.resumed, sessions.begun) == (1, 0)


@pytest.mark.scenario(
    "gateway",
    "Discord says nothing any more, and does not answer a heartbeat",
    outcome="After a minute the bot connects anew. What was asked meanwhile is answered then, and"
    " each picture arrives.",
)
async def test_a_gateway_that_answers_no_heartbeat_is_left(
    sessions: Sessions, discord: FakeDiscord, operator: Operator
) -> None:
    running = await ask(discord)
    discord.gateway.fall_silent()
    missed = await ask(discord)
    for message in (running, missed):
        await arrives_once(discord, operator, message)
    assert (sessions.resumed, sessions.begun) == (1, 0)


@pytest.mark.parametrize("code", [4007, 4009])
@pytest.mark.scenario(
    "gateway",
    "Discord closes the connection and forgets the session (4007, 4009)",
    outcome="Pictures under way arrive meanwhile. New commands are taken some seconds later, when"
    " the bot has a new session.",
)
async def test_a_session_that_is_forgotten_is_begun_anew(
    sessions: Sessions, discord: FakeDiscord, operator: Operator, code: int
) -> None:
    running = await ask(discord)
    discord.gateway.forget_session()
    await discord.gateway.drop(code)
    await arrives_once(discord, operator, running)
    await discord.gateway.online()
    assert sessions.begun == 1
    await arrives_once(discord, operator, await ask(discord))


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4012, 4013, 4014])
async def test_each_close_for_good_is_one_sentence_with_its_code(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    client = cast(Any, discordpy.AutoShardedClient(intents=INTENTS))
    client.settings = SimpleNamespace(shard_count=None)
    async with FakeDiscord.serve() as discord, client:
        monkeypatch.setattr(discordpy.http.Route, "BASE", f"{discord.url}/api/v10")
        await client.login(TOKEN)
        connected = asyncio.create_task(_stay_connected(cast(FluxBot, client)))
        await discord.gateway.online()
        await discord.gateway.drop(code)
        with pytest.raises(DiscordRefused) as refused:
            await connected
    sentence = str(refused.value)
    assert str(code) in sentence
    assert "\n" not in sentence


@pytest.mark.scenario(
    "gateway",
    "Discord refuses the bot for good (4004, 4010 to 4014)",
    outcome="The bot ends with one sentence for its operator. No job is lost: each picture arrives"
    " when the bot is started again.",
)
async def test_a_close_for_good_ends_the_bot_and_loses_no_job(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    with bot.paused():
        message = await ask(discord)
        await message.reads("Starting")
        await discord.gateway.drop(BAD_INTENTS)
    assert await bot.exit_code(30) == 1
    assert bot.log.splitlines()[-1].startswith("Discord refuses the bot: it asks for intents")
    assert not has_picture(message.now)
    await operator.running(HASTE=HASTE)
    await arrives_once(discord, operator, message)
