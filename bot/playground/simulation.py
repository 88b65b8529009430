"""A simulated Discord around the real client, its cogs and its queue: no network, no token."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bot.application import Application, application
from bot.config import Settings
from bot.errors import BotError
from bot.inference.executor import Executor

if TYPE_CHECKING:
    from simcord import ChannelHandle, Env, MemberActor

BOT_NAME = "FLUX.1"
TOPIC = "Type / and choose a command. The bot and its queue are the real ones, the models are tiny."
SETTLE_TIMEOUT_SECONDS = 30.0


class PlaygroundUnavailable(BotError):
    """The simulated Discord is not installed."""

    def __str__(self) -> str:
        return "The playground needs packages of its own: run pip install -e '.[playground]' first."


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """The bot on a simulated server: the room, who may type in it, and the task that runs jobs."""

    application: Application
    env: Env
    channel: ChannelHandle
    owner: MemberActor
    guest: MemberActor
    work: asyncio.Task[None]

    async def until(self, stop: asyncio.Event, outcome: Coroutine[Any, Any, object]) -> None:
        """Run `outcome` to its end, or to `stop`; a queue that breaks off is raised here."""
        running = asyncio.create_task(outcome)
        stopping = asyncio.create_task(stop.wait())
        waits = {running, stopping, self.work}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (running, stopping):
                task.cancel()
            await asyncio.wait({running, stopping})


@asynccontextmanager
async def simulation(
    settings: Settings, executor: Executor | None = None
) -> AsyncIterator[Simulation]:
    """Start the bot with the tiny models and a data folder that goes away with it.

    An `executor` that is given makes the pictures instead, and is left open.
    """
    simcord = _import_simcord()
    with tempfile.TemporaryDirectory(prefix="flux-playground-") as folder:
        settings = dataclasses.replace(
            settings,
            flux_models="tiny",
            executor="local",
            # the people, the server and the messages here exist nowhere else
            data_dir=Path(folder),
            dev_guild_id=None,
            shard_count=None,
        )
        async with (
            application(settings, executor) as bot,
            simcord.run(
                bot.client,
                check_errors=False,
                settle_timeout=SETTLE_TIMEOUT_SECONDS,
                shard_count=1,
            ) as env,
        ):
            # the queue's edits reach the simulation too: simcord.run has set the adapter for them
            # in this context, which the task of the queue inherits
            _let_time_pass(env)
            await _name_the_bot(env)
            guild = env.create_guild("Playground", owner=env.create_user("you"))
            channel = guild.create_text_channel("playground", topic=TOPIC)
            guest = guild.add_member(env.create_user("guest"))
            await env.settle()
            async with _working(bot) as work:
                yield Simulation(
                    application=bot,
                    env=env,
                    channel=channel,
                    owner=simcord.MemberActor(env, guild, guild.owner),
                    guest=guest,
                    work=work,
                )


def _import_simcord() -> ModuleType:
    """Import simcord, which probes discord.py with a client that warns of what it lacks."""
    discord_logger = logging.getLogger("discord")
    level = discord_logger.level
    discord_logger.setLevel(logging.ERROR)
    try:
        import simcord
    except ModuleNotFoundError as error:
        raise PlaygroundUnavailable from error
    finally:
        discord_logger.setLevel(level)
    return simcord


class _WallClock:
    """The time of day: simcord's own stands still, so that no cooldown would ever end."""

    def __init__(self, elapsed: float) -> None:
        # not time.monotonic: in tasks of the client simcord answers that from this very clock
        self._zero = time.perf_counter() - elapsed
        self._epoch = datetime.now(UTC) - timedelta(seconds=elapsed)

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._zero

    def now(self) -> datetime:
        return self._epoch + timedelta(seconds=self.elapsed)

    def advance(self, seconds: float) -> None:
        self._zero -= seconds


def _let_time_pass(env: Env) -> None:
    backend: Any = env.backend
    backend.clock = _WallClock(backend.clock.elapsed)


async def _name_the_bot(env: Env) -> None:
    # simcord calls every bot TestBot
    assert env.bot.user is not None
    await env.bot.user.edit(username=BOT_NAME)


@asynccontextmanager
async def _working(bot: Application) -> AsyncIterator[asyncio.Task[None]]:
    """The task of the queue, which simcord does not wait for: it is not started by the client."""
    work = asyncio.create_task(bot.work())
    try:
        yield work
    finally:
        try:
            # what the queue has to say at the end must go to the simulation, not to Discord
            await bot.jobs.stop(grace=0)
        finally:
            work.cancel()
            await asyncio.wait({work})
