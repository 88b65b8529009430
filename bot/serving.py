"""The bot at work: connected to Discord, until a signal, or what only its operator can mend."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from typing import Any

import aiohttp
import discord

from bot.application import Application, application
from bot.client import FluxBot
from bot.config import Settings
from bot.errors import ConfigurationError, DiscordRefused, DiscordUnreachable
from bot.metrics.endpoints import endpoints
from bot.signals import stop_signals

_log = logging.getLogger(__name__)

TOO_FEW_SHARDS = 4011
"""Discord's code when a connection would have more servers than it may."""


async def serve(settings: Settings) -> None:
    """Serve on Discord until told to stop, then let the running job finish and say goodbye.

    Raises BotError where that cannot be, or not any more.
    """
    token = settings.require_token()
    # neither the workers nor what decodes the files of members have any use for it
    os.environ.pop("DISCORD_TOKEN", None)
    with stop_signals() as stop:
        async with application(settings) as app, app.client, endpoints(app, stop):
            try:
                await _first_of(
                    _stop_gently(app, stop, settings.shutdown_grace_s),
                    _connect(app, token),
                    _watch_worker(app),
                )
            finally:
                # while the client can still tell the members
                await app.jobs.stop(grace=0)
                await app.delivery.close()


async def _connect(app: Application, token: str) -> None:
    """Log in, then keep gateway and queue going; raise what either of them ends with."""
    try:
        await app.client.login(token)
    except discord.LoginFailure:
        raise ConfigurationError(
            "DISCORD_TOKEN", "is refused by Discord", "the current token of your application"
        ) from None
    except discord.HTTPException as error:
        kind = DiscordUnreachable if error.status >= 500 else DiscordRefused
        raise kind(str(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise DiscordUnreachable(str(error)) from error
    await _first_of(_stay_connected(app.client), app.work())


async def _stay_connected(client: FluxBot) -> None:
    """Keep the connections to the gateway; raise what ends one of them for good."""
    try:
        await client.connect()
    except discord.ConnectionClosed as error:
        if error.code == TOO_FEW_SHARDS and client.settings.shard_count is not None:
            raise ConfigurationError(
                "SHARD_COUNT",
                f"is `{client.settings.shard_count}`, too few for the servers that the bot is in",
                "a larger number, or empty for as many as Discord recommends",
            ) from error
        raise DiscordRefused(str(error)) from error
    except discord.PrivilegedIntentsRequired as error:
        raise DiscordRefused("it asks for intents that it does not have (4014)") from error
    except discord.GatewayNotFound as error:
        raise DiscordUnreachable("it does not say where its gateway is") from error
    except (aiohttp.ClientError, OSError) as error:
        raise DiscordUnreachable(str(error)) from error


async def _watch_worker(app: Application) -> None:
    """Raise BotError if the worker can never begin, as with a DEVICE that is not there."""
    await app.executor.ready()
    await asyncio.Event().wait()


async def _stop_gently(app: Application, stop: asyncio.Event, grace: float) -> None:
    """Wait for a signal, then for the running job, which may finish."""
    await stop.wait()
    _log.info("stopping: the running job may finish, the others go on at the next start")
    await app.jobs.stop(grace)


async def _first_of(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until one of them ends, cancel the others, and raise what it raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()
