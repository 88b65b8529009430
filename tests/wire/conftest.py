"""One simulated Discord and one data folder for all tests of a module, and a bot that runs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from .bot_process import BotProcess
from .fake_discord import FakeDiscord
from .messages import Message
from .openapi import Contract
from .reliability import pytest_configure as pytest_configure
from .reliability import pytest_runtest_makereport as pytest_runtest_makereport
from .reliability import pytest_sessionfinish as pytest_sessionfinish
from .rest import TOKEN, Call

CRIES = ("Traceback", "never retrieved", "never awaited", "Unclosed", "was destroyed")


class Operator:
    """Who runs the bot: starts it where it does not run, and looks into its data folder."""

    def __init__(self, discord: FakeDiscord, folder: Path) -> None:
        self._discord = discord
        self._folder = folder
        self._runs: list[BotProcess] = []

    @property
    def database(self) -> Path:
        """The bot's database."""
        return self._folder / "data" / "bot.sqlite3"

    async def start(self, url: str | None = None, **settings: str) -> BotProcess:
        """Start the bot, without waiting for what comes of it."""
        settings = {"DISCORD_TOKEN": TOKEN, **settings}
        bot = await BotProcess.start(url or self._discord.url, self._folder, settings)
        self._runs.append(bot)
        return bot

    async def examine(self, url: str | None = None, **settings: str) -> tuple[int, str]:
        """Run the doctor, and return its exit code and what it has printed."""
        settings = {"DISCORD_TOKEN": TOKEN, **settings}
        url = url or self._discord.url
        doctor = await BotProcess.start(url, self._folder, settings, "doctor")
        self._runs.append(doctor)
        return await doctor.exit_code(120), doctor.log

    async def running(self, **settings: str) -> BotProcess:
        """Return the bot that runs with these settings, started anew if none does."""
        for bot in self._runs:
            if bot.running and bot.settings.items() >= settings.items():
                return bot
            await bot.end()
        bot = await self.start(**settings)
        await self._discord.gateway.online()
        return bot

    async def job_is(self, message: Message, state: str, seconds: float = 5.0) -> bool:
        """Tell whether a message's job comes to be in a state in time."""
        for _ in range(int(seconds / 0.05)):
            if self._state(message) == state:
                return True
            await asyncio.sleep(0.05)
        return False

    def job_id(self, message: Message) -> int:
        """Return the job that a message is for."""
        (row,) = self.rows("SELECT id FROM jobs WHERE message_id = ?", int(message.id))
        return int(row[0])

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the bot's database."""
        with closing(sqlite3.connect(self.database)) as database:
            return database.execute(query, values).fetchall()

    async def close(self) -> None:
        """End what still runs, by force, and read what all runs have logged."""
        for bot in self._runs:
            await bot.end()
        for bot in self._runs:
            assert not [cry for cry in CRIES if cry in bot.log], bot.log

    def _state(self, message: Message) -> str:
        states = self.rows("SELECT state FROM jobs WHERE message_id = ?", int(message.id))
        return str(states[0][0]) if states else ""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[FakeDiscord]:
    """Serve a Discord."""
    async with FakeDiscord.serve() as discord:
        yield discord


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator(
    world: FakeDiscord, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Operator]:
    """Give the bot a folder, and see to its end."""
    operator = Operator(world, tmp_path_factory.mktemp("bot"))
    yield operator
    await operator.close()


@pytest_asyncio.fixture(loop_scope="module")
async def bot(discord: FakeDiscord, operator: Operator) -> BotProcess:
    """Return a bot that is online; the checks of `discord` include its start."""
    return await operator.running()


@pytest.fixture(scope="session")
def contract() -> Contract:
    """Read Discord's description of its API, if it is there."""
    return Contract.load()


@pytest.fixture
def discord(world: FakeDiscord, contract: Contract) -> Iterator[FakeDiscord]:
    """Return the Discord, without faults, and check all that the bot sends it in a test."""
    before = len(world.rest.calls)
    yield world
    world.heal()
    for call in world.rest.calls[before:]:
        assert contract.faults(call.method, call.path, call.body) == []
        assert not can_mention(call), f"{call.method} {call.path} could mention somebody"


def can_mention(call: Call) -> bool:
    """Tell whether a request shows text in which Discord would look for mentions."""
    if not isinstance(call.body, dict):
        return False
    data = call.body.get("data", call.body)
    shows = any(data.get(name) for name in ("content", "embeds", "components"))
    return shows and data.get("allowed_mentions", {}).get("parse") != []
