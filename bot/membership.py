"""Whether somebody is in a server.

Asked one by one: to be told of everybody who leaves would take a privileged intent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import discord

from bot.ladder import FAULTS
from bot.records import Job

GONE = {10007, 10013}
"""Discord's codes for somebody who is not in a server, and for an account that is no more."""

PATIENCE = 120.0
"""Seconds of waiting after which a job's member may have left."""
ANSWER = 2.0
"""Seconds that the work waits to hear whether that is so."""


async def is_member(client: discord.Client, guild_id: int, user_id: int) -> bool | None:
    """Tell whether somebody is in a server, None where Discord does not say."""
    guild = client.get_guild(guild_id)
    if guild is None or guild.unavailable:
        return None
    try:
        await guild.fetch_member(user_id)
    except FAULTS as error:
        return False if isinstance(error, discord.HTTPException) and error.code in GONE else None
    return True


async def has_left(client: discord.Client, job: Job) -> bool:
    """Tell whether a job's member has left its server; what Discord does not say counts as no."""
    guild_id, user_id = job.origin.guild_id, job.origin.user_id
    return guild_id is not None and await is_member(client, guild_id, user_id) is False


async def is_in_vain(job: Job, ask: Callable[[Job], Awaitable[bool]] | None) -> bool:
    """Ask whether the member of a job that waited for long has left; no answer counts as no."""
    if ask is None or time.time() - job.created_at < PATIENCE:
        return False
    try:
        async with asyncio.timeout(ANSWER):
            return await ask(job)
    except TimeoutError:
        return False
